"""Little pictures that furnish the backgrounds: clouds, trees, bushes, rocks, leaves, seaweed, corals, houses and lamps."""

import random
from functools import partial
from itertools import pairwise, product

from PIL import Image, ImageDraw, ImageFilter


class Sheet:
    """A square picture with coordinates in fractions of its side."""

    def __init__(self, size, mode):
        self.size, self.image = size, Image.new(mode, (size, size))
        self.brush = ImageDraw.Draw(self.image)

    def _scaled(self, points):
        return [(x * self.size, y * self.size) for x, y in points]

    def polygon(self, *points, fill):
        """Draw a filled polygon through (x, y) points."""
        self.brush.polygon(self._scaled(points), fill=fill)

    def ellipse(self, x, y, rx, ry=None, *, fill):
        """Draw a filled ellipse with its centre and its radii."""
        ry = rx if ry is None else ry
        self.brush.ellipse(self._scaled([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill)


class _Tile(Sheet):
    """A transparent little picture."""

    def box(self, left, top, right, bottom, fill):
        self.brush.rectangle(self._scaled([(left, top), (right, bottom)]), fill=fill)


def paint(name, shape, size):
    """Paint a little picture: an RGBA image with `size` pixels a side, transparent outside; `shape` is 0, 1 or 2."""
    tile = _Tile(size, "RGBA")
    _PROPS[name](tile, shape, random.Random(f"{name} {shape}"))
    return tile.image


def _cloud(tile, shape, rng):
    """A heap of white balls with blue undersides."""
    tile.image.paste((206, 220, 238, 0), (0, 0, tile.size, tile.size))
    balls = [(0.18, 0.82, 0.13), (0.36, 0.74, 0.2), (0.6, 0.72, 0.23), (0.8, 0.82, 0.15)]
    balls = [(x + rng.uniform(-0.05, 0.05), y, r * rng.uniform(0.85, 1.05)) for x, y, r in balls]
    balls += [(0.12, 0.9, 0.08), (0.9, 0.9, 0.08)][: shape + 1]
    layers = (0, 0, 1, (206, 220, 238, 245)), (0.1, 0.14, 0.86, (240, 246, 252, 245)), (0.16, 0.24, 0.66, (255, 255, 255, 250))
    for (left, up, scale, fill), (x, y, radius) in product(layers, balls):
        tile.ellipse(x - left * radius, y - up * radius, scale * radius, fill=fill)
    tile.image = tile.image.filter(ImageFilter.GaussianBlur(tile.size / 90))
    tile.image.paste((0, 0, 0, 0), (0, int(0.955 * tile.size), tile.size, tile.size))


def _conifer(tile, shape, rng, snow=False):
    """A fir of three or four skirts, light on the left."""
    dark, light = ((32, 84, 62), (60, 122, 80)) if not snow else ((70, 112, 122), (104, 148, 150))
    tile.box(0.46, 0.85, 0.54, 1, (84, 60, 46))
    width = (0.27, 0.33, 0.23)[shape]
    for i in range(4):
        top, bottom, half = 0.02 + 0.19 * i, 0.38 + 0.18 * i, width * (0.45 + 0.2 * i)
        tile.polygon((0.5, top), (0.5 + half, bottom), (0.5, bottom + 0.03), (0.5 - half, bottom), fill=dark)
        tile.polygon((0.5, top), (0.53, bottom), (0.5 - half, bottom), fill=light)
        if snow:
            tip = 0.55 * (bottom - top)
            outline = (0, 0), (0.6, 1), (0.1, 0.75), (-0.25, 1.2), (-0.62, 1)
            tile.polygon(*((0.5 + dx * half, top + dy * tip) for dx, dy in outline), fill=(250, 252, 255))


def _leafy(tile, shape, rng):
    """A round tree with light on the upper left."""
    tile.polygon((0.45, 0.5), (0.55, 0.5), (0.58, 1), (0.42, 1), fill=(104, 74, 54))
    balls = [(0.3, 0.5, 0.2), (0.7, 0.5, 0.2), (0.5, 0.36, 0.3), (0.42, 0.6, 0.2), (0.62, 0.6, 0.18)]
    balls = [(x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04), r) for x, y, r in balls]
    _balls(tile, balls, ((46, 104, 58), (78, 142, 68), (122, 178, 86)))


def _balls(tile, balls, colours):
    """A clump of balls in three tones: shadow, middle and light."""
    for (shift, scale), colour in zip(((0, 1), (0.12, 0.84), (0.3, 0.5)), colours, strict=True):
        for x, y, radius in balls:
            tile.ellipse(x - shift * radius, y - 1.1 * shift * radius, scale * radius, fill=colour)


def _bush(tile, shape, rng):
    """A low bush that fills the lower half of its square."""
    balls = [(0.2, 0.84, 0.17), (0.45, 0.74, 0.23), (0.72, 0.8, 0.21), (0.86, 0.9, 0.12)]
    balls = [(x, y + rng.uniform(-0.03, 0.03), r) for x, y, r in balls]
    _balls(tile, balls, ((40, 96, 56), (70, 134, 64), (112, 168, 80)))
    if shape:
        for _ in range(14):
            x, y = rng.uniform(0.12, 0.88), rng.uniform(0.62, 0.95)
            tile.ellipse(x, y, 0.035, fill=((250, 240, 245), (246, 150, 180))[shape - 1])
    tile.image.paste((0, 0, 0, 0), (0, int(0.99 * tile.size), tile.size, tile.size))


def _palm(tile, shape, rng):
    """A leaning palm."""
    lean = (-0.16, 0.14, 0.22)[shape]
    foot, x, y = 0.5 - lean / 2, 0.5 + lean, 0.3
    knots = [(foot + (x - foot) * (i / 12) ** 1.6, 1 - 0.7 * (i / 12)) for i in range(13)]
    for i, ((low_x, low_y), (high_x, high_y)) in enumerate(pairwise(knots)):
        half = 0.04 - 0.018 * (i / 12)
        fill = (150, 108, 70) if i % 2 else (128, 90, 60)
        tile.polygon((low_x - half, low_y), (low_x + half, low_y), (high_x + half, high_y), (high_x - half, high_y), fill=fill)
    dark, middle, light = (34, 104, 66), (58, 138, 72), (98, 172, 84)
    leaves = (
        (-0.36, 0.2, dark), (0.36, 0.2, dark), (-0.4, 0.0, middle), (0.4, 0.0, middle), (-0.24, -0.2, light),
        (0.24, -0.2, middle), (0.0, -0.26, light),
    )  # fmt: skip
    for dx, dy, fill in leaves:
        bend_x, bend_y = x + dx / 2, y + dy / 2
        tile.polygon((x, y - 0.03), (bend_x, bend_y - 0.11), (x + dx, y + dy), (bend_x, bend_y), (x, y + 0.04), fill=fill)
    tile.ellipse(x - 0.03, y + 0.04, 0.035, fill=(110, 70, 44))
    tile.ellipse(x + 0.04, y + 0.05, 0.035, fill=(92, 58, 40))


def _rock(tile, shape, rng):
    """A boulder with a lit top."""
    left, right, top = ((0.05, 0.95, 0.5), (0.1, 0.9, 0.42), (0.0, 1.0, 0.6))[shape]
    foot, edge, crest = (left, 1), (left + 0.08, 0.76), ((0.32, top), (0.66, top + 0.04))
    tile.polygon(foot, edge, *crest, (right - 0.06, 0.74), (right, 1), fill=(112, 112, 122))
    tile.polygon(edge, *crest, (0.5, 0.72), fill=(176, 176, 180))
    tile.polygon(foot, edge, (0.5, 0.72), (0.44, 1), fill=(142, 142, 150))


def _leaf(tile, shape, rng):
    """A fan of long leaves that grows from the middle of the lower edge."""
    tones = ((22, 92, 62), (38, 122, 70), (70, 156, 78))
    for i, (dx, dy) in enumerate(((-0.46, 0.5), (0.46, 0.5), (-0.4, 0.22), (0.4, 0.22), (-0.2, 0.06), (0.2, 0.06), (0.0, 0.0))):
        tip, x, y = (0.5 + dx, dy), 0.5 + dx / 2, (1 + dy) / 2 - 0.1
        tile.polygon((0.47, 1), (x - 0.085, y), tip, (x + 0.085, y + 0.04), (0.53, 1), fill=tones[(i + shape) % 3])
        tile.polygon((0.5, 1), (x - 0.012, y), tip, (x + 0.012, y), fill=tones[(i + shape + 1) % 3])


def _weed(tile, shape, rng):
    """Waving seaweed."""
    for i, x in enumerate((0.3, 0.5, 0.7)):
        top, colour = (0.35, 0.05, 0.25)[(i + shape) % 3], ((30, 130, 96), (60, 160, 92), (34, 110, 104))[i]
        left, right = [], []
        for k in range(11):
            middle, half = x + 0.07 * (1 if (k // 2 + i) % 2 else -1), 0.012 + 0.045 * (k / 10) ** 0.6
            left.append((middle - half, top + (1 - top) * k / 10))
            right.append((middle + half, top + (1 - top) * k / 10))
        tile.polygon(*left, *right[::-1], fill=colour)


def _coral(tile, shape, rng):
    """A branching coral or a clump of balls."""
    tones = ((236, 98, 110), (252, 150, 150)), ((240, 150, 70), (255, 196, 120)), ((170, 96, 190), (208, 150, 222))
    colour, light = tones[shape]
    if shape == 2:
        _balls(tile, [(0.3, 0.82, 0.2), (0.62, 0.74, 0.28), (0.84, 0.88, 0.14)], ((128, 66, 150), colour, light))
        return
    for x, y, width in ((0.14, 0.35, 0.1), (0.34, 0.1, 0.1), (0.54, 0.3, 0.1), (0.72, 0.12, 0.1), (0.9, 0.42, 0.09)):
        tile.polygon((0.44, 1), (0.56, 1), (x + width / 2, y), (x - width / 2, y), fill=colour)
        tile.ellipse(x, y, width / 2 + 0.02, fill=light)


def _cottage(tile, shape, rng):
    """A distant house with a gable."""
    wall, roof = (((238, 226, 204), (186, 96, 74)), ((220, 196, 166), (122, 92, 84)), ((242, 236, 226), (104, 118, 140)))[shape]
    tile.box(0.12, 0.5, 0.88, 1, wall)
    tile.box(0.55, 0.5, 0.88, 1, tuple(int(0.86 * v) for v in wall))
    tile.polygon((0.02, 0.54), (0.24, 0.18), (0.76, 0.18), (0.98, 0.54), fill=roof)
    tile.box(0.24, 0.64, 0.42, 0.82, (110, 140, 170))
    tile.box(0.62, 0.66, 0.78, 1, (110, 80, 62))


def _lamp(tile, shape, rng):
    """A street lamp."""
    tile.box(0.47, 0.2, 0.53, 1, (62, 66, 76))
    tile.box(0.42, 0.94, 0.58, 1, (62, 66, 76))
    tile.polygon((0.38, 0.06), (0.62, 0.06), (0.57, 0.24), (0.43, 0.24), fill=(255, 240, 190))
    tile.polygon((0.34, 0.08), (0.5, 0), (0.66, 0.08), fill=(52, 56, 66))


def _bale(tile, shape, rng):
    """A round bale of hay."""
    tile.ellipse(0.5, 0.66, 0.46, 0.34, fill=(190, 150, 74))
    for rx, ry, fill in ((0.34, 0.32, (232, 198, 112)), (0.22, 0.2, (206, 168, 88)), (0.12, 0.11, (236, 204, 124))):
        tile.ellipse(0.4, 0.64, rx, ry, fill=fill)


_PROPS = {
    "cloud": _cloud,
    "conifer": _conifer,
    "snowy conifer": partial(_conifer, snow=True),
    "leafy tree": _leafy,
    "bush": _bush,
    "palm": _palm,
    "rock": _rock,
    "leaf": _leaf,
    "weed": _weed,
    "coral": _coral,
    "cottage": _cottage,
    "lamp": _lamp,
    "bale": _bale,
}
