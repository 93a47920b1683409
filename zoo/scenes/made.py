"""Drawings of what people build: houses, castles, balloons, rockets."""

from math import cos, radians, sin

import numpy as np

from zoo.scenes.pen import BARK, GLASS, GOLD, INK, LAMP, SAND, WHITE, WOOD, mix, ring

FLAME, RUST = (255, 150, 40), (172, 84, 60)


def _window(p, left, top, right, bottom, *, fill=GLASS, bars=True):
    """Draw a framed window."""
    edge = 0.045
    p.box(left - edge, top - edge, right + edge, bottom + edge, fill=WHITE if min(p.colour) < 200 else p.deep)
    p.box(left, top, right, bottom, fill=fill)
    if bars:
        x, y = (left + right) / 2, (top + bottom) / 2
        p.box(x - 0.022, top, x + 0.022, bottom, fill=WHITE, form=None)
        p.box(left, y - 0.022, right, y + 0.022, fill=WHITE, form=None)


def _door(p, x, top, bottom, half, fill=BARK):
    """Draw an arched door."""
    p.shape(_arch(x, top, bottom, half + 0.05), p.deep, "flat")
    p.shape(_arch(x, top + 0.05, bottom, half), fill, "tube")
    p.dot(x + 0.55 * half, (top + bottom) / 2 + 0.06, 0.035, fill=GOLD)


def _arch(x, top, bottom, half):
    """Points of an upright shape with a round top."""
    return np.vstack([ring(x, top + half, half, half, 180, 360), [[x + half, bottom], [x - half, bottom]]])


def cottage(p):
    """Draw a cottage with a chimney."""
    p.box(0.4, -0.86, 0.62, -0.3, fill=RUST, form="tube")
    p.box(0.36, -0.9, 0.66, -0.78, fill=mix(RUST, INK, 0.3))
    p.box(-0.78, -0.1, 0.78, 1, fill=p.light if min(p.colour) < 200 else None)
    p.poly((-0.78, -0.12), (0.78, -0.12), (0.78, 0.1), (-0.78, 0.1), fill=False, form="dim")
    p.poly((-1, 0), (-0.6, -0.72), (0.6, -0.72), (1, 0), fill=p.colour if min(p.colour) < 200 else p.shade)
    for y in (-0.48, -0.24):
        half = 0.6 + 0.4 * (y + 0.72) / 0.72
        p.box(-half, y, half, y + 0.05, fill=p.shade, form=None)
    _door(p, 0, 0.26, 1, 0.17)
    for left in (-0.62, 0.3):
        _window(p, left, 0.28, left + 0.32, 0.62)
        p.ball(left + 0.16, 0.76, 0.22, 0.09, fill=(84, 148, 70))


def town_house(p):
    """Draw a tall town house with three floors."""
    p.box(0.16, -0.98, 0.34, -0.6, fill=RUST, form="tube")
    p.box(-0.5, -0.5, 0.5, 1)
    p.poly((-0.58, -0.48), (-0.4, -0.84), (0.4, -0.84), (0.58, -0.48), fill=p.shade)
    p.poly((-0.2, -0.46), (0, -0.72), (0.2, -0.46), fill=p.light)
    p.box(-0.56, -0.5, 0.56, -0.42, fill=p.light)
    for y in (-0.3, 0.14):
        for x in (-0.34, 0.1):
            _window(p, x, y, x + 0.24, y + 0.28, fill=LAMP if (y > 0) == (x > 0) else GLASS)
    p.box(-0.5, 0.5, 0.5, 0.55, fill=p.shade, form=None)
    _door(p, -0.2, 0.58, 1, 0.14)
    _window(p, 0.08, 0.66, 0.36, 0.88, fill=LAMP)


def barn(p):
    """Draw a barn with a crossed gate."""
    trim = WHITE if min(p.colour) < 200 else p.deep
    p.poly((-0.86, 1), (-0.86, -0.06), (-0.6, -0.6), (0, -0.92), (0.6, -0.6), (0.86, -0.06), (0.86, 1))
    for x in (-0.6, -0.3, 0.3, 0.6):
        p.box(x, -0.5, x + 0.04, 1, fill=p.shade, form=None)
    p.limb((-0.96, -0.02), (-0.93, -0.08), width=0.13, fill=p.shade)
    for s in (-1, 1):
        p.poly((s * 0.98, 0.04), (s * 0.62, -0.68), (0, -1), (0, -0.86), (s * 0.54, -0.58), (s * 0.86, 0.08), fill=p.shade)
    _window(p, -0.17, -0.5, 0.17, -0.2, fill=INK, bars=False)
    p.box(-0.46, 0.16, 0.46, 1, fill=trim)
    p.box(-0.39, 0.23, 0.39, 1, fill=p.shade)
    for s in (-1, 1):
        p.line((s * -0.37, 0.25), (s * 0.37, 0.98), width=0.09, fill=trim)


def _battlements(p, left, right, top, height, fill=None):
    """Draw a wall's crown of battlements."""
    n = 2 * round((right - left) / 0.22) + 1
    step = (right - left) / n
    for k in range(0, n, 2):
        p.box(left + k * step, top, left + (k + 1) * step, top + height, fill=fill)


def _tower(p, x, half, top, cone=None, fill=None):
    """Draw a round tower from `top` to the ground, with battlements or a pointed roof of height `cone`."""
    p.box(x - half, top, x + half, 1, fill=fill, form="tube")
    if cone:
        p.poly((x - half * 1.3, top), (x, top - cone), (x + half * 1.3, top), fill=p.shade, form="tube")
        p.limb((x, top - cone - 0.16), (x, top - cone), width=0.04, fill=INK)
        p.poly((x, top - cone - 0.18), (x + 0.2, top - cone - 0.11), (x, top - cone - 0.04), fill=GOLD)
    else:
        p.box(x - half * 1.2, top - 0.02, x + half * 1.2, top + 0.12, fill=fill, form="tube")
        _battlements(p, x - half * 1.2, x + half * 1.2, top - 0.14, 0.14, fill)
    p.shape(_arch(x, top + 0.24, top + 0.5, half * 0.28), INK, "flat")


def fairy_castle(p):
    """Draw a castle with pointed towers."""
    _tower(p, 0, 0.24, -0.4, 0.42, fill=p.light)
    p.box(-0.7, 0.24, 0.7, 1)
    _battlements(p, -0.7, 0.7, 0.12, 0.13)
    for s in (-1, 1):
        _tower(p, s * 0.7, 0.21, -0.04, 0.42)
    _door(p, 0, 0.46, 1, 0.2)


def fortress(p):
    """Draw a fortress with two square towers."""
    p.box(-0.6, 0.1, 0.6, 1, fill=p.shade)
    _battlements(p, -0.6, 0.6, -0.04, 0.15, fill=p.shade)
    for s in (-1, 1):
        _tower(p, s * 0.68, 0.27, -0.5)
        p.shape(_arch(s * 0.68, 0.3, 0.6, 0.08), INK, "flat")
    _door(p, 0, 0.34, 1, 0.26)
    for x, y in ((-0.34, 0.3), (0.3, 0.26), (-0.86, 0.76), (0.62, 0.8), (0.4, 0.74), (-0.5, 0.06)):
        p.box(x, y, x + 0.14, y + 0.07, fill=p.light, form=None)


def keep(p):
    """Draw a tall keep upon a hill."""
    p.blob((-1, 0.97), (-0.7, 0.62), (-0.2, 0.46), (0.4, 0.46), (0.8, 0.66), (1, 0.97), (0, 1.02), fill=(110, 158, 84))
    _tower(p, 0.42, 0.16, 0, 0.34)
    p.box(-0.42, -0.44, 0.24, 0.66)
    p.box(-0.48, -0.46, 0.3, -0.34, fill=p.light)
    _battlements(p, -0.48, 0.3, -0.6, 0.15, fill=p.light)
    p.limb((-0.1, -0.98), (-0.1, -0.58), width=0.05, fill=INK)
    p.poly((-0.1, -0.98), (0.26, -0.87), (-0.1, -0.76), fill=GOLD)
    for x, y in ((-0.26, -0.2), (0.06, -0.2), (0.06, 0.14)):
        p.shape(_arch(x, y, y + 0.22, 0.07), INK, "flat")
    _door(p, -0.2, 0.2, 0.7, 0.14)
    p.poly((-0.5, 0.66), (0.6, 0.6), (0.7, 0.74), (0.2, 0.84), (-0.4, 0.82), fill=(110, 158, 84))


def _basket(p, y, size):
    """Draw a balloon's basket and ropes below the height y."""
    for s in (-1, 1):
        p.limb((s * 0.3 * size, y - 0.32 * size), (s * 0.17 * size, y), width=0.05 * size, fill=BARK)
    p.blob(
        (-0.2 * size, y),
        (0.2 * size, y),
        (0.18 * size, y + 0.26 * size),
        (0, y + 0.3 * size),
        (-0.18 * size, y + 0.26 * size),
        fill=WOOD,
        form="tube",
    )
    p.box(-0.22 * size, y - 0.03 * size, 0.22 * size, y + 0.05 * size, fill=SAND)


def _envelope(p, ring_knots, gores):
    """Draw an envelope and its gores: lens shapes given by their bulges to the left and the right."""
    p.blob(*ring_knots)
    for left, right, fill in gores:
        p.blob(
            (0, -1),
            (right, -0.62),
            (right * 1.02, -0.3),
            (right * 0.7, 0.16),
            (right * 0.3, 0.4),
            (left * 0.3, 0.4),
            (left * 0.7, 0.16),
            (left * 1.02, -0.3),
            (left, -0.62),
            fill=fill,
            form=None,
        )


ENVELOPE = (
    (0, -1),
    (0.48, -0.9),
    (0.78, -0.5),
    (0.72, -0.08),
    (0.44, 0.28),
    (0.2, 0.44),
    (-0.2, 0.44),
    (-0.44, 0.28),
    (-0.72, -0.08),
    (-0.78, -0.5),
    (-0.48, -0.9),
)


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
        (0, -1),
        (0.26, -0.68),
        (0.4, -0.2),
        (0.36, 0.3),
        (0.22, 0.64),
        (-0.22, 0.64),
        (-0.36, 0.3),
        (-0.4, -0.2),
        (-0.26, -0.68),
        form="tube",
    )
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
            (s * 0.3, -0.16),
            (s * 0.42, 0.06),
            (s * 0.42, 0.7),
            (s * 0.3, 0.72),
            (s * 0.18, 0.7),
            (s * 0.18, 0.06),
            fill=p.shade,
            form="tube",
        )
    p.blob(
        (0, -1),
        (0.14, -0.8),
        (0.21, -0.5),
        (0.21, 0.5),
        (0.18, 0.74),
        (-0.18, 0.74),
        (-0.21, 0.5),
        (-0.21, -0.5),
        (-0.14, -0.8),
        form="tube",
    )
    for y in (-0.62, 0.3):
        p.box(-0.2, y, 0.2, y + 0.12, fill=p.pale if min(p.colour) < 200 else p.deep, form=None)
    p.ball(0, -0.24, 0.12, fill=(90, 170, 220))


def tilted_rocket(p):
    """Draw a rocket flying up aslant."""

    def at(*points):
        """Points turned by an eighth of a circle."""
        return [(0.71 * (x - y), 0.71 * (x + y)) for x, y in points]

    p.blob(*at((-0.17, 0.6), (0.17, 0.6), (0.14, 0.8), (0, 1.16), (-0.14, 0.8)), fill=FLAME, form=None)
    p.blob(*at((-0.1, 0.6), (0.1, 0.6), (0, 0.92)), fill=(255, 214, 80), form=None)
    for s in (-1, 1):
        p.poly(*at((s * 0.26, 0.04), (s * 0.62, 0.5), (s * 0.56, 0.8), (s * 0.2, 0.58)), fill=p.shade)
    p.blob(
        *at(
            (0, -1.1),
            (0.22, -0.78),
            (0.36, -0.3),
            (0.32, 0.3),
            (0.2, 0.62),
            (-0.2, 0.62),
            (-0.32, 0.3),
            (-0.36, -0.3),
            (-0.22, -0.78),
        )
    )
    p.blob(*at((0, -1.1), (0.14, -0.94), (0.26, -0.66), (0, -0.6), (-0.26, -0.66), (-0.14, -0.94)), fill=p.shade, form=None)
    for y in (-0.3, 0.14):
        (x, y), r = at((0, y))[0], 0.17 if y < 0 else 0.12
        p.ball(x, y, r, fill=p.pale if min(p.colour) < 200 else p.deep)
        p.ball(x, y, 0.68 * r, fill=(90, 170, 220))


MADE = {
    "house": (cottage, town_house, barn),
    "castle": (fairy_castle, fortress, keep),
    "balloon": (striped_balloon, banded_balloon, round_balloon),
    "rocket": (round_rocket, slim_rocket, tilted_rocket),
}
