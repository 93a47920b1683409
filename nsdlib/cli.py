"""The command line: `nsdlib simulate | fetch | doctor | rehearse | run | export | book`."""

import argparse
import sys
from pathlib import Path

import yaml

from nsdlib import __version__
from nsdlib.params import find_root, load_run

ABOUT = "Decode what a person saw from fMRI: simulate a subject, check a machine, run notebooks, build a book."
EXAMPLES = """examples:
  nsdlib simulate demo                 make the simulated subject of params/demo.yaml
  nsdlib doctor subj01                 is everything there that this run needs?
  nsdlib rehearse subj01               every stage at full size with random weights: what will it cost here?
  nsdlib run demo                      all notebooks, one after the other
  nsdlib run demo 03 05 -p decoder=cnn two of them with another decoder"""


def main(arguments=None):
    """Run one command; returns the exit status: 0 done, 1 it failed, 2 the request was wrong."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        return _complain(error, status=2)
    except RuntimeError as error:
        return _complain(error, status=1)
    except KeyboardInterrupt:
        return _complain("interrupted; what is complete stays, and the same command goes on from there.", status=130)


def _parser():
    """The argument parser with its commands."""
    parser = argparse.ArgumentParser(
        "nsdlib", description=ABOUT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"nsdlib {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, function, about in (
        ("simulate", _simulate, "write the simulated subject of a run"),
        ("fetch", _fetch, "get NSD's files of a subject, or the published weights"),
        ("doctor", _doctor, "look whether a run has all it needs"),
        ("rehearse", _rehearse, "measure every stage at full size, with random weights"),
        ("run", _run, "run notebooks unattended"),
        ("export", _export, "write the betas of notebook 01 as NSD's own files"),
        ("book", _book, "build the book from the executed notebooks"),
    ):
        command = commands.add_parser(name, help=about, description=function.__doc__)
        command.set_defaults(command=function)
        if name not in ("book", "fetch"):
            default = "subj01" if name == "rehearse" else "demo"
            optional = {} if name in ("run", "export") else {"nargs": "?", "default": default}
            command.add_argument("run", metavar="RUN", help="a file params/RUN.yaml, such as demo", **optional)
        if name == "fetch":
            _add_fetch_options(command)
        if name == "doctor":
            command.add_argument("--data", action="store_true", help="check the files against each other instead")
            command.add_argument("--forecast", type=int, metavar="N", help="the run's group on N nodes, one GPU each")
        if name == "run":
            command.add_argument(
                "notebooks", metavar="NOTEBOOK", nargs="*", help="name or number; all when none is given"
            )
            command.add_argument(
                "-p", metavar="NAME=VALUE", action="append", default=[], help="set a notebook's parameter"
            )
        if name == "rehearse":
            command.add_argument("--images", type=int, help="through the networks (1 on a CPU, 32 on a GPU)")
            command.add_argument("--steps", type=int, help="of diffusion (4 on a CPU, the run's on a GPU)")
        if name == "book":
            command.add_argument(
                "--local", action="store_true", help="with the pictures of real subjects, for yourself"
            )
        if name == "export":
            command.add_argument("folder", metavar="FOLDER", type=Path, help="where they go; made when it is not there")
    return parser


def _add_fetch_options(command):
    """What `nsdlib fetch` understands."""
    command.add_argument("what", metavar="WHAT", choices=("nsd", "weights"), help="nsd or weights")
    command.add_argument(
        "--subject", type=int, choices=range(1, 9), default=1, metavar="N", help="1 (when not given) to 8"
    )
    command.add_argument("--sessions", type=int, metavar="N", help="of betas; as params/subjNN.yaml has it")
    command.add_argument("--glm-sessions", type=int, metavar="N", help="of time series, 0 for none; as there")
    command.add_argument("--dry-run", action="store_true", help="list every file with its bytes, fetch nothing")
    command.add_argument("--verify", action="store_true", help="read all that is there and compare its hashes")
    command.add_argument("--accept-terms", action="store_true", help="say that NSD's terms are accepted")


def _simulate(options):
    """Write the simulated subject of a run in the layout of the Natural Scenes Dataset. Done once; again does nothing."""
    run = load_run(options.run)
    if run.simulation is None:
        raise ValueError(f"params/{run.name}.yaml has no section 'simulation': {run.name} is a real subject.")
    from nsdlib.twin.simulate import simulate

    simulate(run)
    return 0


def _fetch(options):
    """Get NSD's files of a subject, or the published weights. Repeated, it goes on, and fetches what is damaged again."""
    from nsdlib.data import fetch, nsd_bucket
    from nsdlib.store import zoo

    run = load_run(f"subj{options.subject:02d}")
    settings = {"dry_run": options.dry_run, "verify": options.verify}
    if options.what == "weights":
        fetch.fetch(zoo.files(run), run.weights / "paper", **settings)
        return 0
    n_sessions = run.n_sessions if options.sessions is None else options.sessions
    glm_sessions = min(run.glm_sessions, n_sessions) if options.glm_sessions is None else options.glm_sessions
    files = nsd_bucket.subject_files(
        run.data, run.subject, n_sessions=n_sessions, glm_sessions=glm_sessions, version=run.betas_version
    )
    if options.dry_run:
        print(nsd_bucket.TERMS, end="\n\n")
    else:
        nsd_bucket.accept_terms(run.data, accepted=options.accept_terms)
    fetch.fetch(files, run.data, **settings)
    return 0


def _doctor(options):
    """Look at versions, device, memory, disk, data and weights, say what a run lacks and what it will take here."""
    from nsdlib.run import doctor

    run = load_run(options.run)
    if options.forecast is not None:
        print(doctor.outlook(run, options.forecast))
        return 0
    if options.data:
        lines, fine = doctor.first_contact(run)
        print(*lines, sep="\n")
        return 0 if fine else 1
    findings = doctor.examine(run)
    print(*findings, sep="\n")
    lacking = [finding.what for finding in findings if not finding.fine]
    if "device" not in lacking:
        print("", *doctor.expected(run), "", sep="\n")
    print(f"{options.run} lacks: {', '.join(lacking)}" if lacking else f"{options.run} has all it needs.")
    return 1 if lacking else 0


def _rehearse(options):
    """Run every stage at the paper's sizes with random weights; needs no data, and prints time, memory and a forecast."""
    from nsdlib.core.device import pick
    from nsdlib.run.rehearsal import gpu_memory, rehearse

    run = load_run(options.run)
    few = pick(run.device).type == "cpu"
    table = rehearse(run, n_images=options.images or (1 if few else 32), n_steps=options.steps or (4 if few else None))
    print(f"\n{table.to_markdown(floatfmt='.2f')}\n")
    hours = table["hours a subject"].sum()
    print(f"One subject: {hours:.1f} hours at most (the GRU may stop earlier); four: {4 * hours:.1f}.\n")
    print("Memory of the second stage on a GPU, GiB, by the sizes of its tensors:\n")
    print(gpu_memory(run).to_markdown(floatfmt=".2f"))
    return 0


def _run(options):
    """Run notebooks one after the other; executed copies go to runs/RUN/. Unknown parameters are refused beforehand."""
    from nsdlib.run.runner import run_notebooks

    parameters = dict(_assignment(text) for text in options.p)
    pages = run_notebooks(options.run, options.notebooks, parameters=parameters)
    if len(pages) > 1:
        print(f"{len(pages)} executed notebooks are in {pages[0].parent}")
    return 0


def _export(options):
    """Write the betas of notebook 01, one NIfTI and one HDF5 file a session, int16, 300 times the percent signal change."""
    from nsdlib.data.glm_sessions import export_betas
    from nsdlib.data.nsd import NSDSubject
    from nsdlib.store.store import Store

    run = load_run(options.run)
    with Store(run).load("glm") as found:
        written = export_betas(found, NSDSubject(run.data, run.subject, run.n_sessions), options.folder)
    print(f"{len(written)} sessions are in {options.folder}")
    return 0


def _book(options):
    """Build the book from the executed notebooks, with warnings as errors, and say where it is."""
    root, local = find_root(), options.local
    sys.path.insert(0, str(root))
    from book._ext.build import build, first_page, is_current

    if is_current(root, local=local):
        print("Nothing to be done: the book is newer than its pages, the notebooks' results and the library.")
    else:
        build(root, local=local)
    print(f"The book is at {first_page(root, local=local)}")
    if local:
        print("It shows all pictures: where they are of real subjects, NSD's terms forbid passing it on.")
    return 0


def _assignment(text):
    """Name and value of `-p name=value`; the value is read as YAML."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise ValueError(f"-p takes NAME=VALUE, such as -p decoder=cnn; it got {text!r}.")
    try:
        return name.strip(), yaml.safe_load(value)
    except Exception as error:  # the parser lets through what its own parts raise
        raise ValueError(f"-p {name}: {value!r} is not valid YAML; quote it.") from error


def _complain(problem, *, status):
    """Say what is wrong on standard error."""
    print(f"nsdlib: {problem}", file=sys.stderr)
    return status
