"""Which decoder wins in which regime? `python benchmarks/regimes.py` writes `nsdlib/study/regimes.csv`.

The easy brain of `nsdlib.twin.levels` responds to drawn scenes under every combination of a response function (linear;
saturating; saturating with a random gain per trial), a number of training images and a signal-to-noise ratio. Ridge, the paper's
GRU and the mean of the two predict the latents of the demo VDVAE's first five layers. The penalty of ridge is selected by
leave-one-out errors on training images, the schedule of the GRU by validation images among them; nothing is selected on test
images. Each seed draws new scenes, brain, noise and weights.

The targets are the latents and, for the linear response, also the latents within backgrounds: minus the mean of the training
scenes with the same background. The rows "background" give the variance that the background alone explains.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import report
import torch
from report import ROOT

from nsdlib.core import networks, vdvae
from nsdlib.core.images import resize
from nsdlib.study.betas import zscore
from nsdlib.twin import anatomy, brain, meaning, scenes
from nsdlib.twin.levels import EASY

RESPONSES = {"linear": (0.0, 0.0), "saturating": (1.5, 0.0), "saturating, gain": (1.5, 0.4)}  # saturation, sd of the log gain
COUNTS, RATIOS, SEEDS = (300, 2000), (0.3, 1.0), (0, 1, 2)
N_VOXELS, N_REPEATS, N_LAYERS = 600, 3, 5
ALPHAS = tuple(10.0 ** np.arange(1, 6.5, 0.5))
FULL = {"seeds": SEEDS, "counts": COUNTS, "n_test": 300, "max_epochs": 60}
QUICK = {"seeds": (0,), "counts": (40,), "n_test": 20, "max_epochs": 2}
COLUMNS = ("target", "response", "images", "snr", "seed", "decoder")
FILE = ROOT / "nsdlib" / "study" / "regimes.csv"


def main():
    """Compute all combinations and write the table."""
    parser = report.parser(__doc__, quick="few images and epochs, no table unless --to names one")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--to", type=Path, help=f"the table ({FILE.name})")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    measured = report.show(rows(options.seeds or sizes["seeds"], sizes), options)
    if file := options.to or (not options.quick and FILE):
        table = pd.DataFrame(measured).rename(columns={"ours": "explained"})[[*COLUMNS, "explained"]]
        table.to_csv(file, index=False, float_format="%.5f")


def rows(seeds, sizes):
    """Yield a row for each decoder under each combination."""
    for seed in seeds:
        brain_data = simulate_brain(max(sizes["counts"]) + sizes["n_test"], seed)
        for response, ratio in itertools.product(RESPONSES, RATIOS):
            X = measure(brain_data["drive"], brain_data["area"], *RESPONSES[response], ratio=ratio, seed=seed)
            targets = ("latents", "within backgrounds") if response == "linear" else ("latents",)
            for count, target in itertools.product(sizes["counts"], targets):
                test, train = slice(sizes["n_test"]), slice(sizes["n_test"], sizes["n_test"] + count)
                scores = compare(X, brain_data, (train, test), target=target, seed=seed, max_epochs=sizes["max_epochs"])
                for name, value in scores.items():
                    columns = dict(zip(COLUMNS, (target, response, count, ratio, seed, name), strict=True))
                    case = f"{target}, {response}, {count} images, SNR {ratio}, seed {seed}: {name}"
                    yield report.row(case, value, "of the variance", **columns)


def simulate_brain(n_images, seed):
    """Simulate scenes and a brain: the drive of its voxels (n_images, n_voxels), true latents, and indices of backgrounds."""
    rng = np.random.default_rng((seed, 99))
    model = vdvae.load(ROOT / "zoo" / "demo" / "vdvae" / "vdvae.safetensors")
    maps, attributes, latents, backgrounds = [], [], [], []
    for _ in range(n_images):
        scene = scenes.sample_scene(rng)
        image = scenes.draw(scene, 128)
        maps.append(brain.visual_maps(image))
        attributes.append(scenes.attributes(scene))
        latents.append(resize(image[None], 64))
        backgrounds.append(scenes.BACKGROUNDS.index(scene.background))
    head = anatomy.make_anatomy((26, 30, 22), rng)
    tuning, maps, attributes = brain.make_tuning(head, EASY, rng), np.stack(maps), np.stack(attributes)
    private = meaning.private(maps, tuning.private.shape[1])
    drive = brain.drive(tuning, maps, meaning=brain.standardise(attributes), private=private, attributes=attributes, levels=EASY)
    chosen = rng.permutation(drive.shape[1])[:N_VOXELS]
    latents = model.encode(np.concatenate(latents), n_layers=N_LAYERS)
    return {"drive": drive[:, chosen], "area": tuning.area[chosen], "latents": latents, "backgrounds": np.array(backgrounds)}


def measure(drive, area, saturation, gain_sd, *, ratio, seed):
    """Simulate patterns averaged over repeats: responses with a gain per trial, plus trial noise of sd (signal sd / ratio)."""
    rng = np.random.default_rng((seed, 7))
    response = brain.respond(drive, area=area, levels=replace(EASY, saturation=saturation), rng=rng)
    noise_sd = response.std(0) / ratio
    total = np.zeros_like(response)
    for _ in range(N_REPEATS):
        gain = brain.draw_gain(len(response), gain_sd, rng)[:, None]
        total += gain * response + noise_sd * rng.standard_normal(response.shape, dtype=np.float32)
    return total / N_REPEATS


def compare(X, brain_data, rows, *, target, seed, max_epochs):
    """Share of variance of the test targets that each decoder explains; `rows` are the training and the test slice."""
    X_train, X_test, *_ = zscore(*(X[part] for part in rows))
    Y_train, Y_test = (brain_data["latents"][part] for part in rows)
    means = background_means(Y_train, brain_data["backgrounds"][rows[0]])
    (mean_train, mean_test), baseline = (means[brain_data["backgrounds"][part]] for part in rows), {}
    if target == "within backgrounds":
        Y_train, Y_test = Y_train - mean_train, Y_test - mean_test
    else:
        baseline = {"background": mean_test}
    predicted = {"ridge": networks.make("ridge", alphas=ALPHAS).fit(X_train, Y_train).predict(X_test)}
    predicted["gru"] = networks.make("gru", seed=seed, max_epochs=max_epochs).fit(X_train, Y_train).predict(X_test)
    predicted |= {"mean of both": (predicted["ridge"] + predicted["gru"]) / 2} | baseline
    floor = np.square(Y_test - Y_train.mean(0)).mean()
    return {name: float(1 - np.square(Y_test - values).mean() / floor) for name, values in predicted.items()}


def background_means(latents, backgrounds):
    """Mean latents of scenes with each background (n_backgrounds, n_latents); for an unseen background, the mean of all."""
    masks = [backgrounds == k for k in range(len(scenes.BACKGROUNDS))]
    return np.stack([latents[rows if rows.any() else slice(None)].mean(0) for rows in masks])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
