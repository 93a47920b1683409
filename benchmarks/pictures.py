"""How convincing are a simulated subject's reconstructions? `python benchmarks/pictures.py [RUN]`, after its notebook 05.

The demo zoo's judge, a network with another architecture and training set that no score uses, names the main thing in every set
of images that notebook 05 stored: shown, rough and refined, from brain and from truth. The baseline that any network has to beat
is the main thing of the training image nearest to the decoded tokens. Other rows hold SSIM and PixCorr with the best floors, the
size of the zoo, and the time for a hundred images. `--grid FILE` draws eight images from the best to the worst, as in the
README's strip.
"""

import sys

import report
from timing import median

from nsdlib.core.device import pick_device
from nsdlib.params import load_run
from nsdlib.store import Store, load_diffusion, zoo
from nsdlib.study import STORED, floors
from nsdlib.study.reconstruction import KINDS, flat
from nsdlib.study.selection import resemblance
from nsdlib.study.statistics import bootstrap_interval
from nsdlib.twin import scenes
from nsdlib.twin.truth import load_truth

sys.path.append(str(report.ROOT))  # for the packages `book` and `zoo`
from book._ext import strip
from zoo.training import namer

N_COLUMNS, METRICS = 8, ("ssim", "pixcorr")


def main():
    """Measure a run and print the table."""
    parser = report.parser(__doc__, quick="five images are timed instead of twenty")
    parser.add_argument("run", nargs="?", default="demo")
    parser.add_argument("--grid", metavar="FILE", help="save images seen, rough and refined there, from the best to the worst")
    options = parser.parse_args()
    report.show(rows(load_run(options.run), options.grid, 5 if options.quick else 20), options)


def rows(run, grid, n_timed):
    """Yield the rows: each set of images, the floors, the time, the zoo's size."""
    store = Store(run)
    with store.load("reconstruction") as reconstruction, store.load("scores") as scores:
        images = {system: reconstruction[name].values for name, system in STORED.items()}
        kinds = main_kinds(run, reconstruction.test_image.values)
        results = named(zoo.root(run) / "namer", images, kinds)
        nearest = nearest_by_tokens(store.load("betas").train_image.values, store.load("embeddings"), reconstruction)
        is_correct = main_kinds(run, nearest) == kinds
        results["nearest by tokens"] = {"named": float(is_correct.mean())} | interval(is_correct)  # has the image's main thing
        for name, values in measured(scores.value).items():
            results.setdefault(name, {"named": None}).update(values)
        yield from (report.row(name, columns.pop("named"), "share named", **columns) for name, columns in results.items())
        if grid:
            strip.draw_chosen(reconstruction, scores.value, N_COLUMNS).save(grid)
        first = reconstruction.isel(test_image=slice(n_timed))
        seconds = time_images(run, first.rough.values, *(first[f"{kind}_pred"].values for kind in KINDS))
    yield report.row(f"a hundred refined images, scaled from {n_timed}", seconds, device=pick_device(run.device))
    size = sum(path.stat().st_size for path in zoo.root(run).rglob("*") if path.is_file())
    yield report.row("the zoo", size / 1e6, "MB")


def nearest_by_tokens(train_ids, embeddings, reconstruction):
    """Ids of the training images with tokens most similar to the decoded ones: (n_images,) int."""
    similarity = [
        resemblance(flat(embeddings[f"{kind}_train"].values), flat(reconstruction[f"{kind}_pred"].values)) for kind in KINDS
    ]
    return train_ids[sum(similarity).argmax(axis=0)]


def main_kinds(run, image_ids):
    """Index of the main thing's kind in each image: (n_images,)."""
    scene = load_truth(run).scene.sel(image=image_ids)
    return scene.sel(attribute=[f"kind: {kind}" for kind in scenes.KINDS]).values.argmax(1)


def named(judge, images, kinds):
    """Accuracy of the judge for the main kind in each set of images; sets are a dict of (n_images, rows, columns, 3) uint8."""
    correct = {name: namer.named(judge, pictures).numpy() == kinds for name, pictures in images.items()}
    return {name: {"named": float(values.mean())} | interval(values) for name, values in correct.items()}


def interval(values):
    """The 95 % interval of a mean over images."""
    return dict(zip(("low", "high"), map(float, bootstrap_interval(values)), strict=True))


def measured(scores):
    """SSIM and PixCorr of both stages, from truth and brain, and of the best floors."""
    best = floors.best(scores).drop_vars("floor").sel(system="best floor")
    systems = {name: scores.sel(system=name) for name in STORED.values() if name in scores.system} | {"best floor": best}
    return {name: {m: float(values.sel(metric=m).mean()) for m in METRICS} for name, values in systems.items()}


def time_images(run, rough, text, vision):
    """Seconds of the second stage for a hundred images, scaled from a few."""
    second_stage, settings = load_diffusion(run), zoo.refinement(run) | {"image_ids": range(len(rough))}
    return median(lambda: second_stage.refine(rough, text, vision, **settings), pick_device(run.device))[0] * 100 / len(rough)


if __name__ == "__main__":
    main()
