"""Train the demo zoo again, or one model of it: `python -m zoo.training [MODEL ...]`."""

import argparse
import importlib
import json
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
FOLDERS = {  # in the order in which each can be trained
    "vdvae": "vdvae",
    "autoencoder": "versatile_diffusion",
    "clip": "versatile_diffusion",
    "features": "features",
    "unet": "versatile_diffusion",
}


def main():
    """Train the models named (all when none is), measure them on validation scenes, and write `quality.json`."""
    parser = argparse.ArgumentParser(prog="python -m zoo.training", description=__doc__)
    parser.add_argument("model", nargs="*", help=f"any of {', '.join(FOLDERS)} (all)")
    parser.add_argument("--to", type=Path, default=ROOT / "zoo" / "demo", help="where the weights go (%(default)s)")
    parser.add_argument("--cache", type=Path, default=ROOT / "data" / "zoo_training", help="scenes and checkpoints")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure-only", action="store_true", help="measure the weights that are there")
    options = parser.parse_args()
    if unknown := set(options.model) - set(FOLDERS):
        parser.error(f"no model {', '.join(sorted(unknown))} in the demo zoo; it has {', '.join(FOLDERS)}")
    torch.set_num_threads(options.threads)
    for name in options.model or FOLDERS:
        module = importlib.import_module(f"zoo.training.{name}")
        folder = options.to / FOLDERS[name]
        if not options.measure_only:
            module.train(folder, options.cache)
        _record(options.to / "quality.json", name, module.measure(folder, options.cache))


def _record(path, name, quality):
    """Add a model's measured quality to the zoo's record."""
    record = json.loads(path.read_text()) if path.exists() else {}
    record[name] = quality
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print(name, quality)


if __name__ == "__main__":
    main()
