"""Figures for print: a drawn figure as PDF, SVG and PNG at the width of a column, each file complete or absent.

It resizes a figure, checks that it is legible, and writes a description of it into each file.
"""

import io
from html import escape

from nsdlib.core.files import atomic_write
from nsdlib.store.variants import differing, name_of

ONE_COLUMN, TWO_COLUMNS = 85, 174  # mm, as most journals set them
SMALLEST_TEXT = 6  # points
DPI = 300  # of the PNG, and of images inside PDF and SVG
MM = 25.4  # millimetres per inch
MARGIN = 0.02  # inches
# Fonts are embedded in a PDF as TrueType, which printers accept, and drawn as outlines in an SVG, which then needs no font.
SETTINGS = {"savefig.bbox": "standard", "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "nsdlib"}


def figures_folder(run):
    """Return the folder of a run's figures: beside its executed notebooks, ignored by git, and separate for each variant."""
    return run.root / "runs" / run.name / name_of("figures", differing(run))


def export(figure, folder, name, *, width, title, description, source=""):
    """Resize a figure to a width and write it as PDF, SVG and PNG; return the three paths.

    A ValueError is raised if a text would be smaller than `SMALLEST_TEXT`, or if the figure's parts do not fit into the width.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        With a layout engine, as all figures of this package have. It keeps its new size.
    folder : Path
        Created if missing; files of the same name are replaced.
    name : str
        File name without extension.
    width : float
        Millimetres, such as `ONE_COLUMN`; the height follows from the content.
    title, description : str
        Title and alternative text of the figure.
    source : str
        Source of the data, such as the name of an artifact.
    """
    import matplotlib as mpl

    _fit(figure, width)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {
        "pdf": {"Title": title, "Subject": description, "Keywords": source, "CreationDate": None},
        "svg": {"Title": title, "Description": description, "Source": source, "Date": None},
        "png": {"Title": title, "Description": description, "Source": source},
    }
    paths = []
    with mpl.rc_context(SETTINGS):
        for ending, fields in metadata.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=DPI, metadata=fields)
            data = _described(buffer.getvalue(), description) if ending == "svg" else buffer.getvalue()
            paths.append(folder / f"{name}.{ending}")
            atomic_write(paths[-1], data)
    return paths


def _fit(figure, width):
    """Set the figure's width (mm), adapt its height to the content, and refuse a figure that is not legible."""
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    if small := [text for text in texts if text.get_fontsize() < SMALLEST_TEXT]:
        raise ValueError(
            f"{small[0].get_text()!r} has {small[0].get_fontsize():g} points, and print needs {SMALLEST_TEXT} or more: give it "
            "a larger fontsize."
        )
    inches = width / MM
    height = figure.get_figheight() * inches / figure.get_figwidth()
    if all(ax.get_aspect() != "auto" for ax in figure.axes):  # only images: as large as the width allows, without gaps
        figure.set_layout_engine("compressed")
        figure.get_layout_engine().set(w_pad=MARGIN, h_pad=MARGIN)
        height *= 2
    for _ in range(2):
        figure.set_size_inches(inches, height)
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        height = box.height + 2 * MARGIN
    if box.x0 < -MARGIN or box.x1 > inches + MARGIN:
        raise ValueError(
            f"At {width:g} mm the figure's parts do not fit, they reach from {MM * box.x0:.0f} to {MM * box.x1:.0f} mm: draw "
            "fewer columns or shorter titles, or take a larger width."
        )


def _described(svg, description):
    """Insert a description after the SVG's title, where screen readers look for it."""
    head, mark, rest = svg.decode().partition("</title>")
    return f"{head}{mark}\n <desc>{escape(description)}</desc>{rest}".encode()
