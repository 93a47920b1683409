"""The command line: `nsdlib simulate | fetch | import | convert | doctor | rehearse | run | score | export | ship | book`."""

import argparse
import sys
from pathlib import Path

import nsdlib.laboratory  # noqa: F401  its commands
from nsdlib import __version__
from nsdlib.arguments import ALLOWED, COMMANDS, argument, assignments, command, run_argument, settings_argument, writable
from nsdlib.params import find_root, load_run
from nsdlib.strict import local_folder

ABOUT = "Decode seen images from fMRI: simulate a subject, check a machine, run notebooks, build a book."
EXAMPLES = """nsdlib doctor subj01                 check that everything for this run is available
nsdlib run demo 04 05 -p decoder=cnn run two notebooks (default: all) with another decoder"""
SUBJECTS = [f"subj0{number}" for number in range(1, 9)]


def main(arguments=None):
    """Run one command from `arguments` (list of str; default: the command line) and return the exit status.

    0: success, 1: failure, 2: invalid request, 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        message, status = error, 2
    except (RuntimeError, OSError) as error:
        message, status = error, 1
    except KeyboardInterrupt:
        message, status = "interrupted; completed results are kept, and the same command resumes after them.", 130
    print(f"nsdlib: {message}", file=sys.stderr)
    return status


def _parser():
    """The argument parser with its commands."""
    parser = argparse.ArgumentParser(
        "nsdlib", description=ABOUT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"nsdlib {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (function, about, arguments) in COMMANDS.items():
        subparser = commands.add_parser(name, help=about, description=function.__doc__)
        subparser.set_defaults(command=function)
        for names, settings in arguments:
            subparser.add_argument(*names, **settings)
    return parser


@command("simulate the subject of a run", run_argument(nargs="?", default="demo"))
def _simulate(options):
    """Write the simulated subject of a run in NSD's layout, or as BIDS if the run says so. Repeated, it does nothing."""
    run = load_run(options.run)
    if run.simulation is None:
        raise ValueError(f"params/{run.name}.yaml has no section 'simulation': {run.name} is a real subject.")
    from nsdlib.twin.simulate import simulate

    simulate(run)


@command(
    "download NSD's files of a subject, or the published weights",
    argument("what", metavar="WHAT", choices=("nsd", "weights"), help="what to download: nsd or weights"),
    argument("--run", default="subj01", metavar="RUN", help="run whose folders are filled, a file params/RUN.yaml (subj01)"),
    argument("--subject", dest="run", type="subj{:0>2}".format, choices=SUBJECTS, metavar="N", help="1 to 8, for --run subj0N"),
    argument("--sessions", type=int, metavar="N", help="sessions of betas (as in params/RUN.yaml)"),
    argument("--glm-sessions", type=int, metavar="N", help="sessions of time series, 0 for none (as in params/RUN.yaml)"),
    argument("--dry-run", action="store_true", help="list all files with their sizes, download nothing"),
    argument("--verify", action="store_true", help="read all existing files and compare their hashes"),
    argument("--accept-terms", action="store_true", help="accept NSD's terms without being asked"),
)
def _fetch(options):
    """Download NSD's files of a subject, or the published weights. Repeated, it resumes and replaces damaged files."""
    from nsdlib.data import fetch
    from nsdlib.data.nsd import bucket as nsd_bucket
    from nsdlib.store import zoo

    run = load_run(options.run)
    settings = {"dry_run": options.dry_run, "verify": options.verify}
    if options.what == "weights":
        fetch.fetch(zoo.files(run), run.weights / "paper", **settings)
        return
    if run.simulation is not None:
        raise ValueError(f"{run.name} is simulated, so NSD has no files of it: make them with `nsdlib simulate {run.name}`.")
    if run.subject is None:
        raise ValueError(f"{run.name} is no subject of NSD: get its data for the folders that its section {run.section} names.")
    n_sessions = run.n_sessions if options.sessions is None else options.sessions
    glm_sessions = min(run.glm_sessions, n_sessions) if options.glm_sessions is None else options.glm_sessions
    sizes = {"n_sessions": n_sessions, "glm_sessions": glm_sessions}
    files = nsd_bucket.subject_files(run.data, run.subject, **sizes, version=run.betas_version, roi=run.roi)
    if options.dry_run:
        print(nsd_bucket.TERMS, end="\n\n")
    else:
        nsd_bucket.accept_terms(run.data, accepted=options.accept_terms)
    fetch.fetch(files, run.data, **settings)


@command(
    "check whether a run has everything it needs",
    run_argument(nargs="?", default="demo"),
    argument("--data", action="store_true", help="check instead that the files are consistent"),
    argument("--forecast", type=int, metavar="N", help="forecast instead the run's group on N nodes like this machine"),
)
def _doctor(options):
    """Check versions, device, memory, disk, data and weights; print what a run lacks, and its expected time and memory."""
    from nsdlib.run import doctor

    run = load_run(options.run)
    if options.forecast is not None:
        print(doctor.outlook(run, options.forecast))
        return 0
    if options.data:
        lines, fine = doctor.first_contact(run)
        print(*lines, sep="\n")
        return int(not fine)
    findings = doctor.examine(run)
    print(*findings, sep="\n")
    lacking = [finding.what for finding in findings if not finding.fine]
    if any(finding.what == "device" and finding.fine for finding in findings):
        print("", *doctor.expected(run), "", sep="\n")
    print(f"{options.run} lacks: {', '.join(lacking)}" if lacking else f"{options.run} has everything it needs.")
    return int(bool(lacking))


@command(
    "measure every stage at full size, with random weights",
    run_argument(nargs="?", default="subj01"),
    argument("--images", type=int, help="images per network (1 on a CPU, 32 on a GPU)"),
    argument("--steps", type=int, help="diffusion steps (4 on a CPU, the run's on a GPU)"),
)
def _rehearse(options):
    """Run every stage at the paper's sizes with random weights; needs no data, and prints time, memory and a forecast."""
    from nsdlib.core.device import pick_device
    from nsdlib.run import rehearsal
    from nsdlib.run.full_size import gpu_memory

    run = load_run(options.run)
    on_cpu = pick_device(run.device).type == "cpu"
    n_images, n_steps = options.images or (1 if on_cpu else 32), options.steps or (4 if on_cpu else None)
    table = rehearsal.rehearse(run, n_images=n_images, n_steps=n_steps)
    file = rehearsal.write(table, run)
    print(f"\n{table.to_markdown(floatfmt='.2f')}\n")
    hours = table["hours a subject"].sum()
    print(f"One subject: {hours:.1f} hours (networks often end earlier; those for tokens are left out); four: {4 * hours:.1f}.")
    print(f"`nsdlib doctor` reads {file}: this rehearsal, or an earlier larger one of this machine.\n")
    print("Memory of the second stage on a GPU, GiB, from the sizes of its tensors:\n")
    print(gpu_memory(run).to_markdown(floatfmt=".2f"))


@command(
    "run notebooks unattended",
    run_argument(),
    argument("notebooks", metavar="NOTEBOOK", nargs="*", help="names or numbers of notebooks (all)"),
    settings_argument("set a parameter; changed ones are part of the page's name"),
)
def _run(options):
    """Run notebooks one after the other; executed copies go to runs/RUN/. Unknown parameters are refused beforehand."""
    from nsdlib.run.runner import run_notebooks

    pages = run_notebooks(options.run, options.notebooks, parameters=assignments(options.p))
    if len(pages) > 1:
        print(f"{len(pages)} executed notebooks are in {pages[0].parent}")


@command(
    "score reconstructions from any source",
    argument("place", metavar="FOLDER", help="images: folder, .npy, .npz:NAME, .h5:DATASET, .pt:KEY"),
    argument("--truth", metavar="FOLDER", required=True, help="the true images, in any of these forms"),
    argument("--protocol", choices=(*ALLOWED["protocol"], "all"), default="native", help="image sizes and formulas (native)"),
    argument("--zoo", choices=ALLOWED["zoo"], default="demo", help="networks: small stand-ins (demo), or published ones"),
    argument("--weights", metavar="DIR", type=Path, help="published networks are in DIR/paper (weights)"),
    argument("--clip", metavar="DIR", type=Path, help="folder with another CLIP to use instead of the zoo's"),
    argument("--device", choices=ALLOWED["device"], default="auto", help="device of the networks (auto)"),
    argument("--json", metavar="FILE", type=writable(".json"), help="write all numbers to this .json file"),
    argument("--page", metavar="FILE", type=writable(".html"), help="write a page with pictures to this .html file"),
)
def _score(options):
    """Compute eight scores, with intervals and floors, of reconstructions paired with the true images by name or number."""
    from nsdlib.core.files import atomic_write
    from nsdlib.plots.scored import page
    from nsdlib.run.scored import score_folder

    if options.weights and options.zoo != "paper":
        raise ValueError(f"--weights {options.weights}: published networks are used with --zoo paper only: add it.")
    weights, clip = (folder and local_folder(folder).absolute() for folder in (options.weights, options.clip))
    run = load_run("demo", zoo=options.zoo, device=options.device, weights=weights, clip_judge=clip)
    protocols = ALLOWED["protocol"] if options.protocol == "all" else [options.protocol]
    scored = score_folder(options.place, options.truth, run=run, protocols=protocols)
    print(scored)
    for file, render in ((options.json, scored.as_json), (options.page, lambda: page(scored))):
        if file:
            atomic_write(file, render())
            print(file)


@command(
    "export the betas of notebook 01 for other programs",
    run_argument(),
    argument("folder", metavar="FOLDER", type=Path, help="folder to write to, created if missing"),
    argument("--format", choices=("nsd", "bids", "glmsingle"), default="nsd", help="file format (nsd)"),
)
def _export(options):
    """Write the betas of notebook 01 as NSD's NIfTI and HDF5 (nsd), maps and tables (bids), or GLMsingle's result files."""
    from nsdlib.data.exports import EXPORTS
    from nsdlib.data.subject import open_subject
    from nsdlib.store.store import Store

    run, folder = load_run(options.run), local_folder(options.folder)
    if run.betas_files is not None:
        raise ValueError(
            f"Betas of run {run.name!r} came with its data, without time series: notebook 01 fits none. Use those in {run.data}."
        )
    with Store(run).load("glm") as betas:
        written = EXPORTS[options.format](betas, open_subject(run), folder)
    print(f"{len(written)} sessions are in {folder}")


@command("copy the small results of a run into the project", run_argument())
def _ship(options):
    """Copy the small results of a run that is `like` another into book/data/RUN/, and draw the README's pictures."""
    from nsdlib.run.rates import machine_name
    from nsdlib.store.shipped import ship

    run = load_run(options.run)
    shipped = ship(run, machine=machine_name(run.device))
    n_bytes = sum(artifact["bytes"] for artifact in shipped.about["artifacts"].values())
    print(f"{', '.join(shipped.about['artifacts'])} are in {shipped.folder}, {n_bytes:,} bytes.\n{shipped}")
    sys.path.insert(0, str(run.root))
    from book._ext import strip

    if strip.write(run):
        print(f"The README shows its pictures: {strip.PLACE}.")


@command(
    "build the book from the executed notebooks",
    argument("--local", action="store_true", help="include pictures of real subjects, for private use"),
)
def _book(options):
    """Build the book from the executed notebooks, with warnings as errors, and print its path."""
    root, local = find_root(), options.local
    sys.path.insert(0, str(root))
    from book._ext.build import build, first_page, is_current

    if is_current(root, local=local):
        print("Nothing to be done: the book is newer than its pages, the notebooks' results and the library.")
    else:
        build(root, local=local)
    print(f"The book is at {first_page(root, local=local)}")
    if local:
        print("It shows all pictures. If any are of real subjects, NSD's terms forbid you to pass it on.")
