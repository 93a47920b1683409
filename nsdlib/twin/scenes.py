"""Drawn scenes with captions and known attributes: the stimuli of the simulated subject and the training set of the demo zoo.

A scene is one background and one to three objects of one kind, sometimes with a companion of another kind. Kind, colour,
position, size and number are known, so decoded images can be checked against them.
"""

import zlib
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from PIL import Image, ImageDraw

from nsdlib.twin import sprites

SIZE = 425  # pixels a side, as NSD's stimuli
KINDS = tuple(sprites.SPRITES)
COLOURS = {
    "red": (214, 40, 40),
    "orange": (247, 127, 0),
    "yellow": (250, 214, 60),
    "green": (56, 150, 60),
    "blue": (40, 90, 200),
    "purple": (130, 60, 170),
    "white": (240, 240, 238),
    "black": (40, 40, 46),
}
PLACES = {
    "meadow": "in a green meadow",
    "beach": "on a sandy beach",
    "sea": "on the deep sea",
    "night": "under a night sky",
    "desert": "in a hot desert",
    "snow": "in the cold snow",
    "city": "in front of a city",
    "room": "inside a room",
}
BACKGROUNDS = tuple(PLACES)
NUMBERS = ("a", "two", "three")
PLURALS = {"fish": "fish", "person": "people"}
# width of an object, fraction of the picture, by their number
SIZES = {1: (0.46, 0.68), 2: (0.36, 0.44), 3: (0.28, 0.34)}
HELD_OUT = 10  # one combination of kind, colour and background in so many can be kept for the test
COMPANION_PROBABILITY, COMPANION_SIZE = 0.3, (0.2, 0.26)

ATTRIBUTES = (
    *(f"kind: {kind}" for kind in KINDS),
    *(f"colour: {colour}" for colour in COLOURS),
    *(f"background: {background}" for background in BACKGROUNDS),
    "number",
    "size",
    "left to right",
    "top to bottom",
)


@dataclass(frozen=True)
class Thing:
    """A drawn object; x, y (its centre) and size (its width) are fractions of the picture's side."""

    kind: str
    colour: str
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Scene:
    """A background and objects; `things[0]` is of the main kind, `variant` in [0, 1) shifts horizon and tint."""

    background: str
    things: tuple[Thing, ...]
    variant: float

    @property
    def main(self):
        """The objects of the main kind."""
        return tuple(thing for thing in self.things if thing.kind == self.things[0].kind)

    @property
    def companion(self):
        """The object of another kind, or None."""
        return self.things[-1] if self.things[-1].kind != self.things[0].kind else None


def sample_scene(rng: np.random.Generator) -> Scene:
    """Sample a random scene; the same generator state gives the same scene."""
    kind, colour = rng.choice(KINDS), rng.choice(list(COLOURS))
    number = int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))
    sizes = [rng.uniform(*SIZES[number])] * number
    kinds, colours = [kind] * number, [colour] * number
    if number < 3 and rng.random() < COMPANION_PROBABILITY:
        sizes.append(rng.uniform(*COMPANION_SIZE))
        kinds.append(rng.choice([k for k in KINDS if k != kind]))
        colours.append(rng.choice([c for c in COLOURS if c != colour]))
    centres = _place(sizes, rng)
    things = tuple(Thing(str(k), str(c), x, y, s) for k, c, (x, y), s in zip(kinds, colours, centres, sizes, strict=True))
    return Scene(str(rng.choice(BACKGROUNDS)), things, rng.random())


def is_held_out(scene: Scene) -> bool:
    """Whether the kind, colour and background of a scene are among the combinations that can be kept for the test."""
    first = scene.things[0]
    return zlib.crc32(f"{first.kind} {first.colour} {scene.background}".encode()) % HELD_OUT == 0


def _place(sizes, rng):
    """Centres of objects within the picture, the most distant of up to 40 random tries."""
    best, best_gap = None, -np.inf
    for _ in range(40):
        centres = [tuple(rng.uniform(size / 2 + 0.02, 0.98 - size / 2, 2)) for size in sizes]
        pairs = combinations(zip(centres, sizes, strict=True), 2)
        gap = min((np.hypot(a[0] - b[0], a[1] - b[1]) / ((i + j) / 2) for (a, i), (b, j) in pairs), default=np.inf)
        if gap > best_gap:
            best, best_gap = centres, gap
        if gap >= 1.05:
            break
    return best


def draw(scene: Scene, size: int = SIZE) -> np.ndarray:
    """Draw a scene: (size, size, 3) uint8, RGB."""
    image = Image.new("RGB", (size, size))
    brush = ImageDraw.Draw(image)
    _paint_background(brush, scene.background, scene.variant, size)
    for thing in scene.things:
        pen = sprites.Pen(brush, thing.x * size, thing.y * size, thing.size * size / 2, COLOURS[thing.colour])
        sprites.SPRITES[thing.kind](pen)
    return np.asarray(image)


def _tint(colour, amount):
    """A lighter (amount > 0) or darker (amount < 0) colour."""
    return tuple(int(np.clip(channel + 255 * amount, 0, 255)) for channel in colour)


_BANDS = {  # upper colour, lower colour, where the horizon lies
    "meadow": ((150, 205, 240), (110, 180, 90), 0.55),
    "beach": ((120, 200, 230), (235, 215, 160), 0.6),
    "sea": ((180, 215, 235), (50, 120, 160), 0.35),
    "night": ((22, 24, 60), (50, 52, 70), 0.75),
    "desert": ((250, 205, 140), (205, 140, 80), 0.5),
    "snow": ((195, 205, 220), (235, 240, 248), 0.5),
    "city": ((170, 175, 190), (95, 95, 100), 0.75),
    "room": ((225, 195, 170), (140, 95, 65), 0.72),
}


def _paint_background(brush, name, variant, size):
    """Draw two bands and the details of the place; `variant` shifts horizon, tint and details."""
    upper, lower, horizon = _BANDS[name]
    horizon = (horizon + 0.1 * (variant - 0.5)) * size
    tint = 0.08 * (variant * 7 % 1 - 0.5)
    brush.rectangle((0, 0, size, size), fill=_tint(upper, tint))
    brush.rectangle((0, horizon, size, size), fill=_tint(lower, tint))
    spots = [((variant * 97 + i * 0.381966) % 1, (variant * 57 + i * 0.236068) % 1) for i in range(9)]
    if name == "night":
        for x, y in spots:
            brush.ellipse(_box(x * size, y * horizon, 0.014 * size), fill=(250, 250, 210))
    elif name == "city":
        for i, (_, y) in enumerate(spots[:6]):
            top = horizon - (0.25 + 0.35 * y) * size
            brush.rectangle((i * size / 6, top, (i + 0.8) * size / 6, horizon), fill=_tint((120, 125, 145), 0.1 * y))
    elif name == "sea":
        for x, y in spots:
            left, top = x * size, horizon + (size - horizon) * y
            brush.line((left, top, left + 0.15 * size, top), fill=(120, 180, 205), width=max(1, size // 60))
    elif name == "beach":
        brush.rectangle((0, horizon - 0.14 * size, size, horizon), fill=(50, 140, 190))
    elif name == "desert":
        brush.ellipse(_box((0.15 + 0.7 * variant) * size, 0.16 * size, 0.08 * size), fill=(255, 240, 190))
    elif name == "room":
        left = (0.1 + 0.5 * variant) * size
        window = (left, 0.1 * size, left + 0.25 * size, 0.38 * size)
        brush.rectangle(window, fill=(190, 225, 245), outline=(120, 80, 60))
    elif name == "snow":
        for x, y in spots:
            brush.ellipse(_box(x * size, y * size, 0.012 * size), fill=(255, 255, 255))


def _box(x, y, radius):
    """Bounding box of a circle."""
    return (x - radius, y - radius, x + radius, y + radius)


def describe(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Return five captions of a scene, in random order."""
    first, place = scene.things[0], PLACES[scene.background]
    is_one, number = len(scene.main) == 1, NUMBERS[len(scene.main) - 1]
    kind = first.kind if is_one else PLURALS.get(first.kind, first.kind + "s")
    thing = f"{number} {first.colour} {kind}"
    also = f" and a {scene.companion.colour} {scene.companion.kind}" if scene.companion else ""
    size = "big" if first.size > 0.4 else "small"
    side = "left" if first.x < 0.4 else "right" if first.x > 0.6 else "middle"
    captions = [
        f"{thing}{also} {place}",
        f"a picture of {thing} {place}",
        f"{number} {kind}{also} {place}{f' on the {side}' if is_one else ''}",
        f"there {'is' if is_one else 'are'} {thing}{also}",
        f"{thing} looking {size} {place}",
    ]
    return [captions[i] for i in rng.permutation(5)]


def attributes(scene: Scene) -> np.ndarray:
    """Return the attributes of a scene in the order of `ATTRIBUTES`: (n_attributes,) float32, each in [0, 1].

    Kind and colour are 1 for the main objects and 0.5 for the companion.
    """
    value = dict.fromkeys(ATTRIBUTES, 0.0)
    for thing, weight in [(scene.things[0], 1.0), *([(scene.companion, 0.5)] if scene.companion else [])]:
        value[f"kind: {thing.kind}"] = weight
        value[f"colour: {thing.colour}"] = weight
    value[f"background: {scene.background}"] = 1.0
    value["number"] = (len(scene.main) - 1) / 2
    value["size"] = scene.things[0].size
    value["left to right"], value["top to bottom"] = scene.things[0].x, scene.things[0].y
    return np.array(list(value.values()), dtype=np.float32)
