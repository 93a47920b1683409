"""How far do a simulated subject's pictures convince? `python benchmarks/pictures.py [RUN]`, after its notebook 05.

The demo zoo's judge, a network of another architecture that saw other scenes and that no score reads, names the main thing of
every set of images that notebook 05 stored: as shown, rough and refined, from brain and truth. Beside it stand how often the
training image nearest to the decoded tokens has the right main thing, which any network has to beat, SSIM and PixCorr
with the best floors, the bytes of the zoo, and the time that a hundred images take. `--grid FILE` draws eight of the images from
the best to the worst, as the README's strip does.
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

sys.path.append(str(report.ROOT))  # what builds the book and what trained the zoo lie there
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
    """Yield the rows: of each set of images, of floors, of the zoo's size, of the time."""
    store = Store(run)
    with store.load("reconstruction") as made, store.load("scores") as scores:
        images = {system: made[name].values for name, system in STORED.items()}
        kinds = main_kinds(run, made.test_image.values)
        found = named(zoo.root(run) / "namer", images, kinds)
        nearest = nearest_by_tokens(store.load("betas").train_image.values, store.load("embeddings"), made)
        right = main_kinds(run, nearest) == kinds
        found["nearest by tokens"] = {"named": float(right.mean())} | interval(right)  # its main thing is that of the image
        for name, values in measured(scores.value).items():
            found.setdefault(name, {"named": None}).update(values)
        yield from (report.row(name, own.pop("named"), "share named", **own) for name, own in found.items())
        if grid:
            strip.draw_chosen(made, scores.value, N_COLUMNS).save(grid)
        first = made.isel(test_image=slice(n_timed))
        seconds = time_images(run, first.rough.values, *(first[f"{kind}_pred"].values for kind in KINDS))
    yield report.row(f"a hundred refined images, scaled from {n_timed}", seconds, device=pick_device(run.device))
    size = sum(path.stat().st_size for path in zoo.root(run).rglob("*") if path.is_file())
    yield report.row("the zoo", size / 1e6, "MB")


def nearest_by_tokens(train_ids, embeddings, made):
    """Ids of the training images whose tokens resemble the decoded ones most: (n_images,) int."""
    alike = [resemblance(flat(embeddings[f"{kind}_train"].values), flat(made[f"{kind}_pred"].values)) for kind in KINDS]
    return train_ids[sum(alike).argmax(axis=0)]


def main_kinds(run, image_ids):
    """Number of the kind of the main thing in each image: (n_images,)."""
    scene = load_truth(run).scene.sel(image=image_ids)
    return scene.sel(attribute=[f"kind: {kind}" for kind in scenes.KINDS]).values.argmax(1)


def named(judge, images, kinds):
    """Share of the images of each set, a dict of (n_images, rows, columns, 3) uint8, whose main kind the judge names."""
    right = {name: namer.named(judge, made).numpy() == kinds for name, made in images.items()}
    return {name: {"named": float(values.mean())} | interval(values) for name, values in right.items()}


def interval(values):
    """The 95 % interval of a mean over images."""
    return dict(zip(("low", "high"), map(float, bootstrap_interval(values)), strict=True))


def measured(scores):
    """SSIM and PixCorr of both stages, from truth and brain, and of the best floors."""
    best = floors.best(scores).drop_vars("floor").sel(system="best floor")
    systems = {name: scores.sel(system=name) for name in STORED.values() if name in scores.system} | {"best floor": best}
    return {name: {m: float(values.sel(metric=m).mean()) for m in METRICS} for name, values in systems.items()}


def time_images(run, rough, text, vision):
    """Seconds that the second stage takes for a hundred images, from a few."""
    second, settings = load_diffusion(run), zoo.refinement(run) | {"image_ids": range(len(rough))}
    return median(lambda: second.refine(rough, text, vision, **settings), pick_device(run.device))[0] * 100 / len(rough)


if __name__ == "__main__":
    main()
