"""Interactive images for static pages: a wipe, a stepper through frames, a sorted gallery.

Each function returns self-contained HTML with embedded images: it needs no files, server or library. Stepper and gallery use
radio buttons and lists that CSS alone reads (interactive.css), so they work without scripts. The wipe needs the one line in its
slider (interactive.js); without scripts, its images stand side by side. No element has an id, so a page may hold any number of
pieces. Equal input gives equal bytes.
"""

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from nsdlib.core.images import check_images
from nsdlib.study.selection import at_percentiles, evenly_spaced, relative_rank

QUALITY = 80  # of WebP: a demo image takes 0.5 kB, a photograph of 96 pixels 1 to 4
LARGEST = 2_000_000  # characters per piece; a page of 3 MB can hold one such piece and its figures
OWN_KEYS = 'data-lm-suppress-shortcuts="true"'  # on focused elements: keeps JupyterLab from taking the arrow keys
START = 0.5  # initial position of the wipe, which shows half of each of the first two pictures


class Html:
    """A piece of a page for notebooks: its HTML, and a line of text for displays without HTML.

    A ValueError is raised if the HTML is larger than `LARGEST`.
    """

    def __init__(self, text, description):
        if len(text) > LARGEST:
            raise ValueError(
                f"{description}: {len(text) / 1e6:.1f} MB, and a page should stay under 3: show fewer images, or a smaller side."
            )
        self.text, self.description = text, description

    def __repr__(self):
        return self.description

    def _repr_html_(self):
        return self.text


def compare(pictures, *, title=None, names=None, side=256):
    """Show a slider that wipes from one kind of picture to the next (Html).

    A ValueError is raised for fewer than two kinds, different numbers of images, arrays that are no images, and as in `Html`.

    Parameters
    ----------
    pictures : dict of str to (n_images, rows, columns, 3) uint8
        Label to images, at least two kinds, such as seen, rough and refined; the same images in the same order in each.
    title : str, optional
    names : sequence, (n_images,), optional
        Names of the images in alternative texts; "image 1" and so on by default.
    side : int
        Largest side in pixels; larger images are shrunk.
    """
    names = _names(pictures, names)
    if len(pictures) < 2:
        raise ValueError(f"a wipe needs at least two kinds of pictures, got {', '.join(pictures) or 'none'}.")
    stacks = []
    for i, name in enumerate(names):
        layers = (
            image(images[i], f"{label}, {name}", side, f' style="--k:{k}"') for k, (label, images) in enumerate(pictures.items())
        )
        stacks.append(f'<div class="nsd-wiped">{"".join(layers)}</div>')
    heading = f'<p class="nsd-title">{escape(title)}</p>' if title else ""
    bar = "".join(f'<b style="--k:{k}">{escape(label)}</b>' for k, label in enumerate(pictures))
    first, *_, last = map(escape, pictures)
    slider = (
        f'<input type="range" {OWN_KEYS} min="0" max="{len(pictures) - 1}" step="0.02" value="{START}" '
        f'aria-label="wipe from {first} to {last}" oninput="{escape(_read_asset("interactive.js"))}">'
    )
    bar = f'<div class="nsd-wiped nsd-bar" aria-hidden="true">{bar}</div>'
    body = f'{heading}{bar}{slider}<div class="nsd-cards">{"".join(stacks)}</div>'
    variables = f"--at:{START};--wide:{side * len(names)}px"
    return _wrap("compare", f"Wipe: {', '.join(pictures)}", body, variables=variables)


def steps(frames, *, title=None, names=None, side=128):
    """Show a stepper through frames, each with several kinds of several images (Html).

    Parameters
    ----------
    frames : dict of str to dict of str to (n_images, rows, columns, 3) uint8
        Label of a frame, such as "noise 64", to its content, label to images. The same number of images everywhere.
    title, names, side
        As in `compare`, with the same errors.
    """
    if not frames:
        raise ValueError("steps needs at least one frame, got none.")
    stacks = {f"{label}: {kind}": images for label, kinds in frames.items() for kind, images in kinds.items()}
    names = _names(stacks, names)
    buttons, cards, rules = [], [], []
    for number, (label, kinds) in enumerate(frames.items(), start=1):
        checked = " checked" if number == 1 else ""
        buttons.append(f'<label><input type="radio" name="frame" {OWN_KEYS}{checked}>{escape(label)}</label>')
        columns = (
            _column({kind: images[i] for kind, images in kinds.items()}, f"{name}, {label}", side) for i, name in enumerate(names)
        )
        cards.append(f'<div class="nsd-cards">{"".join(columns)}</div>')
        chosen = f".nsd-steps:has(label:nth-of-type({number}) :checked)"
        rules.append(f"{chosen} .nsd-cards:nth-of-type({number}){{display:grid}}")
    body = f"<fieldset><legend>{escape(title or 'Step')}</legend>{''.join(buttons)}</fieldset>{''.join(cards)}"
    return _wrap("steps", f"Steps: {', '.join(frames)}", body, rules, f"--wide:{side * len(names)}px")


def gallery(pictures, values, *, lower_is_better=(), categories=None, names=None, side=96, n_percentiles=11, max_images=100):
    """Show test images with their reconstructions, sorted by a score that the reader selects (Html).

    Parameters
    ----------
    pictures : dict of str to (n_images, rows, columns, 3) uint8
        Label to images, such as seen, rough and refined.
    values : dict of str to (n_images,) float
        Label of a score to its values; the first one is selected initially.
    lower_is_better : collection of str
        Scores for which lower is better.
    categories : dict of str to (n_images,) bool, optional
        Subsets that the reader can select; they may overlap.
    names, side
        As in `compare`, with the same errors.
    n_percentiles : int
        Number of images shown initially, at evenly spaced percentiles of the score, with the best and the worst on the page.
    max_images : int
        Largest number of images on the page; of more, evenly spaced ones are kept. Percentiles are always among all images.
    """
    names, categories = _names(pictures, names), categories or {}
    _check_values(values, lower_is_better, categories, len(names))
    page_rows = evenly_spaced(len(names), max_images)
    percentiles, initial = {}, {}
    for label, score in values.items():
        direction = {"higher_is_better": label not in lower_is_better}
        percentiles[label] = 100 * relative_rank(score, **direction)
        initial[label] = page_rows[at_percentiles(np.asarray(score)[page_rows], n_percentiles, **direction)[0]]
    cards = []
    for i in page_rows[np.argsort(-next(iter(percentiles.values()))[page_rows], kind="stable")]:
        classes = [f"p{k}" for k, chosen in enumerate(initial.values(), start=1) if i in chosen]
        classes += [f"c{k}" for k, members in enumerate(categories.values(), start=1) if members[i]]
        scores = {
            label: (score[i], rank := percentiles[label][i], np.sum(percentiles[label] == rank))
            for label, score in values.items()
        }
        row = _column({label: images[i] for label, images in pictures.items()}, names[i], side, "nsd-row")
        cards.append(_card(names[i], scores, row, " ".join(["nsd-card", *classes])))
    sizes = {name: int(np.asarray(members)[page_rows].sum()) for name, members in categories.items()}
    controls = _gallery_controls(list(values), len(next(iter(initial.values()))), sizes, len(page_rows), len(names))
    body = f'{controls}<div class="nsd-cards" tabindex="0" {OWN_KEYS} role="group" aria-label="images">{"".join(cards)}</div>'
    rules = _gallery_rules(len(values), len(sizes))
    return _wrap("gallery", f"Gallery of {len(page_rows)} images by {', '.join(values)}", body, rules)


def _card(name, scores, row, classes):
    """One image of a gallery, with its order and text for each score (value, percentile, images of this value)."""
    orders = ";".join(f"--r{k}:{round(10 * (100 - rank))}" for k, (_, rank, _) in enumerate(scores.values(), start=1))
    texts = (
        f"<span>{escape(label)} {value:.3f}, percentile {rank:.0f}{f', shared by {n}' if n > 1 else ''}</span>"
        for label, (value, rank, n) in scores.items()
    )
    return f'<div class="{classes}" style="{orders}"><p><b>{escape(name)}</b> {"".join(texts)}</p>{row}</div>'


def _gallery_controls(scores, n_percentiles, categories, n_page, n_images):
    """The three lists above a gallery, with their options."""
    subsets = [f'<option class="nsd-few">{n_percentiles} fixed percentiles</option><option>all {n_page} images</option>']
    for k, (name, n) in enumerate(categories.items(), start=1):
        subsets.append(f'<option class="c{k}">{escape(name)} ({n})</option>')
    lists = {
        "score": ("by", "".join(f"<option>{escape(label)}</option>" for label in scores)),
        "show": ("show", "".join(subsets)),
        "first": ("way", "<option>the best</option><option>the worst</option>"),
    }
    selection = "" if n_page == n_images else f" This page shows {n_page} of them, evenly spaced in their order."
    ties = "Images with the same value share a percentile, and their order says nothing."
    return f"<p>Percentiles are among {n_images} images, 100 is the best. {ties}{selection}</p>" + " ".join(
        f'<label>{label} <select class="nsd-{name}" {OWN_KEYS}>{options}</select></label>'
        for label, (name, options) in lists.items()
    )


def _gallery_rules(n_scores, n_categories):
    """CSS rules that read the lists: the order and text for each score, and the hidden cards."""
    for k in range(1, n_scores + 1):
        chosen = f".nsd-gallery:has(.nsd-by option:nth-child({k}):checked)"
        yield f"{chosen} .nsd-card{{order:calc(var(--way,1)*var(--r{k}))}}"
        yield f"{chosen} .nsd-card span:nth-of-type({k}){{display:inline}}"
        yield f"{chosen}:has(.nsd-few:checked) .nsd-card:not(.p{k}){{display:none}}"
    for k in range(1, n_categories + 1):
        yield f".nsd-gallery:has(option.c{k}:checked) .nsd-card:not(.c{k}){{display:none}}"


def _wrap(kind, description, body, rules=(), variables=""):
    """Wrap the parts in a form, which keeps radio buttons of several pieces apart; its method never sends anything."""
    style = "\n".join([_read_asset("interactive.css"), *rules])
    form = f'<form class="nsd-move nsd-{kind}" method="dialog" style="{variables}">'
    return Html(f"<style>\n{style}\n</style>{form}{body}</form>", description)


def _read_asset(name):
    """Read a text file beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


def _column(kinds, name, side, classes=""):
    """All kinds of one image, each with its label."""
    parts = [f"{image(pixels, f'{kind}, {name}', side)}<small>{escape(kind)}</small>" for kind, pixels in kinds.items()]
    return f'<div class="{classes}">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def image(pixels, alt, side, more="", *, quality=QUALITY):
    """Return an image (rows, columns, 3) uint8 as HTML with embedded WebP, at most `side` pixels, of a quality from 0 to 100.

    `alt` is the alternative text; `more` is further attributes of the tag.
    """
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="{data_url(picture, "WEBP", quality=quality, method=6)}" alt="{escape(alt)}" {size}{more}>'


def data_url(picture, kind, **options):
    """Return a PIL image as a data URL; `options` are those of its format."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _names(pictures, names):
    """Names of the images, after a check that all kinds hold the same number."""
    for label, images in pictures.items():
        check_images(images, label)
    counts = {label: len(images) for label, images in pictures.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"all kinds must hold the same images in the same order, got different numbers: {counts}.")
    n_images = next(iter(counts.values()), 0)
    if names is None:
        return [f"image {i}" for i in range(1, n_images + 1)]
    if len(names) != n_images:
        raise ValueError(f"names must have one entry for each of the {n_images} images, got {len(names)}.")
    return [name if isinstance(name, str) else f"image {name}" for name in names]


def _check_values(values, lower_is_better, categories, n_images):
    """Refuse a gallery without a score, unknown scores, and values or categories of another number of images."""
    if not values or not set(lower_is_better) <= set(values):
        raise ValueError(
            f"values must hold at least one score, and all of lower_is_better, {list(lower_is_better)}; got {list(values)}."
        )
    for label, array in {**values, **categories}.items():
        if (shape := np.shape(array)) != (n_images,):
            raise ValueError(f"{label!r} must have one value for each of the {n_images} images, got shape {shape}.")
        if n_bad := np.count_nonzero(~np.isfinite(array)):
            raise ValueError(f"{label!r} holds {n_bad} values that are not finite numbers.")
