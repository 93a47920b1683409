"""The strip of pictures at the top of the README, chosen by rule, and its caption; `nsdlib ship` makes them."""

from PIL import Image, ImageDraw, ImageFont

from book._ext.snippets import KINDS, N_SHOWN, caption
from nsdlib.core.files import atomic_write
from nsdlib.core.images import resize
from nsdlib.run import publish
from nsdlib.store.store import Store
from nsdlib.study.selection import at_percentiles, mean_rank

PLACE = "book/static/strip.png"
SIDE = 128  # pixels of an image
STEP = SIDE + 4  # pixels from one image to the next
LEFT, TOP = 92, 26  # pixels for the names of rows and for the percentiles
GREY = (128, 128, 128, 255)  # readable on white and on black
BEGIN, END = "<!-- strip of pictures -->\n", "<!-- end of the strip -->\n"
PICTURE = f"![Seen, rough and refined pictures in three rows, {N_SHOWN} images from the best to the worst]({PLACE})\n\n"


def write(run):
    """Draw the strip of a run with shipped results, put its caption into the README, and return whether that was done.

    Nothing is done if the run's images are not in the store or may not be shown (`nsdlib.run.publish`), or without a README.
    """
    store, readme = Store(run), run.root / "README.md"
    if not (publish.may_show(run) and readme.is_file() and store.has("scores") and store.has("reconstruction")):
        return False
    with store.load("scores") as scores, store.load("reconstruction") as images:
        strip = draw_chosen(images, scores.value, N_SHOWN)
        text = PICTURE + caption(scores.value, n_bootstrap=run.n_bootstrap, seed=run.seed)
    (run.root / PLACE).parent.mkdir(parents=True, exist_ok=True)
    strip.save(run.root / PLACE, optimize=True)
    atomic_write(readme, with_caption(readme.read_text(), text))
    return True


def draw_chosen(made, values, n_shown):
    """Draw images of the artifact `reconstruction`, chosen by their mean rank in scores (system, metric, test_image)."""
    chosen, percentiles = at_percentiles(mean_rank(values.sel(system="refined")), n_shown)
    return draw({kind: resize(made[name].values[chosen], SIDE) for kind, name in KINDS.items()}, percentiles)


def draw(rows, percentiles):
    """Draw images in columns under their percentiles, as a PIL image with a transparent background.

    `rows` maps the label of a row to its images (n_images, SIDE, SIDE, 3) uint8; `percentiles` are (n_images,).
    """
    strip = Image.new("RGBA", (LEFT + STEP * len(percentiles), TOP + STEP * len(rows)))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(18)
    pen.text((0, 2), "percentile", GREY, font)
    for column, percentile in enumerate(percentiles):
        pen.text((LEFT + STEP * column + STEP // 2, 2), f"{percentile:.0f}", GREY, font, anchor="ma")
    for row, (label, images) in enumerate(rows.items()):
        pen.text((0, TOP + STEP * row + STEP // 2), label, GREY, font, anchor="lm")
        for column, image in enumerate(images):
            strip.paste(Image.fromarray(image), place(row, column))
    return strip


def place(row, column):
    """Return the top left pixel (x, y) of an image in the strip."""
    return LEFT + STEP * column, TOP + STEP * row


def with_caption(readme, text):
    """Return the README with a text between its two marks; unchanged if it has no marks."""
    before, mark, rest = readme.partition(BEGIN)
    return f"{before}{mark}\n{text}\n{END}{rest.partition(END)[2]}" if mark and END in rest else readme
