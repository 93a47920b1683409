"""Drawings of buildings: houses, castles."""

import numpy as np

from nsdlib.twin.scenery.pen import BARK, GLASS, GOLD, INK, LAMP, WHITE, mirrored, mix, ring

RUST = (172, 84, 60)


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


def _cottage(p):
    p.box(0.4, -0.86, 0.62, -0.3, fill=RUST, form="tube")
    p.box(0.36, -0.9, 0.66, -0.78, fill=mix(RUST, INK, 0.3))
    p.box(-0.78, -0.1, 0.78, 1, fill=p.light if min(p.colour) < 200 else None)
    p.poly(*mirrored((0.78, -0.12), (0.78, 0.1)), fill=False, form="dim")
    p.poly(*mirrored((0.6, -0.72), (1, 0)), fill=p.colour if min(p.colour) < 200 else p.shade)
    for y in (-0.48, -0.24):
        half = 0.6 + 0.4 * (y + 0.72) / 0.72
        p.box(-half, y, half, y + 0.05, fill=p.shade, form=None)
    _door(p, 0, 0.26, 1, 0.17)
    for left in (-0.62, 0.3):
        _window(p, left, 0.28, left + 0.32, 0.62)
        p.ball(left + 0.16, 0.76, 0.22, 0.09, fill=(84, 148, 70))


def _town_house(p):
    p.box(0.16, -0.98, 0.34, -0.6, fill=RUST, form="tube")
    p.box(-0.5, -0.5, 0.5, 1)
    p.poly(*mirrored((0.4, -0.84), (0.58, -0.48)), fill=p.shade)
    p.poly((-0.2, -0.46), (0, -0.72), (0.2, -0.46), fill=p.light)
    p.box(-0.56, -0.5, 0.56, -0.42, fill=p.light)
    for y in (-0.3, 0.14):
        for x in (-0.34, 0.1):
            _window(p, x, y, x + 0.24, y + 0.28, fill=LAMP if (y > 0) == (x > 0) else GLASS)
    p.box(-0.5, 0.5, 0.5, 0.55, fill=p.shade, form=None)
    _door(p, -0.2, 0.58, 1, 0.14)
    _window(p, 0.08, 0.66, 0.36, 0.88, fill=LAMP)


def _barn(p):
    trim = WHITE if min(p.colour) < 200 else p.deep
    p.poly(*mirrored((0, -0.92), (0.6, -0.6), (0.86, -0.06), (0.86, 1)))
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


def _fairy_castle(p):
    _tower(p, 0, 0.24, -0.4, 0.42, fill=p.light)
    p.box(-0.7, 0.24, 0.7, 1)
    _battlements(p, -0.7, 0.7, 0.12, 0.13)
    for s in (-1, 1):
        _tower(p, s * 0.7, 0.21, -0.04, 0.42)
    _door(p, 0, 0.46, 1, 0.2)


def _fortress(p):
    p.box(-0.6, 0.1, 0.6, 1, fill=p.shade)
    _battlements(p, -0.6, 0.6, -0.04, 0.15, fill=p.shade)
    for s in (-1, 1):
        _tower(p, s * 0.68, 0.27, -0.5)
        p.shape(_arch(s * 0.68, 0.3, 0.6, 0.08), INK, "flat")
    _door(p, 0, 0.34, 1, 0.26)
    for x, y in ((-0.34, 0.3), (0.3, 0.26), (-0.86, 0.76), (0.62, 0.8), (0.4, 0.74), (-0.5, 0.06)):
        p.box(x, y, x + 0.14, y + 0.07, fill=p.light, form=None)


def _keep(p):
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


BUILDINGS = {
    "house": (_cottage, _town_house, _barn),
    "castle": (_fairy_castle, _fortress, _keep),
}
