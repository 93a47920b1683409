"""Drawn scenes with captions and known attributes: the stimuli of the simulated subject and the training set of the demo zoo.

A scene is one background and one to three things of one kind, sometimes with a companion of another kind. Kind, colour,
position, size and number are known, so decoded images can be checked against them.
"""

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from nsdlib.twin.scenery import kinds, layout, places
from nsdlib.twin.scenery.backdrops.canvas import spot
from nsdlib.twin.scenery.kinds import KINDS
from nsdlib.twin.scenery.places import BACKGROUNDS

SIZE = 425  # pixels a side, as NSD's stimuli
FINE = 256  # smaller pictures are drawn at least this large, then reduced
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
HELD_OUT = 10  # one in ten combinations of kind, colour and background can be held out for the test set
COMPANION_PROBABILITY = 0.3
NEVER_FLIPPED = ("clock",)

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
    """A drawn thing; x, y (its centre) and size (its width) are fractions of the picture's side."""

    kind: str
    colour: str
    x: float
    y: float
    size: float
    shape: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Scene:
    """A background and things; `things[0]` is of the main kind; `variant` in [0, 1) sets horizon, hour and details."""

    background: str
    things: tuple[Thing, ...]
    variant: float

    @property
    def main(self):
        """The things of the main kind."""
        return tuple(thing for thing in self.things if thing.kind == self.things[0].kind)

    @property
    def companion(self):
        """The thing of another kind, or None."""
        return self.things[-1] if self.things[-1].kind != self.things[0].kind else None


def sample_scene(rng: np.random.Generator) -> Scene:
    """Sample a random scene; the same generator state gives the same scene."""
    kind, colour, background = _pick(rng, KINDS), _pick(rng, tuple(COLOURS)), _pick(rng, BACKGROUNDS)
    number = int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))
    shape = int(rng.integers(kinds.N_SHAPES))
    looks = [(kind, colour, shape)] * number
    sizes = [rng.uniform(*layout.SIZES[number])] * number
    if number < 3 and rng.random() < COMPANION_PROBABILITY:
        sizes.append(rng.uniform(*layout.COMPANION_SIZE))
        other = _pick(rng, [k for k in KINDS if k != kind])
        looks.append((other, _pick(rng, [c for c in COLOURS if c != colour]), int(rng.integers(kinds.N_SHAPES))))
    spots = layout.place(sizes, [kinds.STANDS[k] for k, _, _ in looks], background, rng)
    things = tuple(
        Thing(k, c, x, y, size, s, bool(rng.random() < 0.5) and k not in NEVER_FLIPPED)
        for (k, c, s), (x, y, size) in zip(looks, spots, strict=True)
    )
    return Scene(background, things, rng.random())


def _pick(rng, choices):
    """One of the choices."""
    return choices[int(rng.integers(len(choices)))]


def is_held_out(scene: Scene) -> bool:
    """Return whether a scene's combination of kind, colour and background can be held out for the test set."""
    first = scene.things[0]
    return zlib.crc32(f"{first.kind} {first.colour} {scene.background}".encode()) % HELD_OUT == 0


def draw(scene: Scene, size: int = SIZE) -> np.ndarray:
    """Draw a scene: (size, size, 3) uint8, RGB."""
    factor = -(-FINE // size)
    image = places.paint(scene.background, scene.variant, size * factor)
    for i in _far_to_near(scene):
        _set(image, scene.things[i], scene.background)
    return np.array(image.reduce(factor))


def _far_to_near(scene):
    """Indices of the things, the far (high) ones first."""
    return sorted(range(len(scene.things)), key=lambda i: scene.things[i].y + scene.things[i].size / 2)


def _tile(thing, side):
    """The picture of a thing, RGBA."""
    return kinds.paint(thing.kind, thing.shape, COLOURS[thing.colour], side, flip=thing.flip)


def _corner(thing, side, size):
    """Left and top of a thing's tile, in pixels."""
    return round(thing.x * size - side / 2), round(thing.y * size - side / 2)


def _set(image, thing, background):
    """Paint a thing into the picture: its shadow, its halo, and its tile tinted by the light of the background."""
    side = max(2, round(thing.size * image.width))
    tile, (left, top) = _tile(thing, side), _corner(thing, side, image.width)
    rests = layout.stands(kinds.STANDS[thing.kind], background)
    if rests:
        _shadow(image, tile, left, top, on_water=rests == "water")
    _halo(image, tile, left, top, COLOURS[thing.colour])
    picture = tile.convert("RGB")
    if background in places.TINTS:
        light, amount = places.TINTS[background]
        picture = Image.blend(picture, Image.new("RGB", tile.size, light), amount)
    image.paste(picture, (left, top), tile.getchannel("A"))


def _shadow(image, tile, left, top, *, on_water):
    """Paint a soft shadow at the feet, towards the lower right; on water, a dark reflection and a ring of foam."""
    side, alpha = tile.width, tile.getchannel("A")
    box_left, _, box_right, foot = alpha.getbbox() or (0, 0, side, side)
    feet = alpha.crop((0, max(0, foot - side // 7), side, foot)).getbbox() or (box_left, 0, box_right, 0)
    wide = round(0.85 * (feet[2] - feet[0]) + 0.35 * (box_right - box_left))
    high = max(4, round(0.09 * side + 0.1 * wide))
    x, y = left + (feet[0] + feet[2]) // 2 - wide // 2, top + foot - round(0.6 * high)
    if on_water:
        image.paste((232, 246, 250), (x, y), spot(0.75, 1.25).resize((wide, high), Image.Resampling.BILINEAR))
    colour, strength = ((10, 44, 84), 0.8) if on_water else ((18, 20, 44), 0.75)
    shift = 0 if on_water else round(0.04 * side)
    image.paste(colour, (x + shift, y + high // 12), spot(strength, 1.25).resize((wide, high), Image.Resampling.BILINEAR))


def _halo(image, tile, left, top, colour):
    """Paint a soft rim around a thing, stronger where its colour is closer to the background behind it."""
    side, size = tile.width, image.width
    within = (min(max(0, left), size - 1), min(max(0, top), size - 1))
    behind = image.crop((*within, max(within[0] + 1, min(size, left + side)), max(within[1] + 1, min(size, top + side))))
    behind = behind.resize((1, 1), Image.Resampling.BOX, reducing_gap=1.0).getpixel((0, 0))
    brightness, distance = np.mean(behind), np.abs(np.subtract(behind, colour)).mean()
    strength = float(np.clip(1.15 - distance / 90, 0.25, 0.9))
    rim = (24, 30, 60) if brightness > 105 else (255, 244, 214)
    edge = 64
    small = Image.new("L", (edge + 12, edge + 12))
    small.paste(tile.getchannel("A").resize((edge, edge), Image.Resampling.BILINEAR), (6, 6))
    small = small.filter(ImageFilter.BoxBlur(2)).point(_ceiling(round(strength, 1)))
    grown = round(side * (edge + 12) / edge)
    margin = round(6 * side / edge)
    image.paste(rim, (left - margin, top - margin), small.resize((grown, grown), Image.Resampling.BILINEAR))


@cache
def _ceiling(strength):
    """Lookup table of 256 values: min(255, 2 value) * strength."""
    return [round(min(255, 2 * value) * strength) for value in range(256)]


def attributes(scene: Scene) -> np.ndarray:
    """Return the attributes of a scene in the order of `ATTRIBUTES`: (n_attributes,) float32, each in [0, 1].

    Kind and colour are 1 for the main things and 0.5 for the companion.
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


def masks(scene: Scene, size: int = SIZE) -> np.ndarray:
    """Return the pixels that show each thing: (n_things, size, size) bool; nearer things hide farther ones."""
    factor = -(-FINE // size)
    seen = np.zeros((len(scene.things), size, size), dtype=bool)
    for i in _far_to_near(scene):
        thing = scene.things[i]
        side = max(2, round(thing.size * size * factor))
        layer = Image.new("L", (size * factor, size * factor))
        layer.paste(_tile(thing, side).getchannel("A"), _corner(thing, side, size * factor))
        here = np.asarray(layer.reduce(factor)) > 127
        seen[:, here] = False
        seen[i] = here
    return seen
