"""A canvas in fractions of the picture's side: gradients, hills, soft lights, textures in perspective and little pictures."""

import random
from functools import cache, lru_cache
from math import pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from nsdlib.twin.scenery.backdrops import props

WHITE = (255, 255, 255)


class Canvas(props.Sheet):
    """A square picture with coordinates in fractions of its side (x to the right, y down), and its own random numbers.

    Attributes
    ----------
    image : PIL.Image.Image
        The picture, RGB.
    random : random.Random
        Random generator seeded by the variant only.
    """

    def __init__(self, size, variant):
        super().__init__(size, "RGB")
        self.random = random.Random(round(variant * 2**40))

    def between(self, low, high):
        """Draw a random number between two numbers."""
        return low + (high - low) * self.random.random()

    def pick(self, *choices):
        """Draw one of the choices."""
        return choices[int(self.random.random() * len(choices))]

    def spread(self, number):
        """Draw evenly spread numbers in [0, 1) in random order."""
        start = self.random.random()
        return [(start + i * 0.618034) % 1 for i in range(number)]

    def gradient(self, *colours, left=0.0, top=0.0, right=1.0, bottom=1.0):
        """Fill a rectangle with a colour gradient from top to bottom."""
        left, top, right, bottom = (round(value * self.size) for value in (left, top, right, bottom))
        if right > left and bottom > top:
            self.image.paste(_ramp(colours, right - left, bottom - top), (left, top))

    def land(self, line, *colours, bottom=1.0):
        """Fill everything under a line of (x, y) points with a colour gradient from top to bottom."""
        points = self._scaled(line)
        top, end = int(min(y for _, y in points)), round(bottom * self.size)
        if end <= top:
            return
        mask = Image.new("L", (self.size, end - top))
        outline = [(x, y - top) for x, y in points] + [(self.size, end - top), (0, end - top)]
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        self.image.paste(_ramp(colours, self.size, end - top), (0, top), mask)

    def waves(self, level, height, number=2.0, points=25):
        """Return a rolling line around a level: (x, y) points from the left edge to the right."""
        phase, second_phase = self.random.random(), self.random.random()
        xs = [i / (points - 1) for i in range(points)]
        swell = [0.65 * sin(2 * pi * (number * x + phase)) + 0.35 * sin(2 * pi * (2.3 * number * x + second_phase)) for x in xs]
        return [(x, level - height * y) for x, y in zip(xs, swell, strict=True)]

    def box(self, left, top, right, bottom, fill, radius=0.0):
        """Draw a filled rectangle, with rounded corners if `radius` is given."""
        left, top, right, bottom = (round(value * self.size) for value in (left, top, right, bottom))
        if right <= left or bottom <= top:
            return
        if radius:
            self.brush.rounded_rectangle((left, top, right - 1, bottom - 1), radius * self.size, fill=fill)
        else:  # radius 0 would still round the corners of boxes of one or two pixels
            self.brush.rectangle((left, top, right - 1, bottom - 1), fill=fill)

    def line(self, *points, width, fill):
        """Draw a line through (x, y) points."""
        self.brush.line(self._scaled(points), fill=fill, width=max(1, round(width * self.size)), joint="curve")

    def glow(self, x, y, rx, ry=None, *, fill, strength=1.0):
        """Lay a soft spot of light or shadow over the picture."""
        ry = rx if ry is None else ry
        width, height = max(2, round(2 * rx * self.size)), max(2, round(2 * ry * self.size))
        mask = spot(round(20 * strength) / 20).resize((width, height), Image.Resampling.BILINEAR)
        self.image.paste(fill, (round((x - rx) * self.size), round((y - ry) * self.size)), mask)

    def texture(self, name, *, top, bottom=1.0, fill):
        """Lay a texture in perspective over a band of the ground, small at the top and large at the bottom."""
        first, last = round(top * self.size), round(bottom * self.size)
        if last - first < 4:
            return
        mask = _texture(name, self.size, round((last - first) / 8 + 0.5) * 8)
        shift = int(self.random.random() * self.size)
        self.image.paste(fill, (0, first), mask.crop((shift, 0, shift + self.size, mask.height)))

    def prop(self, name, x, bottom, side, *, shape=None, haze=None, amount=0.0):
        """Set a little picture on the canvas, centred at x, its lower edge at `bottom`; `haze` is the colour of distant air."""
        shape = self.random.randrange(3) if shape is None else shape
        pixels = max(4, round(side * self.size / 4) * 4)
        tile = _tile(name, shape, pixels, haze, round(amount * 8) / 8)
        self.image.paste(tile, (round(x * self.size - pixels / 2), round(bottom * self.size - pixels)), tile)


def _ramp(colours, width, height):
    """A picture of a colour gradient from top to bottom."""
    places = np.linspace(0, len(colours) - 1, height)
    column = np.stack([np.interp(places, range(len(colours)), channel) for channel in zip(*colours, strict=True)], -1)
    return Image.fromarray(np.rint(column).astype(np.uint8)[:, None]).resize((width, height), Image.Resampling.NEAREST)


@cache
def spot(strength, gain=1.0):
    """A soft round mask, 64 pixels a side; a larger gain widens its middle."""
    axis = (np.arange(64) - 31.5) / 32
    falloff = np.clip(gain * (1 - np.hypot(*np.meshgrid(axis, axis))), 0, 1)
    return Image.fromarray(np.rint(255 * strength * falloff * falloff * (3 - 2 * falloff)).astype(np.uint8))


@lru_cache(maxsize=1024)
def _tile(name, shape, pixels, haze, amount):
    """A little picture, drawn at three times its size and reduced, mixed with the haze."""
    image = props.paint(name, shape, pixels * 3).resize((pixels, pixels), Image.Resampling.BOX)
    if haze is not None and amount:
        veil = Image.new("RGBA", image.size, haze)
        veil.putalpha(image.getchannel("A"))
        image = Image.blend(image, veil, amount)
    return image


def _strokes(name, size):
    """The strokes of a texture: (x, y, length, width) in pixels, far ones small, near ones large."""
    rng = random.Random(name)
    number = {"grass": 300, "ripples": 110, "grain": 260, "flowers": 90, "leaves": 200, "stars": 130}[name]
    for _ in range(number):
        depth = rng.random() ** (0.5 if name == "stars" else 0.75)
        scale = 1.0 if name == "stars" else 0.18 + 0.82 * depth
        yield rng.random() * 2 * size, depth * size, scale * size * rng.uniform(0.6, 1.2), rng.uniform(0.6, 1)


def _stroke(brush, name, x, y, scale, strength):
    """Draw one stroke of a texture."""
    fill = round(255 * strength)
    if name == "grass":
        for lean in (-0.022, -0.004, 0.016):
            blade = (x + lean * scale / 3, y), (x + lean * scale, y - 0.05 * scale), (x + 0.008 * scale, y)
            brush.polygon(blade, fill=fill // 2)
    elif name == "ripples":
        brush.chord((x - 0.11 * scale, y - 0.022 * scale, x + 0.11 * scale, y + 0.022 * scale), 195, 345, fill=fill // 2)
    elif name == "grain":
        brush.ellipse((x - 0.05 * scale, y - 0.012 * scale, x + 0.05 * scale, y + 0.012 * scale), fill=fill // 5)
    elif name == "flowers":
        brush.ellipse((x - 0.014 * scale, y - 0.012 * scale, x + 0.014 * scale, y + 0.012 * scale), fill=fill)
    elif name == "leaves":
        brush.ellipse((x - 0.024 * scale, y - 0.01 * scale, x + 0.024 * scale, y + 0.01 * scale), fill=fill * 2 // 3)
    else:
        radius = scale * 0.0075 * strength**3
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


@cache
def _full_texture(name, size):
    """A texture twice as wide as the picture, as a mask; soft-edged."""
    mask = Image.new("L", (2 * size, size))
    brush = ImageDraw.Draw(mask)
    for x, y, scale, strength in sorted(_strokes(name, size), key=lambda stroke: stroke[1]):
        _stroke(brush, name, x, y, scale, strength)
    return mask.filter(ImageFilter.GaussianBlur(size / 500))


@cache
def _texture(name, size, height):
    """A texture squeezed to the height of its ground."""
    return _full_texture(name, size).resize((2 * size, height), Image.Resampling.BILINEAR)
