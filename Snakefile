# Notebooks x runs: snakemake --profile profiles/local --config runs=demo
# A page is made again when its notebook, its parameters, the weights, an earlier page, or a file of the library that the notebook
# reaches by its imports changed (nsdlib.store.sources). Only what is listed as input counts, so a file that was touched and not changed
# costs nothing.
# Memory and GPUs that a job asks for are counted from sizes (nsdlib.run.costs) and change no page; a profile says what there is.
import os
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from nsdlib.store.provenance import TAUGHT_BY, find_step, notebooks_before, teachers
from nsdlib.params import load_run, parameter_files, run_names
from nsdlib.run.rates import n_cores, total_memory
from nsdlib.run.runner import notebook_names, notebooks_of
from nsdlib.store.sources import recipe_files, source_files

RUNS = str(config.get("runs", "demo")).split(",")
NOTEBOOKS = notebook_names(".")
WEIGHTS = sorted(map(str, Path("zoo/demo").rglob("*.safetensors")))

# Notebooks that several of the same run wait for take all cores, the others half of them; `cores` and `max-threads` are the limits.
CORES = n_cores()
EARLIER = {name: notebooks_before(Path("notebooks") / f"{name}.ipynb") for name in NOTEBOOKS}  # (of the run, of its group)
AWAITED = Counter(name for of_run, _ in EARLIER.values() for name in of_run)
TEACH = sorted({find_step(name).notebook for name in TAUGHT_BY})  # of other subjects, where a recipe trains on them beforehand
GROUP_AWAITS = {name for _, of_group in EARLIER.values() for name in of_group}

IN_JOB = not workflow.is_main_process  # of a cluster, which has given what was asked for: nothing is counted again


@cache
def parameters(run):
    """Parameters of a run that is asked for; no other file is read, so it may be broken or name the same folders."""
    try:
        return load_run(run)
    except ValueError as error:
        sys.exit(f"nsdlib: {error}")  # `quiet` would swallow what is raised


def data_of(wildcards):
    run = parameters(wildcards.run)
    if run.simulation is None:
        return f"runs/{run.name}/.checked"
    if "{" in (folder := os.path.relpath(run.data)):  # which Snakemake takes for a wildcard, however it is written
        sys.exit(f"nsdlib: params/{run.name}.yaml: data lies in {folder}: name a folder without braces.")
    return f"{folder}/.made-{run.name}"


def files_of(wildcards):
    """Files that hold the run's parameters."""
    return [os.path.relpath(file) for file in parameter_files(parameters(wildcards.run).name)]


@cache
def library(name):
    """Files of the library that a notebook reaches."""
    return [os.path.relpath(file) for file in source_files(f"notebooks/{name}.ipynb")]


def shipped(wildcards):
    """Results that the project ships, for a notebook that shows those of runs like its own."""
    shows = os.path.relpath("nsdlib/store/shipped.py") in library(wildcards.name)
    return sorted(map(str, Path("book", "data").glob("*/*.*"))) if shows and not parameters(wildcards.run).like else []


def recipes(wildcards):
    """Files of the run's recipes, with what they name that is not of nsdlib, for a notebook that reads them; of others it tells."""
    reads, run = os.path.relpath("nsdlib/recipes/recipe.py") in library(wildcards.name), parameters(wildcards.run)
    return [os.path.relpath(file) for name in run.recipes if reads for file in recipe_files(run.root, name)]


def taught_by(wildcards):
    """Runs that are asked for on whose subjects the run's recipes train beforehand, for a notebook that reads recipes."""
    run, reads = parameters(wildcards.run), os.path.relpath("nsdlib/recipes/recipe.py") in library(wildcards.name)
    return sorted({other.name for name in run.recipes if reads for other in teachers(run, name)} & set(RUNS))


def earlier_pages(wildcards):
    """Pages whose results a notebook reads; of the runs in its group those that are asked for."""
    of_run, of_group = EARLIER[wildcards.name]
    group = [run for run in parameters(wildcards.run).group if run in RUNS or run == wildcards.run]
    of_run = [name for name in notebooks_of(parameters(wildcards.run)) if name in of_run]
    pages = expand("runs/{run}/{name}.ipynb", run=wildcards.run, name=of_run)
    pages += expand("runs/{run}/{name}.ipynb", run=group, name=of_group)
    return pages + expand("runs/{run}/{name}.ipynb", run=taught_by(wildcards), name=TEACH)


def n_threads(wildcards):
    return CORES if AWAITED[wildcards.name] > 1 else max(1, CORES // 2)


@cache
def memory(run, name):
    """Bytes that a notebook of a run wants, and what to ask for."""
    from nsdlib.run import costs  # takes seconds, and only jobs that are to be run are counted

    try:
        return costs.job_memory(parameters(run), costs.amounts(parameters(run)), name)
    except (ValueError, OSError) as error:
        print(f"nsdlib: run {run!r}: {error}", file=sys.stderr)  # what resources raise, an exit too, is swallowed
        raise


def megabytes(wildcards):
    """To ask for: of one notebook, and for the check, which is to see a machine that holds them all, of the largest."""
    if IN_JOB:
        return 0
    names = [wildcards.name] if "name" in wildcards.keys() else NOTEBOOKS
    return int(max(memory(wildcards.run, name)[1] for name in names) / 1e6)


def to_simulate(wildcards):
    """Megabytes to ask for."""
    from nsdlib.run import costs

    return int(costs.simulation_memory(parameters(wildcards.run)) / 1e6)


def n_gpus(wildcards):
    """What the run may use; a profile with `gpu: 0` lowers it to none."""
    return int(parameters(wildcards.run).device != "cpu" and (not IN_JOB or "SLURM_GPUS" in os.environ))


def precaution(wildcards):
    """What comes before a notebook: nothing, or the doctor where it wants more than this machine's memory."""
    fits = IN_JOB or memory(wildcards.run, wildcards.name)[0] <= total_memory()
    return "true" if fits else f"python -m nsdlib doctor {wildcards.run}"


wildcard_constraints:
    run="|".join(run_names(".")),
    name="|".join(NOTEBOOKS),


rule all:
    input:
        lambda _: [f"runs/{parameters(run).name}/{name}.ipynb" for run in RUNS for name in notebooks_of(parameters(run))],


rule simulate:
    input:
        files_of,
    output:
        touch("{folder}/.made-{run}"),
    threads: CORES
    resources:
        mem_mb=to_simulate,
    shell:
        "OMP_NUM_THREADS={threads} python -m nsdlib simulate {wildcards.run}"


rule check:
    input:
        files_of,
    output:
        touch("runs/{run}/.checked"),
    resources:
        mem_mb=megabytes,
        gpu=n_gpus,
    shell:
        "python -m nsdlib doctor {wildcards.run}"


rule notebook:
    input:
        "notebooks/{name}.ipynb",
        files_of,
        lambda wildcards: library(wildcards.name),
        WEIGHTS,
        data_of,
        shipped,
        recipes,
        earlier_pages,
    output:
        "runs/{run}/{name}.ipynb",
    threads: n_threads
    priority: lambda wildcards: len(EARLIER[wildcards.name][0]) + (wildcards.name in GROUP_AWAITS)  # what reads most takes longest
    resources:
        mem_mb=megabytes,
        gpu=n_gpus,
        precaution=precaution,
    shell:
        "{resources.precaution} && OMP_NUM_THREADS={threads} python -m nsdlib run {wildcards.run} {wildcards.name}"
