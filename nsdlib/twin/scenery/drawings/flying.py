"""Drawings of balloons and rockets."""

from math import cos, radians, sin

from nsdlib.twin.scenery.pen import BARK, GOLD, SAND, WHITE, WOOD

FLAME = (255, 150, 40)


def _basket(p, y, size):
    """Draw a balloon's basket and ropes below the height y."""
    for s in (-1, 1):
        p.limb((s * 0.3 * size, y - 0.32 * size), (s * 0.17 * size, y), width=0.05 * size, fill=BARK)
    p.blob(
        (-0.2 * size, y), (0.2 * size, y), (0.18 * size, y + 0.26 * size), (0, y + 0.3 * size), (-0.18 * size, y + 0.26 * size),
        fill=WOOD, form="tube",
    )  # fmt: skip
    p.box(-0.22 * size, y - 0.03 * size, 0.22 * size, y + 0.05 * size, fill=SAND)


def _envelope(p, ring_knots, gores):
    """Draw an envelope and its gores: lens shapes given by their bulges to the left and the right."""
    p.blob(*ring_knots)
    for left, right, fill in gores:
        p.blob(
            (0, -1), (right, -0.62), (right * 1.02, -0.3), (right * 0.7, 0.16), (right * 0.3, 0.4), (left * 0.3, 0.4),
            (left * 0.7, 0.16), (left * 1.02, -0.3), (left, -0.62), fill=fill, form=None,
        )  # fmt: skip


ENVELOPE = (
    (0, -1), (0.48, -0.9), (0.78, -0.5), (0.72, -0.08), (0.44, 0.28), (0.2, 0.44), (-0.2, 0.44), (-0.44, 0.28), (-0.72, -0.08),
    (-0.78, -0.5), (-0.48, -0.9),
)  # fmt: skip


def striped_balloon(p):
    """Draw a hot-air balloon with light gores."""
    _basket(p, 0.7, 1)
    _envelope(p, ENVELOPE, ((-0.58, 0.58, p.pale if min(p.colour) < 200 else p.shade), (-0.34, 0.34, p.colour)))
    p.blob((-0.24, 0.4), (0, 0.36), (0.24, 0.4), (0.18, 0.47), (-0.18, 0.47), fill=p.shade, form=None)


def banded_balloon(p):
    """Draw a hot-air balloon with a zigzag band."""
    _basket(p, 0.7, 1)
    _envelope(p, ENVELOPE, ())
    top, low = (WHITE if min(p.colour) < 200 else p.shade), p.shade
    xs = (-0.74, -0.5, -0.25, 0, 0.25, 0.5, 0.74)
    zigzag = [(x, -0.42 if k % 2 else -0.24) for k, x in enumerate(xs)]
    p.poly(*zigzag, *((x, y + 0.22) for x, y in zigzag[::-1]), fill=top, form=None)
    p.blob((-0.44, 0.24), (0, 0.3), (0.44, 0.24), (0.18, 0.46), (-0.18, 0.46), fill=low, form=None)
    p.blob((0, -1), (0.36, -0.86), (0, -0.78), (-0.36, -0.86), fill=low, form=None)


def round_balloon(p):
    """Draw a ball-shaped balloon with a star."""
    p.limb((-0.4, 0.3), (-0.14, 0.7), width=0.05, fill=BARK)
    p.limb((0.4, 0.3), (0.14, 0.7), width=0.05, fill=BARK)
    _basket(p, 0.74, 0.9)
    p.ball(0, -0.26, 0.76, 0.74)
    p.blob((-0.72, -0.02), (0, 0.14), (0.72, -0.02), (0.62, 0.18), (0, 0.32), (-0.62, 0.18), fill=p.light, form=None)
    star = [(r * sin(radians(36 * k)), -0.38 - r * cos(radians(36 * k))) for k, r in enumerate((0.42, 0.18) * 5)]
    p.poly(*star, fill=GOLD if p.colour[2] > 90 or p.colour[1] < 120 else WHITE, form=None)


def _flame(p, y, size):
    """Draw a rocket's flame below the height y."""
    for fill, k in ((FLAME, 1), ((255, 214, 80), 0.62)):
        s = size * k
        points = ((-0.2 * s, y), (0.2 * s, y), (0.16 * s, y + 0.2 * s), (0, y + 0.46 * s), (-0.16 * s, y + 0.2 * s))
        p.blob(*points, fill=fill, form=None)


def round_rocket(p):
    """Draw a bulging rocket with fins."""
    _flame(p, 0.62, 0.9)
    for s in (-1, 1):
        p.blob((s * 0.26, 0.1), (s * 0.56, 0.4), (s * 0.6, 0.86), (s * 0.42, 0.68), (s * 0.2, 0.62), fill=p.shade)
    p.blob(
        (0, -1), (0.26, -0.68), (0.4, -0.2), (0.36, 0.3), (0.22, 0.64), (-0.22, 0.64), (-0.36, 0.3), (-0.4, -0.2),
        (-0.26, -0.68), form="tube",
    )  # fmt: skip
    p.blob((0, -1), (0.16, -0.84), (0.28, -0.62), (0, -0.56), (-0.28, -0.62), (-0.16, -0.84), fill=p.shade, form=None)
    p.ball(0, -0.24, 0.22, fill=p.pale if min(p.colour) < 200 else p.deep)
    p.ball(0, -0.24, 0.15, fill=(90, 170, 220))
    p.line((-0.34, 0.28), (0, 0.34), (0.34, 0.28), width=0.1, fill=p.light)
    p.limb((0, 0.3), (0, 0.74), width=0.1, fill=p.shade)


def slim_rocket(p):
    """Draw a slim rocket with boosters."""
    for s in (-1, 0, 1):
        p.blob((s * 0.3 - 0.08, 0.66), (s * 0.3 + 0.08, 0.66), (s * 0.3, 0.98), fill=FLAME, form=None)
    for s in (-1, 1):
        p.blob(
            (s * 0.3, -0.16), (s * 0.42, 0.06), (s * 0.42, 0.7), (s * 0.3, 0.72), (s * 0.18, 0.7), (s * 0.18, 0.06),
            fill=p.shade, form="tube",
        )  # fmt: skip
    p.blob(
        (0, -1), (0.14, -0.8), (0.21, -0.5), (0.21, 0.5), (0.18, 0.74), (-0.18, 0.74), (-0.21, 0.5), (-0.21, -0.5),
        (-0.14, -0.8), form="tube",
    )  # fmt: skip
    for y in (-0.62, 0.3):
        p.box(-0.2, y, 0.2, y + 0.12, fill=p.pale if min(p.colour) < 200 else p.deep, form=None)
    p.ball(0, -0.24, 0.12, fill=(90, 170, 220))


def tilted_rocket(p):
    """Draw a rocket flying up aslant."""

    def turned(*points):
        """Points turned by an eighth of a circle."""
        return [(0.71 * (x - y), 0.71 * (x + y)) for x, y in points]

    p.blob(*turned((-0.17, 0.6), (0.17, 0.6), (0.14, 0.8), (0, 1.16), (-0.14, 0.8)), fill=FLAME, form=None)
    p.blob(*turned((-0.1, 0.6), (0.1, 0.6), (0, 0.92)), fill=(255, 214, 80), form=None)
    for s in (-1, 1):
        p.poly(*turned((s * 0.26, 0.04), (s * 0.62, 0.5), (s * 0.56, 0.8), (s * 0.2, 0.58)), fill=p.shade)
    p.blob(
        *turned(
            (0, -1.1), (0.22, -0.78), (0.36, -0.3), (0.32, 0.3), (0.2, 0.62), (-0.2, 0.62), (-0.32, 0.3), (-0.36, -0.3),
            (-0.22, -0.78),
        )
    )  # fmt: skip
    p.blob(*turned((0, -1.1), (0.14, -0.94), (0.26, -0.66), (0, -0.6), (-0.26, -0.66), (-0.14, -0.94)), fill=p.shade, form=None)
    for y in (-0.3, 0.14):
        (x, y), r = turned((0, y))[0], 0.17 if y < 0 else 0.12
        p.ball(x, y, r, fill=p.pale if min(p.colour) < 200 else p.deep)
        p.ball(x, y, 0.68 * r, fill=(90, 170, 220))


FLYING = {
    "balloon": (striped_balloon, banded_balloon, round_balloon),
    "rocket": (round_rocket, slim_rocket, tilted_rocket),
}
