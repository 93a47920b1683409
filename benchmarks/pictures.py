"""How far do a simulated subject's pictures convince? `python benchmarks/pictures.py [RUN]`, after its notebook 05.

The demo zoo's judge, a network of another architecture that saw other scenes and that no score reads, names the main thing of
every set of images that notebook 05 stored: as shown, rough and refined, from brain and truth. Beside it stand how often the
training image nearest to the decoded tokens has the right main thing, which any network has to beat, SSIM and PixCorr
with the best floors, the bytes of the zoo, and the time that a hundred images take. `--grid FILE` draws eight of the images from
the best to the worst, as the README's strip does.
"""

import sys
import time

import report

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

N_TIMED, N_COLUMNS, METRICS = 20, 8, ("ssim", "pixcorr")


def main():
    """Measure a run and print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("run", nargs="?", default="demo")
    parser.add_argument("--grid", metavar="FILE", help="save images seen, rough and refined there, from the best to the worst")
    options = parser.parse_args()
    run = load_run(options.run)
    store = Store(run)
    with store.load("reconstruction") as made, store.load("scores") as scores:
        images = {system: made[name].values for name, system in STORED.items()}
        kinds = main_kinds(run, made.test_image.values)
        rows = named(zoo.root(run) / "namer", images, kinds)
        nearest = nearest_by_tokens(store.load("betas").train_image.values, store.load("embeddings"), made)
        found = main_kinds(run, nearest) == kinds
        rows["nearest by tokens"] = {"its main thing is that of the image": float(found.mean())} | interval(found)
        for name, values in measured(scores.value).items():
            rows.setdefault(name, {}).update(values)
        if options.grid:
            strip.draw_chosen(made, scores.value, N_COLUMNS).save(options.grid)
        first = made.isel(test_image=slice(N_TIMED))
        seconds = time_images(run, first.rough.values, *(first[f"{kind}_pred"].values for kind in KINDS))
    size = sum(path.stat().st_size for path in zoo.root(run).rglob("*") if path.is_file())
    rows |= {"the zoo": {"MB": size / 1e6}, "a hundred refined images": {"seconds": seconds}}
    for name, row in rows.items():
        print(f"{name:28}", *(f"{key} {value:.3f}" for key, value in row.items()))
    report.write(options.json, [{"what": name} | row for name, row in rows.items()], run=run.name)


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
    second, settings = load_diffusion(run), zoo.refinement(run)
    second.refine(rough[:2], text[:2], vision[:2], image_ids=range(2), **settings)
    began = time.monotonic()
    second.refine(rough, text, vision, image_ids=range(len(rough)), **settings)
    return (time.monotonic() - began) * 100 / len(rough)


if __name__ == "__main__":
    main()
