"""A pen that collects smooth shapes in an object's own units, then fits, colours, shades and paints them."""

from copy import copy
from functools import cache
from math import cos, pi, radians, sin

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

RELIEF = 96  # pixels a side of the shading map, which is stretched over the tile
INK, WHITE, CREAM, SKIN, ROSE = (44, 38, 50), (252, 250, 244), (246, 230, 198), (240, 194, 158), (240, 140, 140)
WOOD, BARK, LEAF, GOLD, STEEL = (150, 98, 56), (112, 74, 48), (86, 148, 66), (250, 196, 60), (150, 158, 172)
GLASS, IRON, SAND, TAN, LAMP = (176, 220, 240), (74, 78, 92), (222, 192, 140), (190, 130, 90), (255, 224, 130)
STEPS = 8  # points of a smooth curve between neighbouring knots


def mix(first, second, share):
    """Mix two colours: `share` of the second and the rest of the first."""
    return tuple(round(a + share * (b - a)) for a, b in zip(first, second, strict=True))


def mirrored(*half):
    """Return the points of a closed shape that is symmetric about x = 0, given its right half (x >= 0) in clockwise order."""
    return [*half, *((-x, y) for x, y in half[::-1] if x > 0)]


@cache
def _weights():
    """Weights of four neighbouring knots at the steps of a Catmull-Rom curve."""
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    return np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2  # (STEPS, 4)


@cache
def smooth(knots, closed=True):
    """Return the points (n, 2) of a smooth curve through knots."""
    knots = np.array(knots, dtype=float)
    around = np.vstack([knots[-1:], knots, knots[:2]] if closed else [knots[:1], knots, knots[-1:]])
    n_arcs = len(around) - 3
    curve = np.concatenate([_weights() @ around[i : i + 4] for i in range(n_arcs)])
    return curve if closed else np.vstack([curve, knots[-1:]])


@cache
def ring(x, y, rx, ry, start=0, end=360, turn=0):
    """Return the points (n, 2) of an arc of an ellipse, from `start` to `end` degrees, turned clockwise by `turn` degrees."""
    angles = np.radians(np.linspace(start, end, max(8, abs(end - start) // 9)))
    across, down, tilt = rx * np.cos(angles), ry * np.sin(angles), radians(turn)
    return np.column_stack([x + across * cos(tilt) - down * sin(tilt), y + across * sin(tilt) + down * cos(tilt)])


@cache
def tube(knots, first, last):
    """Return the outline (n, 2) of a smooth stroke with round ends whose width goes from `first` to `last`."""
    middle = smooth(knots, closed=False)
    along = np.gradient(middle, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    normal = np.column_stack([-along[:, 1], along[:, 0]])
    half = np.linspace(first, last, len(middle))[:, None] / 2
    turns = np.linspace(0, pi, 8)[1:-1, None]
    end = middle[-1] + half[-1] * (np.cos(turns) * normal[-1] + np.sin(turns) * along[-1])
    start = middle[0] - half[0] * (np.cos(turns) * normal[0] + np.sin(turns) * along[0])
    return np.concatenate([middle + half * normal, end, (middle - half * normal)[::-1], start])


@cache
def _form(name):
    """Shading map of a form within its frame: 128 leaves a colour unchanged, larger values lighten it."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    ball = np.clip(172 - 44 * ((x + 0.38) ** 2 + (y + 0.42) ** 2), 70, 172)
    forms = {"ball": ball, "slope": 138 - 22 * y - 8 * x, "tube": np.clip(158 - 44 * (x + 0.35) ** 2 - 10 * y, 82, 165)}
    forms |= {"flat": np.full_like(x, 128), "dim": np.full_like(x, 84)}
    return Image.fromarray(forms[name].astype(np.uint8))


class Pen:
    """Collector of an object's shapes.

    Units are the object's own: x to the right, y down, about -1 to 1; `paint` fits the drawing into its square. Every shape
    has a `fill` (the object's colour by default) and a `form` (ball, tube, slope, flat, dim) that sets its shading. A shape
    without form, such as an eye, takes the shading of the shape below it; a shape with fill False only adds shading.
    """

    def __init__(self, colour):
        self.colour, self.shapes = tuple(colour), []
        self.place, self.size = (lambda x, y: (x, y)), 1
        dark = sum(self.colour) < 210
        self.shade = mix(self.colour, (24, 16, 60), 0.3) if not dark else mix(self.colour, (120, 124, 150), 0.16)
        self.light = mix(self.colour, (255, 250, 225), 0.38 if not dark else 0.24)
        self.pale = mix(self.colour, (255, 248, 228), 0.66 if not dark else 0.45)
        self.deep = mix(self.colour, (20, 12, 40), 0.6) if not dark else mix(self.colour, (220, 220, 235), 0.4)

    def mapped(self, place, size=1):
        """Return a pen for the same drawing in other units: `place` maps points, `size` scales widths and radii."""
        pen = copy(self)
        pen.place, pen.size = place, size
        return pen

    def at(self, x, y, size=1):
        """Return a pen for the same drawing whose origin is (x, y) and whose unit is `size`."""
        return self.mapped(lambda across, down: (x + size * across, y + size * down), size)

    def shape(self, points, fill=None, form=None):
        """Add a polygon of points (n, 2) in the units of the drawing."""
        self.shapes.append((points, self.colour if fill is None else fill, form))

    def blob(self, *knots, fill=None, form="ball"):
        """Add a smooth closed shape through knots."""
        knots = tuple(self.place(*knot) for knot in knots)
        self.shape(smooth(knots), fill, form)

    def poly(self, *corners, fill=None, form="slope"):
        """Add a polygon with straight sides."""
        self.shape(np.array([self.place(*corner) for corner in corners], dtype=float), fill, form)

    def ball(self, x, y, rx, ry=None, *, turn=0, fill=None, form="ball"):
        """Add an ellipse about (x, y)."""
        rx, ry = self.size * rx, self.size * (rx if ry is None else ry)
        self.shape(ring(*self.place(x, y), rx, ry, 0, 360, turn), fill, form)

    def dot(self, x, y, rx, ry=None, *, turn=0, fill=INK):
        """Add an ellipse that takes the shading of the shape below it."""
        self.ball(x, y, rx, ry, turn=turn, fill=fill, form=None)

    def box(self, left, top, right, bottom, *, fill=None, form="slope"):
        """Add a rectangle."""
        self.poly((left, top), (right, top), (right, bottom), (left, bottom), fill=fill, form=form)

    def limb(self, *knots, width=0.2, end=None, fill=None, form="ball"):
        """Add a smooth stroke with round ends; its width goes from `width` to `end`."""
        knots = tuple(self.place(*knot) for knot in knots)
        self.shape(tube(knots, self.size * width, self.size * (width if end is None else end)), fill, form)

    def line(self, *knots, width=0.06, fill=INK):
        """Add a smooth stroke that takes the shading of the shape below it."""
        self.limb(*knots, width=width, fill=fill, form=None)

    def pie(self, x, y, rx, ry, start, end, *, fill=None, form="ball"):
        """Add a piece of an ellipse between two angles, clockwise from three o'clock; half a turn gives a half ellipse."""
        x, y = self.place(x, y)
        rim = ring(x, y, self.size * rx, self.size * ry, start, end)
        self.shape(rim if end - start == 180 else np.vstack([rim, [[x, y]]]), fill, form)

    def eye(self, x, y, size, *, fill=INK):
        """Add an eye: a white rim, a pupil and a glint."""
        eye = self.at(*self.place(x, y), self.size * size)
        eye.dot(0, 0, 1, 1.1, fill=WHITE)
        eye.dot(0.1, 0, 0.72, 0.84, fill=fill)
        eye.dot(-0.2, -0.32, 0.3, fill=WHITE)

    def paint(self, side, *, flip=False, sits=True):
        """Return the RGBA tile (side, side): all shapes fitted into the square, at its bottom if the object `sits`."""
        shapes = self._fitted(flip, sits)
        rim = mix(self.shade, self.deep, 0.2) if sum(self.colour) >= 210 else self.shade
        tile = Image.new("RGBX", (2 * side, 2 * side), (*rim, 0))  # the fourth channel marks drawn pixels
        brush = ImageDraw.Draw(tile)
        for points, fill, _ in shapes:
            if fill is not False:
                brush.polygon((2 * side * points).ravel().tolist(), fill=(*fill, 255))
        return _lit(tile.reduce(2), _relief(shapes))

    def _fitted(self, flip, sits):
        """Return the shapes in fractions of the tile, mirrored if asked for."""
        all_points = np.concatenate([points for points, fill, _ in self.shapes if fill is not False])
        low, high = all_points.min(axis=0), all_points.max(axis=0)
        scale = 0.98 / (high - low).max()
        shift = 0.5 - scale * (low + high) / 2
        if sits:
            shift[1] = 0.995 - scale * high[1]
        stretch = np.array([scale, scale])
        if flip:
            stretch[0], shift[0] = -scale, 1 - shift[0]
        return [(points * stretch + shift, fill, form) for points, fill, form in self.shapes]


def _relief(shapes):
    """Return the shading map (RELIEF, RELIEF) of the shapes' forms."""
    relief = Image.new("L", (RELIEF, RELIEF), 128)
    for points, _, form in shapes:
        if form is None:
            continue
        low = np.floor(points.min(axis=0) * RELIEF).astype(int)
        width, height = (np.ceil(points.max(axis=0) * RELIEF).astype(int) - low + 1).tolist()
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon((points * RELIEF - low).ravel().tolist(), fill=255)
        relief.paste(_form(form).resize((width, height), Image.Resampling.NEAREST), tuple(low.tolist()), mask)
    return relief.filter(ImageFilter.BoxBlur(1))


def _lit(tile, relief):
    """Light a tile from the upper left: apply the shading of its forms, round the whole and darken the rim."""
    alpha = tile.getchannel("X")
    small = alpha.resize((RELIEF, RELIEF), Image.Resampling.BOX)
    narrow, wide = (np.asarray(small.filter(ImageFilter.BoxBlur(radius)), dtype=np.float32) for radius in (2, 7))
    shade = np.asarray(relief, dtype=np.float32) - 0.16 * (255 - narrow) - 2
    shade[6:-6, 6:-6] += 0.16 * (wide[12:, 12:] - wide[:-12, :-12])
    shade = np.where(np.asarray(small) > 0, shade, 128).clip(28, 214).astype(np.uint8)
    shade = Image.fromarray(shade).resize(tile.size, Image.Resampling.BILINEAR)
    cool = shade.point(lambda value: 0.9 * value + 12)  # blue is shaded less than red and green: warm light and cool shade
    lit = ImageChops.hard_light(tile.convert("RGB"), Image.merge("RGB", (shade, shade, cool)))
    lit.putalpha(alpha)
    return lit
