"""Speed and agreement of single-trial betas: `python benchmarks/glm.py`.

CPU seconds of each stage, in one process and one thread, for `nsdlib.core.glm` and for GLMsingle, or for `plain_glm.py` if
GLMsingle is not installed. Both get the same simulated series, HRFs and threshold. `--session` fits a whole session of NSD's
size and prints time and peak memory; with `--scratch` its arrays are on disk, as in notebook 01."""

import itertools
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import plain_glm
import report
import torch
from threadpoolctl import threadpool_limits
from timing import clock

from nsdlib.core.glm import denoise, fracridge, hrf, steps
from nsdlib.core.glm.fit import fit_glm
from nsdlib.core.glm.options import GLMOptions
from nsdlib.data import glmsingle
from nsdlib.run.rates import product_rate

TR, TRIAL_SECONDS, THRESHOLD = 1.0, 4, 1.0
N_VOLUMES, N_TRIALS = 300, 63  # per run of the comparison
STAGES = {  # stage: module and function of nsdlib
    "ON-OFF": (steps, "fit_onoff"),
    "threshold": (denoise, "tail_threshold"),
    "HRFs": (steps, "choose_hrfs"),
    "components": (steps, "find_components"),
    "number of components": (steps, "fit_trials"),
    "ridge": (fracridge, "regularise"),
}


def main():
    """Print the table of the comparison, or of the whole session."""
    parser = report.parser(__doc__, quick="the fewest runs and voxels, or a session of 100 voxels; each once")
    parser.add_argument("--voxels", type=int, nargs="+", default=[500, 2000, 8000])
    parser.add_argument("--runs", type=int, nargs="+", default=[4, 12])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="of a session (%(default)s)")
    parser.add_argument("--session", type=int, metavar="VOXELS", help="a session of NSD's size instead (200000)")
    parser.add_argument("--scratch", type=Path, metavar="FOLDER", help="folder for the session's arrays until it is fitted")
    options = parser.parse_args()
    if options.device != "cpu" and not options.session:
        parser.error("--device is for --session: the comparison counts CPU seconds of both programs")
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the fallback for data without responding voxels
        report.show(session(options) if options.session else compare(options), options)


def simulate(n_runs, n_voxels):
    """Simulate series of a fast design: half of the voxels respond, with HRFs of the library; all share some noise."""
    rng = np.random.default_rng(0)
    library = hrf.sampled_library(TR)
    planted, responds = rng.integers(len(library), size=n_voxels), rng.random(n_voxels) < 0.5
    step = round(TRIAL_SECONDS / TR)
    size = rng.gamma(2.0, 1.0, (120, n_voxels)) * responds  # percent, of each of 120 images
    weights = rng.standard_normal((3, n_voxels))
    design, data = [], []
    for _ in range(n_runs):
        labels = np.zeros(N_VOLUMES, dtype=np.int64)
        labels[5 + step * np.arange(N_TRIALS)] = rng.permutation(120)[:N_TRIALS] + 1
        series = np.zeros((N_VOLUMES, n_voxels), dtype=np.float32)
        for onset in np.flatnonzero(labels):
            response = library[planted].T[: N_VOLUMES - onset]
            series[onset : onset + len(response)] += response * size[labels[onset] - 1]
        shared = rng.standard_normal((N_VOLUMES, 3)) @ weights
        series += 3 * rng.standard_normal(series.shape, dtype=np.float32) + 1.5 * shared
        design.append(labels)
        data.append(1000 + 10 * series)
    return design, data


def compare(options):
    """Time both programs on every case, in CPU seconds; yield a row per stage."""
    rate = product_rate(torch.device("cpu"), torch.float64, clock=time.process_time)
    arguments = {"tr": TR, "hrfs": hrf.sampled_library(TR), "canonical": hrf.canonical(TR)}
    settings, cases = GLMOptions(brain_r2=THRESHOLD), sorted(itertools.product(options.runs, options.voxels))
    other = f"GLMsingle {version('glmsingle')}" if glmsingle.is_installed() else "plain NumPy, not GLMsingle"
    fit_glm(*simulate(2, 50), **arguments, options=settings)  # imports are not timed
    for n_runs, n_voxels in cases[:1] if options.quick else cases:
        design, data = simulate(n_runs, n_voxels)
        run_ours = lambda d=design, y=data: timed_stages(lambda: fit_glm(d, y, **arguments, options=settings))  # noqa: E731
        n_times = 1 if options.quick else 3
        ours, our_times = several(run_ours, n_times)
        theirs, their_times = several(lambda d=design, y=data: run_other(d, y, arguments, settings), n_times)
        flops, columns = count_operations(n_runs, n_voxels), compare_results(ours, theirs)
        columns |= {"ms a voxel": 1000 * our_times["all"] / n_voxels, "of the product rate": flops / our_times["all"] / rate}
        for stage, seconds in our_times.items():
            case, own = f"{n_runs} runs x {n_voxels} voxels, CPU seconds: {stage}", columns if stage == "all" else {}
            yield report.row(case, seconds, peer=their_times.get(stage), **own, against=other)


def several(program, n_times):
    """Call a program several times; return its last result and the medians of its times."""
    calls = [program() for _ in range(n_times)]
    return calls[-1][0], {stage: np.median([times[stage] for _, times in calls]) for stage in calls[-1][1]}


def run_other(design, data, arguments, settings):
    """Return results and times (CPU seconds) of the peer."""
    start = time.process_time()
    if glmsingle.is_installed():
        with redirect_stdout(sys.stderr):  # GLMsingle's messages
            results = glmsingle.fit(design, data, **arguments, options=settings)
        times = {"all": time.process_time() - start}
        return {name: results[name].values for name in results.data_vars} | results.attrs, times
    begun = []  # pairs of a stage and its start; None ends the last one

    def begin(stage):
        begun.append((stage, time.process_time()))

    results = plain_glm.fit(design, data, **arguments, threshold=THRESHOLD, stage=begin)
    times = {stage: end - since for (stage, since), (_, end) in itertools.pairwise(begun)}
    return results, times | {"all": begun[-1][1] - start}


def timed_stages(fit_all, clock=time.process_time):
    """Return the result of `fit_all()`, and the clock's time (CPU seconds) of each stage of nsdlib and of all."""
    times = {}

    def timed(stage, function):
        def call(*arguments, **options):
            start = clock()
            result = function(*arguments, **options)
            times[stage] = clock() - start
            return result

        return call

    with ExitStack() as patches:
        for stage, (module, name) in STAGES.items():
            patches.enter_context(mock.patch.object(module, name, timed(stage, getattr(module, name))))
        return timed("all", fit_all)(), times


def compare_results(ours, theirs):
    """Compute relative differences of betas, in all voxels and in those with equal choices, and the share of equal choices."""
    same_hrf = ours.hrf_index.values == theirs["hrf_index"]
    same_fraction = np.isclose(ours.fraction.values, theirs["fraction"])

    def difference(voxels):
        betas = ours.betas_d.values[:, voxels]
        return np.sqrt(np.square(betas - theirs["betas_d"][:, voxels]).mean() / np.square(betas).mean())

    return {
        "agreement": difference(slice(None)),
        "with the same HRF and fraction": difference(same_hrf & same_fraction),
        "same HRF": same_hrf.mean(),
        "same fraction": same_fraction.mean(),
        "same noise pool": np.mean(ours.noise_pool.values == theirs["noise_pool"]),
        "components": f"{ours.attrs['n_pcs']} = {theirs['n_pcs']}",
    }


def count_operations(n_runs, n_voxels):
    """Count the floating-point operations of the indispensable matrix products with data."""
    pass_over_data = 2 * n_runs * N_TRIALS * N_VOLUMES * n_voxels  # regressors of all runs times all series
    rotation = 2 * n_runs * N_TRIALS**2 * n_voxels
    # passes over the data: each HRF, type B, and two for ridge; rotations: betas and energies
    return pass_over_data * (len(hrf.sampled_library(TR)) + 3) + rotation * (len(GLMOptions().fractions) + 4)


def simulate_session(n_voxels, *, device="cpu"):
    """Simulate a session of NSD's size (12 runs, 750 trials, 225 volumes), drawn on a device: design, data, TR."""
    tr, counts, n_volumes = 4 / 3, [63, 62] * 6, 225
    draw, rng = torch.Generator(device).manual_seed(0), np.random.default_rng(0)
    options = {"generator": draw, "device": device}
    library = torch.as_tensor(hrf.sampled_library(tr), device=device)
    planted = rng.integers(len(library), size=n_voxels)
    responds = torch.rand(n_voxels, **options) < 0.5
    size, weights = 4 * torch.rand(300, n_voxels, **options) * responds, torch.randn(3, n_voxels, **options)
    padded = torch.nn.functional.pad(library, (0, n_volumes))
    design, data = [], []
    for n_trials in counts:
        labels = np.zeros(n_volumes, dtype=np.int64)
        labels[5 + 3 * np.arange(n_trials)] = rng.permutation(300)[:n_trials] + 1
        onsets = np.flatnonzero(labels)
        lag = torch.arange(n_volumes)[:, None] - torch.as_tensor(onsets)
        trials = torch.where(lag >= 0, padded.cpu()[:, lag.clamp(min=0)], 0.0).to(device)  # (n_hrfs, n_volumes, n_trials)
        series = 3 * torch.randn(n_volumes, n_voxels, **options) + 1.5 * torch.randn(n_volumes, 3, **options) @ weights
        trial_sizes = size[labels[onsets] - 1]
        for number, regressors in enumerate(trials):
            voxels = torch.as_tensor(np.flatnonzero(planted == number), device=device)
            series.index_add_(1, voxels, regressors @ trial_sizes[:, voxels])
        design.append(labels)
        data.append((1000 + 10 * series).cpu().numpy())
    return design, data, tr


def measure_session(n_voxels, device, *, scratch=None, **options):
    """Fit one session of NSD's size; return the row of its seconds and CPU seconds, seconds of each stage, and GiB."""
    options = GLMOptions(device=device, **options)
    design, data, tr = simulate_session(n_voxels, device=device)
    few_voxels = [run[:, :100] for run in data]
    fit_glm(design[:2], few_voxels[:2], tr=tr, options=options)  # imports and the device's start are not timed
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    results, times = timed_stages(lambda: fit_glm(design, data, tr=tr, options=options, scratch=scratch), clock)
    seconds, cpu_seconds = times.pop("all")
    columns = {"peak_gb": report.peak_gb(device), "device": device, "cpu_s": cpu_seconds}
    columns |= {stage: stage_times[0] for stage, stage_times in times.items()}
    columns |= {"series GiB": sum(run.nbytes for run in data) / 2**30, "results GiB": results.nbytes / 2**30}
    return report.row(f"session of {n_voxels} voxels, 12 runs, 750 trials, once", seconds, **columns)


def session(options):
    """Yield the row of one session."""
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch, n_voxels = Path(folder) if options.scratch else None, 100 if options.quick else options.session
        yield measure_session(n_voxels, options.device, scratch=scratch)


if __name__ == "__main__":
    main()
