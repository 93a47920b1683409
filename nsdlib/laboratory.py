"""Commands for other data sets: `nsdlib import` writes a parameter file for BIDS, `nsdlib convert` converts betas."""

from pathlib import Path

from nsdlib.arguments import argument, assignments, command, settings_argument

LAYOUTS = ("nsdsynthetic", "nsdimagery", "things", "bold5000", "god", "cneuromod")
NEXT_STEP = "Check each line of params/{0}.yaml, then check that everything is available: nsdlib doctor {0}"


@command(
    "write a parameter file for a BIDS data set",
    argument("layout", metavar="bids", choices=("bids",), help="BIDS with fMRIPrep's results"),
    argument("raw", metavar="RAW", type=Path, help="folder of the raw data set"),
    argument("--derivatives", metavar="DIR", type=Path, required=True, help="folder of fMRIPrep's results"),
    argument("--subject", dest="label", metavar="LABEL", required=True, help="label of the subject, sub-LABEL"),
    argument("--task", metavar="TASK", required=True, help="label of the task, task-TASK, or several: a,b"),
    argument("--images", metavar="DIR", type=Path, required=True, help="folder of the pictures that were shown"),
    argument("--space", metavar="SPACE", help="space of the BOLD (T1w if available)"),
    argument("--image-column", metavar="NAME", help="column of the events that names the picture (guessed)"),
    argument("--name", metavar="RUN", help="name of the run (subLABEL_TASK)"),
    settings_argument("set another line of the section bids"),
)
def _import(options):
    """Inspect a subject of a BIDS data set; write params/RUN.yaml, a check list and a sheet of pictures, once."""
    from nsdlib.data.bids import checklist, importer
    from nsdlib.plots import use_style
    from nsdlib.plots.data import plot_import

    settings = {key: getattr(options, key) for key in ("raw", "derivatives", "label", "task", "images", "space", "image_column")}
    name = options.name or f"sub{options.label}_{options.task}".replace("+", "").replace(",", "_")
    inspected = importer.inspect(**assignments(options.p, name=name, **settings))
    print(*inspected.checks, "", sep="\n")
    if importer.is_written(inspected):
        print(f"Nothing to be done: params/{name}.yaml already has this content.")
        return
    use_style()
    for path in importer.write(inspected, plot_import(**checklist.sheet(inspected.subject))):
        print(path)
    print(NEXT_STEP.format(name))


@command(
    "convert betas of a public data set for a run",
    argument("layout", metavar="LAYOUT", choices=LAYOUTS, help=", ".join(LAYOUTS)),
    argument("root", metavar="FOLDER", type=Path, help="folder of the data, left unchanged"),
    argument("--into", metavar="DIR", type=Path, required=True, help="new folder to write to"),
    argument("--subject", dest="label", metavar="LABEL", required=True, help="label of the subject in the files, such as 01"),
    argument("--images", metavar="DIR", type=Path, help="folder of the pictures; NSD's come with the data"),
    argument("--name", metavar="RUN", help="name of the run (LAYOUT_LABEL)"),
    settings_argument("set an option of the layout"),
)
def _convert(options):
    """Write betas of a subject of a public data set into DIR, with their trials, masks and test set, and params/RUN.yaml."""
    from nsdlib.data.converted.convert import convert

    name = options.name or f"{options.layout}_{options.label}"
    settings = {"layout": options.layout, "root": options.root, "folder": options.into, "label": options.label}
    file, notes = convert(**assignments(options.p, run=name, images=options.images, **settings))
    print(*notes, file, NEXT_STEP.format(name), sep="\n")
