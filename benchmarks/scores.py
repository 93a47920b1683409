"""How fast images are scored: `python benchmarks/scores.py`.

SSIM and pixel correlation of pairs of 425 pixels against a loop of scikit-image and NumPy calls on the same pairs; and, with
`--networks`, seconds of each feature extractor at its true size with random weights; with `--command`, seconds of `nsdlib score`
on two folders of pictures, with the demo's networks and from the start of Python to its end.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import report
import torch
from PIL import Image
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from timing import best

from nsdlib.core import device
from nsdlib.core.scores.similarity import pixcorr, ssim
from nsdlib.run import full_size
from nsdlib.run.rates import seconds_of
from nsdlib.twin.scenes import draw, sample_scene

SETTINGS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


def main():
    """Print one table a part."""
    parser = report.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=982)
    parser.add_argument("--peers", type=int, default=32, help="pairs of the loop, scaled to all (%(default)s)")
    parser.add_argument("--networks", type=int, default=0, help="images through each network")
    parser.add_argument("--command", type=int, default=0, help="pairs that nsdlib score is given")
    parser.add_argument("--device", default="auto", help="of the networks: auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="32 pairs")
    options = parser.parse_args()
    options.pairs = 32 if options.quick else options.pairs
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads")
    parts, rows = [partial(measure_formulas, options.pairs, min(options.peers, options.pairs))], []
    parts += [partial(measure_networks, options.networks, device.pick_device(options.device))] * bool(options.networks)
    parts += [partial(measure_command, options.command)] * bool(options.command)
    for measure in parts:
        found = measure()
        print("\n" + pd.DataFrame(found).to_markdown(index=False, floatfmt=".3g"), flush=True)
        rows += found
    report.write(options.json, rows, pairs=options.pairs, peers=options.peers)


def measure_formulas(n_pairs, n_peers):
    """Measure the seconds for all pairs, best of some rounds in turn with the loop, and the largest difference."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (n_pairs, 425, 425, 3), dtype=np.uint8)
    noise = rng.integers(-60, 61, truth.shape[1:])
    changed = np.stack([np.clip(image + noise, 0, 255).astype(np.uint8) for image in truth])
    rows = []
    for name, ours, theirs in (("SSIM", ssim, _ssim_of_pair), ("PixCorr", pixcorr, _pixcorr_of_pair)):
        programs = {
            "ours": lambda ours=ours: ours(truth, changed),
            "loop": lambda theirs=theirs: [theirs(truth[i], changed[i]) for i in range(n_peers)],
        }
        seconds, made = best(programs, torch.device("cpu"))
        loop = seconds["loop"] * n_pairs / n_peers
        rows.append({"score": name, "pairs": n_pairs, "nsdlib, seconds": seconds["ours"], "loop, seconds": loop,
                     "times faster": loop / seconds["ours"],
                     "largest difference": np.abs(made["ours"][:n_peers] - made["loop"]).max()})  # fmt: skip
    return rows


def _ssim_of_pair(truth, changed):
    return structural_similarity(rgb2gray(truth), rgb2gray(changed), **SETTINGS)


def _pixcorr_of_pair(truth, changed):
    return np.corrcoef(truth.reshape(1, -1) / 255, changed.reshape(1, -1) / 255)[0, 1]


def measure_networks(n_images, device):
    """Measure the images a second of each feature extractor."""
    images, rows = np.random.default_rng(0).integers(0, 256, (n_images, 425, 425, 3), dtype=np.uint8), []
    for name, extractor in full_size.build_extractors(full_size.Sizes(), device).items():
        extractor(images[:1])
        seconds = seconds_of(lambda extractor=extractor: extractor(images), device)
        rows.append({"network": name, "images a second": n_images / seconds, "seconds for 982": seconds * 982 / n_images})
    return rows


def measure_command(n_pairs):
    """Measure the seconds of the command on pairs of 425 pixels, under one protocol and under all."""
    rng, rows = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        seen, made = (Path(folder) / name for name in ("seen", "made"))
        seen.mkdir()
        made.mkdir()
        for number in range(n_pairs):
            scene = Image.fromarray(draw(sample_scene(rng), 425))
            scene.save(seen / f"{number}.png")
            scene.resize((8, 8)).resize((425, 425)).save(made / f"{number}.png")
        for protocol in ("native", "all"):
            words = ["score", made, "--truth", seen, "--protocol", protocol, "--device", "cpu"]
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "nsdlib", *words], check=True, capture_output=True, cwd=report.ROOT)
            rows.append({"command": f"nsdlib score, {protocol}", "pairs": n_pairs, "seconds": time.perf_counter() - start})
    return rows


if __name__ == "__main__":
    main()
