"""Train the demo zoo, or one model of it: `python -m zoo.training [MODEL ...]`."""

import argparse
import importlib
import json
import platform
import time
from pathlib import Path

import torch

from zoo.training import optimise

ROOT = Path(__file__).parents[2]
FOLDERS = {  # in training order: each model after those that it uses
    "vdvae": "vdvae",
    "autoencoder": "versatile_diffusion",
    "clip": "versatile_diffusion",
    "features": "features",
    "namer": "namer",
    "unet": "versatile_diffusion",
}


def main():
    """Train the named models (default: all), measure them on validation scenes, and write `quality.json`."""
    parser = argparse.ArgumentParser(prog="python -m zoo.training", description=__doc__)
    parser.add_argument("model", nargs="*", help=f"any of {', '.join(FOLDERS)} (all)")
    parser.add_argument("--to", type=Path, default=ROOT / "zoo" / "demo", help="folder for the weights (%(default)s)")
    parser.add_argument("--cache", type=Path, default=ROOT / "data" / "zoo_training", help="folder for scenes and checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="%(default)s here")
    parser.add_argument("--budget", type=float, help="time limit of all models together, in seconds (none)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure-only", action="store_true", help="measure existing weights without training")
    options = parser.parse_args()
    if unknown := set(options.model) - set(FOLDERS):
        parser.error(f"no model {', '.join(sorted(unknown))} in the demo zoo; it has {', '.join(FOLDERS)}")
    torch.set_num_threads(options.threads)
    names = [name for name in FOLDERS if not options.model or name in options.model]
    resources = optimise.Resources(torch.device(options.device), options.budget, done=set(FOLDERS) - set(names))
    modules = {name: importlib.import_module(f"zoo.training.{name}") for name in names}
    if not options.measure_only:
        for name, module in modules.items():
            start = time.monotonic()
            module.train(options.to / FOLDERS[name], options.cache, resources)
            resources.done.add(name)
            print(f"{name}: {time.monotonic() - start:.0f} s on {_machine(resources.device)}", flush=True)
    for name, module in modules.items():
        _record(options.to / "quality.json", name, module.measure(options.to / FOLDERS[name], options.cache))


def _machine(device):
    """Name of the GPU, or the number of threads and the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads, {platform.machine()}"


def _record(path, name, quality):
    """Add a model's measured quality to the zoo's record."""
    record = json.loads(path.read_text()) if path.exists() else {}
    record[name] = quality
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print(name, quality, flush=True)


if __name__ == "__main__":
    main()
