"""Speed of scoring images: `python benchmarks/scores.py`.

SSIM and pixel correlation of image pairs of 425 pixels, compared with a loop of scikit-image and NumPy calls on the same pairs.
`--networks` measures each feature extractor at its true size with random weights; `--command` measures `nsdlib score` on two
folders of pictures with the demo's networks, from the start of Python to its end.
"""

import subprocess
import sys
import tempfile
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import report
import torch
from PIL import Image
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from timing import compared, median, medians

from nsdlib.core import device
from nsdlib.core.scores.similarity import pixcorr, ssim
from nsdlib.run import full_size
from nsdlib.twin.scenes import draw, sample_scene

SETTINGS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


def main():
    """Print one table of all requested measurements."""
    parser = report.parser(__doc__, quick="32 pairs")
    parser.add_argument("--pairs", type=int, default=982)
    parser.add_argument("--peers", type=int, default=32, help="pairs of the loop, scaled to all (%(default)s)")
    parser.add_argument("--networks", type=int, default=0, help="images through each network")
    parser.add_argument("--command", type=int, default=0, help="number of pairs for `nsdlib score`")
    parser.add_argument("--device", default="auto", help="of the networks: auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    options.pairs = 32 if options.quick else options.pairs
    torch.set_num_threads(options.threads)
    rows = [measure_formulas(options.pairs, min(options.peers, options.pairs))]
    rows += [measure_networks(options.networks, device.pick_device(options.device))] * bool(options.networks)
    rows += [measure_command(options.command)] * bool(options.command)
    report.show(chain(*rows), options)


def measure_formulas(n_pairs, n_peers):
    """Measure seconds for all pairs, alternating with the loop, and the largest difference."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (n_pairs, 425, 425, 3), dtype=np.uint8)
    noise = rng.integers(-60, 61, truth.shape[1:])
    distorted = np.stack([np.clip(image + noise, 0, 255).astype(np.uint8) for image in truth])
    for name, ours, theirs in (("SSIM", ssim, _ssim_of_pair), ("PixCorr", pixcorr, _pixcorr_of_pair)):
        programs = {
            "ours": lambda ours=ours: ours(truth, distorted),
            "loop": lambda theirs=theirs: [theirs(truth[i], distorted[i]) for i in range(n_peers)],
        }
        seconds, results = medians(programs, torch.device("cpu"))
        loop, difference = seconds["loop"] * n_pairs / n_peers, np.abs(results["ours"][:n_peers] - results["loop"]).max()
        case = f"{name} of {n_pairs} pairs; peer: loop, scaled from {n_peers}"
        yield compared(case, seconds["ours"], loop, agreement=difference)


def _ssim_of_pair(truth, distorted):
    return structural_similarity(rgb2gray(truth), rgb2gray(distorted), **SETTINGS)


def _pixcorr_of_pair(truth, distorted):
    return np.corrcoef(truth.reshape(1, -1) / 255, distorted.reshape(1, -1) / 255)[0, 1]


def measure_networks(n_images, device):
    """Measure images per second of each feature extractor."""
    images = np.random.default_rng(0).integers(0, 256, (n_images, 425, 425, 3), dtype=np.uint8)
    for name, extractor in full_size.build_extractors(full_size.Sizes(), device).items():
        rate = n_images / median(partial(extractor, images), device)[0]
        yield report.row(name, rate, "images/s", device=device, **{"seconds for 982": 982 / rate})


def measure_command(n_pairs):
    """Measure seconds of the command on pairs of 425 pixels, with one protocol and with all."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        truth, reconstructions = (Path(folder) / name for name in ("seen", "made"))
        truth.mkdir()
        reconstructions.mkdir()
        for number in range(n_pairs):
            scene = Image.fromarray(draw(sample_scene(rng), 425))
            scene.save(truth / f"{number}.png")
            scene.resize((8, 8)).resize((425, 425)).save(reconstructions / f"{number}.png")
        for protocol in ("native", "all"):
            arguments = ["score", reconstructions, "--truth", truth, "--protocol", protocol, "--device", "cpu"]
            command = partial(subprocess.run, [sys.executable, "-m", "nsdlib", *arguments], check=True, capture_output=True)
            seconds = median(partial(command, cwd=report.ROOT), torch.device("cpu"))[0]
            yield report.row(f"nsdlib score, {n_pairs} pairs, {protocol}", seconds)


if __name__ == "__main__":
    main()
