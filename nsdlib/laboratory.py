"""Commands for data of others: `nsdlib import` writes how BIDS is read, `nsdlib convert` brings betas into one form."""

from pathlib import Path

from nsdlib.arguments import argument, assignments, command, settings_argument

LAYOUTS = ("nsdsynthetic", "nsdimagery", "things", "bold5000", "god", "cneuromod")


@command(
    "write a parameter file for a BIDS data set",
    argument("layout", metavar="bids", choices=("bids",), help="BIDS with fMRIPrep's results"),
    argument("raw", metavar="RAW", type=Path, help="the raw data set"),
    argument("--derivatives", metavar="DIR", type=Path, required=True, help="fMRIPrep's results"),
    argument("--subject", dest="label", metavar="LABEL", required=True, help="sub-LABEL"),
    argument("--task", metavar="TASK", required=True, help="task-TASK; or several, a,b"),
    argument("--images", metavar="DIR", type=Path, required=True, help="the pictures that were shown"),
    argument("--space", metavar="SPACE", help="of the BOLD; T1w if there"),
    argument("--image-column", metavar="NAME", help="of the events, names the picture; guessed"),
    argument("--name", metavar="RUN", help="of the run; subLABEL_TASK"),
    settings_argument("another line of the section bids"),
)
def _import(options):
    """Look at a subject of a BIDS data set; write params/RUN.yaml, a check list and a sheet of pictures. Again does nothing."""
    from nsdlib.data.bids import checklist, importer
    from nsdlib.plots import use_style
    from nsdlib.plots.data import plot_import

    given = {key: getattr(options, key) for key in ("raw", "derivatives", "label", "task", "images", "space", "image_column")}
    name = options.name or f"sub{options.label}_{options.task}".replace("+", "").replace(",", "_")
    found = importer.inspect(**assignments(options.p, name=name, **given))
    print(*found.checks, "", sep="\n")
    if importer.is_written(found):
        print(f"Nothing to be done: params/{name}.yaml says the same.")
        return 0
    use_style()
    for path in importer.write(found, plot_import(**checklist.sheet(found.subject))):
        print(path)
    print(f"Read each line of params/{name}.yaml, then look whether all is there: nsdlib doctor {name}")
    return 0


@command(
    "bring betas of a public data set into a form that a run opens",
    argument("layout", metavar="LAYOUT", choices=LAYOUTS, help=", ".join(LAYOUTS)),
    argument("root", metavar="FOLDER", type=Path, help="the data; nothing is written there"),
    argument("--into", metavar="DIR", type=Path, required=True, help="a folder that is not there yet"),
    argument("--subject", dest="label", metavar="LABEL", required=True, help="as the files have it, such as 01"),
    argument("--images", metavar="DIR", type=Path, help="the pictures; NSD's come with the data"),
    argument("--name", metavar="RUN", help="of the run; LAYOUT_LABEL"),
    settings_argument("a setting of the layout"),
)
def _convert(options):
    """Write betas of a subject of a public data set into DIR, with their trials, masks and test set, and params/RUN.yaml."""
    from nsdlib.data.converted.convert import convert

    name = options.name or f"{options.layout}_{options.label}"
    given = {"layout": options.layout, "root": options.root, "folder": options.into, "label": options.label}
    file, notes = convert(**assignments(options.p, run=name, images=options.images, **given))
    print(*notes, file, sep="\n")
    print(f"Read each line of params/{name}.yaml, then look whether all is there: nsdlib doctor {name}")
    return 0
