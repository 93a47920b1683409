"""In which regime does which decoder win? `python benchmarks/regimes.py` (15 minutes on one core) writes `nsdlib/regimes.csv`.

The simulated brain of `nsdlib.brain` answers drawn scenes under every combination of a response (linear; saturating; saturating
with a gain of its own for each trial), a number of training images and a ratio of signal to noise. Ridge, the paper's GRU and the
mean of the two predict the latents of the demo VDVAE's first five layers. Ridge takes its penalty from leave-one-out errors of
training images, the GRU its schedule from validation images among them; nothing is chosen by the test images. A seed draws
everything anew: scenes, brain, noise, weights.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nsdlib import anatomy, brain, decoders, scenes, vdvae
from nsdlib.betas import zscore
from nsdlib.similarity import resize

RESPONSES = {
    "linear": (0.0, 0.0),
    "saturating": (1.5, 0.0),
    "saturating, gain": (1.5, 0.4),
}  # saturation, sd of the log gain
COUNTS, RATIOS, SEEDS = (300, 2000), (0.3, 1.0), (0, 1, 2)
N_TEST, N_VOXELS, N_REPEATS, N_LAYERS = 300, 600, 3, 5
ALPHAS, MAX_EPOCHS = tuple(10.0 ** np.arange(1, 6.5, 0.5)), 60
FILE = Path(__file__).parents[1] / "nsdlib" / "regimes.csv"


def main():
    """Compute all combinations and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--to", type=Path, default=FILE)
    options = parser.parse_args()
    rows, began = [], time.monotonic()
    for seed in options.seeds:
        seen = see(max(options.counts) + N_TEST, seed)
        for (response, knobs), ratio in itertools.product(RESPONSES.items(), RATIOS):
            X = measure(seen["drive"], *knobs, ratio=ratio, seed=seed)
            for count in options.counts:
                scores = compare(X, seen["latents"], count, seed)
                rows += [{"response": response, "images": count, "snr": ratio, "seed": seed, "decoder": name,
                          "explained": value} for name, value in scores.items()]  # fmt: skip
                print(f"{time.monotonic() - began:5.0f} s", rows[-1]["response"], ratio, count, scores, flush=True)
    pd.DataFrame(rows).to_csv(options.to, index=False, float_format="%.5f")


def see(n_images, seed):
    """Scenes of a seed: the drive of a new brain's voxels (n_images, n_voxels), and the true latents."""
    rng = np.random.default_rng((seed, 99))
    model = vdvae.from_file(Path(__file__).parents[1] / "zoo" / "demo" / "vdvae" / "vdvae.safetensors")
    maps, attributes, latents = [], [], []
    for _ in range(n_images):
        scene = scenes.sample_scene(rng)
        image = scenes.draw(scene, 128)
        maps.append(brain.visual_maps(image))
        attributes.append(scenes.attributes(scene))
        latents.append(resize(image[None], 64))
    tuning = brain.make_tuning(anatomy.make_anatomy((26, 30, 22), rng), rng)
    drive = brain.drive(tuning, np.stack(maps), np.stack(attributes))
    chosen = rng.permutation(drive.shape[1])[:N_VOXELS]
    return {"drive": drive[:, chosen], "latents": model.encode(np.concatenate(latents), n_layers=N_LAYERS)}


def measure(drive, saturation, gain_sd, *, ratio, seed):
    """Patterns averaged over repeats: responses with the gain of each trial, and noise of sd 1 / ratio a trial."""
    rng = np.random.default_rng((seed, 7))
    response = brain.respond(drive, saturation=saturation, rng=rng)
    noise_sd = response.std(0) / ratio
    total = np.zeros_like(response)
    for _ in range(N_REPEATS):
        gain = brain.draw_gain(len(response), gain_sd, rng)[:, None]
        total += gain * response + noise_sd * rng.standard_normal(response.shape, dtype=np.float32)
    return total / N_REPEATS


def compare(X, Y, count, seed):
    """Share of the variance of the test images' latents that each decoder explains."""
    X_train, X_test, *_ = zscore(X[N_TEST : N_TEST + count], X[:N_TEST])
    Y_train, Y_test = Y[N_TEST : N_TEST + count], Y[:N_TEST]
    predicted = {"ridge": decoders.make("ridge", alphas=ALPHAS).fit(X_train, Y_train).predict(X_test)}
    predicted["gru"] = decoders.make("gru", seed=seed, max_epochs=MAX_EPOCHS).fit(X_train, Y_train).predict(X_test)
    predicted["mean of both"] = (predicted["ridge"] + predicted["gru"]) / 2
    floor = np.square(Y_test - Y_train.mean(0)).mean()
    return {name: float(1 - np.square(Y_test - values).mean() / floor) for name, values in predicted.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
