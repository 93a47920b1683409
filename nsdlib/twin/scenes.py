"""Drawn scenes with captions and known attributes: the stimuli of the simulated subject and the training set of the demo zoo.

A scene is one background and one to three things of one kind, sometimes with a companion of another kind. Kind, colour,
position, size and number are known, so decoded images can be checked against them.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from nsdlib.twin.scenery import kinds, layout, places
from nsdlib.twin.scenery.backdrops.canvas import spot
from nsdlib.twin.scenery.kinds import KINDS
from nsdlib.twin.scenery.places import BACKGROUNDS

SIZE = 425  # pixels a side, as NSD's stimuli
MIN_SIDE = 256  # smaller pictures are drawn at least this large, then reduced
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

    def pick(choices):
        return choices[int(rng.integers(len(choices)))]

    kind, colour, background = pick(KINDS), pick(tuple(COLOURS)), pick(BACKGROUNDS)
    number = int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))
    shape = int(rng.integers(kinds.N_SHAPES))
    appearances = [(kind, colour, shape)] * number
    sizes = [rng.uniform(*layout.SIZES[number])] * number
    if number < 3 and rng.random() < COMPANION_PROBABILITY:
        sizes.append(rng.uniform(*layout.COMPANION_SIZE))
        companion_kind = pick([k for k in KINDS if k != kind])
        appearances.append((companion_kind, pick([c for c in COLOURS if c != colour]), int(rng.integers(kinds.N_SHAPES))))
    positions = layout.place(sizes, [kinds.STANDS[k] for k, _, _ in appearances], background, rng)
    things = tuple(
        Thing(k, c, x, y, size, s, bool(rng.random() < 0.5) and k not in NEVER_FLIPPED)
        for (k, c, s), (x, y, size) in zip(appearances, positions, strict=True)
    )
    return Scene(background, things, rng.random())


def is_held_out(scene: Scene) -> bool:
    """Return whether a scene's combination of kind, colour and background can be held out for the test set."""
    first = scene.things[0]
    return zlib.crc32(f"{first.kind} {first.colour} {scene.background}".encode()) % HELD_OUT == 0


def draw(scene: Scene, size: int = SIZE) -> np.ndarray:
    """Draw a scene: (size, size, 3) uint8, RGB."""
    factor = -(-MIN_SIDE // size)
    image = places.paint(scene.background, scene.variant, size * factor)
    for i in _far_to_near(scene):
        _paint_thing(image, scene.things[i], scene.background)
    return np.array(image.reduce(factor))


def _far_to_near(scene):
    """Indices of the things, the far (high) ones first."""
    return sorted(range(len(scene.things)), key=lambda i: scene.things[i].y + scene.things[i].size / 2)


def _tile(thing, size):
    """The picture of a thing (RGBA), and its left and top in a scene of `size` pixels a side."""
    side = max(2, round(thing.size * size))
    tile = kinds.paint(thing.kind, thing.shape, COLOURS[thing.colour], side, flip=thing.flip)
    return tile, (round(thing.x * size - side / 2), round(thing.y * size - side / 2))


def _paint_thing(image, thing, background):
    """Paint a thing into the picture: its shadow, its halo, and its tile tinted by the light of the background."""
    tile, (left, top) = _tile(thing, image.width)
    if support := layout.stands(kinds.STANDS[thing.kind], background):
        _shadow(image, tile, left, top, on_water=support == "water")
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
    width = round(0.85 * (feet[2] - feet[0]) + 0.35 * (box_right - box_left))
    height = max(4, round(0.09 * side + 0.1 * width))
    x, y = left + (feet[0] + feet[2]) // 2 - width // 2, top + foot - round(0.6 * height)
    spots = [((18, 20, 44), 0.75, round(0.04 * side), height // 12)]
    if on_water:
        spots = [((232, 246, 250), 0.75, 0, 0), ((10, 44, 84), 0.8, 0, height // 12)]
    for colour, strength, right, down in spots:
        image.paste(colour, (x + right, y + down), spot(strength, 1.25).resize((width, height), Image.Resampling.BILINEAR))


def _halo(image, tile, left, top, colour):
    """Paint a soft rim around a thing, stronger where its colour is closer to the background behind it."""
    side, size = tile.width, image.width
    corner = (min(max(0, left), size - 1), min(max(0, top), size - 1))
    backdrop = image.crop((*corner, max(corner[0] + 1, min(size, left + side)), max(corner[1] + 1, min(size, top + side))))
    backdrop = backdrop.resize((1, 1), Image.Resampling.BOX, reducing_gap=1.0).getpixel((0, 0))
    brightness, distance = np.mean(backdrop), np.abs(np.subtract(backdrop, colour)).mean()
    strength = round(float(np.clip(1.15 - distance / 90, 0.25, 0.9)), 1)
    rim = (24, 30, 60) if brightness > 105 else (255, 244, 214)
    blurred = Image.new("L", (76, 76))  # the tile at 64 pixels a side, with a margin of 6
    blurred.paste(tile.getchannel("A").resize((64, 64), Image.Resampling.BILINEAR), (6, 6))
    blurred = blurred.filter(ImageFilter.BoxBlur(2)).point(lambda value: min(255, 2 * value) * strength)
    rim_side = round(side * 76 / 64)
    margin = round(6 * side / 64)
    image.paste(rim, (left - margin, top - margin), blurred.resize((rim_side, rim_side), Image.Resampling.BILINEAR))


def attributes(scene: Scene) -> np.ndarray:
    """Return the attributes of a scene in the order of `ATTRIBUTES`: (n_attributes,) float32, each in [0, 1].

    Kind and colour are 1 for the main things and 0.5 for the companion.
    """
    values = dict.fromkeys(ATTRIBUTES, 0.0)
    for thing, weight in [(scene.things[0], 1.0), *([(scene.companion, 0.5)] if scene.companion else [])]:
        values[f"kind: {thing.kind}"] = weight
        values[f"colour: {thing.colour}"] = weight
    values[f"background: {scene.background}"] = 1.0
    values["number"] = (len(scene.main) - 1) / 2
    values["size"] = scene.things[0].size
    values["left to right"], values["top to bottom"] = scene.things[0].x, scene.things[0].y
    return np.array(list(values.values()), dtype=np.float32)


def masks(scene: Scene, size: int = SIZE) -> np.ndarray:
    """Return the pixels that show each thing: (n_things, size, size) bool; nearer things hide farther ones."""
    factor = -(-MIN_SIDE // size)
    visible = np.zeros((len(scene.things), size, size), dtype=bool)
    for i in _far_to_near(scene):
        layer = Image.new("L", (size * factor, size * factor))
        tile, corner = _tile(scene.things[i], size * factor)
        layer.paste(tile.getchannel("A"), corner)
        pixels = np.asarray(layer.reduce(factor)) > 127
        visible[:, pixels] = False
        visible[i] = pixels
    return visible
