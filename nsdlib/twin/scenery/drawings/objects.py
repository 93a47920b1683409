"""Drawings of household objects: umbrellas, cups, guitars, clocks."""

from math import cos, radians, sin

from nsdlib.twin.scenery.pen import BARK, CREAM, GOLD, INK, IRON, STEEL, TAN, WHITE, WOOD, mirrored, mix


def _canopy(p, y, ry):
    """Draw an umbrella's canopy of five panels above the height y."""
    p.pie(0, y, 0.98, ry, 180, 360)
    p.blob((0, y - ry), (0.5, y - 0.5 * ry), (0.62, y), (0, y + 0.02), (-0.62, y), (-0.5, y - 0.5 * ry), fill=p.light, form=None)
    p.blob((0, y - ry), (0.2, y - 0.5 * ry), (0.24, y), (-0.24, y), (-0.2, y - 0.5 * ry), form=None)
    for x in (-0.8, -0.42, 0, 0.42, 0.8):
        p.ball(x, y + 0.03, 0.2, 0.09, fill=p.shade, form="dim")
    p.limb((0, y - ry - 0.1), (0, y - ry + 0.02), width=0.08, fill=IRON)


def _open_umbrella(p):
    p.limb((0, -0.5), (0, 0.72), (0.05, 0.9), (0.2, 0.92), (0.28, 0.74), width=0.1, fill=WOOD, form="tube")
    _canopy(p, 0, 0.86)


def _closed_umbrella(p):
    p.limb((0, 0.9), (0, 1), width=0.07, fill=IRON)
    p.limb((0, -0.3), (0, -0.72), (0.07, -0.92), (0.24, -0.92), (0.3, -0.72), width=0.1, fill=WOOD, form="tube")
    p.blob(*mirrored((0, -0.5), (0.2, -0.4), (0.34, -0.3), (0.22, 0.3), (0, 0.94)), form="tube")
    p.poly((0.06, -0.42), (0.34, -0.3), (0.2, 0.3), (0, 0.92), fill=p.shade, form=None)
    p.limb((-0.28, 0.02), (0.26, 0.12), width=0.1, fill=p.light, form=None)


def _beach_umbrella(p):
    p.limb((0.06, -0.5), (0.1, 0.97), width=0.09, fill=CREAM, form="tube")
    p.blob(*mirrored((0, -1), (0.6, -0.75), (1, -0.22), (0.5, -0.12), (0, -0.1)))
    stripe = WHITE if min(p.colour) < 180 else p.shade
    for s in (-1, 1):
        p.blob((0, -1), (s * 0.42, -0.7), (s * 0.66, -0.14), (s * 0.3, -0.11), (s * 0.2, -0.6), fill=stripe, form=None)
    p.ball(0, -1, 0.06, fill=GOLD)


def _steam(p, xs, low):
    """Draw curls of steam."""
    for x in xs:
        p.line((x, low), (x + 0.08, low - 0.14), (x - 0.06, low - 0.28), (x + 0.04, low - 0.44), width=0.09, fill=(226, 230, 236))


def _mug(p):
    _steam(p, (-0.35, 0.1), -0.55)
    p.limb((0.45, -0.22), (0.92, -0.2), (0.98, 0.25), (0.46, 0.5), width=0.18, fill=p.shade)
    p.blob((-0.66, -0.4), (0.5, -0.4), (0.5, 0.7), (0.4, 0.94), (-0.08, 1), (-0.56, 0.94), (-0.66, 0.7), form="tube")
    p.ball(-0.08, -0.4, 0.6, 0.17, fill=p.light)
    p.ball(-0.08, -0.38, 0.5, 0.12, fill=(92, 54, 34))
    p.dot(-0.42, 0.1, 0.06, 0.3, fill=p.light)


def _tea_cup(p):
    p.ball(0, 0.74, 0.98, 0.24, fill=p.shade)
    p.ball(0, 0.69, 0.92, 0.19, fill=p.light)
    p.limb((0.5, -0.1), (0.9, -0.14), (0.9, 0.24), (0.46, 0.36), width=0.13, fill=p.shade)
    p.blob(*mirrored((0, -0.2), (0.64, -0.28), (0.56, 0.2), (0.28, 0.62), (0, 0.7)))
    p.ball(0, -0.28, 0.66, 0.16, fill=p.pale)
    p.ball(0, -0.26, 0.56, 0.11, fill=(176, 96, 40))
    p.line((-0.52, 0.04), (0, 0.14), (0.52, 0.04), width=0.08, fill=WHITE if min(p.colour) < 180 else p.shade)


def _paper_cup(p):
    p.limb((0.1, -0.6), (0.24, -0.98), width=0.1, fill=(240, 90, 90) if p.colour[0] < 180 else (90, 150, 220))
    p.poly(*mirrored((0.56, -0.45), (0.4, 1)), form="tube")
    p.poly(*mirrored((0.52, -0.05), (0.46, 0.48)), fill=p.pale if min(p.colour) < 180 else TAN, form="tube")
    p.blob(*mirrored((0.5, -0.62), (0.66, -0.5), (0.62, -0.36)), fill=WHITE, form="tube")
    p.ball(0, 0.2, 0.2, fill=p.colour)


def _neck(p, low):
    """Draw a guitar's neck, frets and head above the height `low`."""
    p.poly((-0.09, -0.72), (0.09, -0.72), (0.1, low), (-0.1, low), fill=BARK, form="tube")
    for y in (-0.6, -0.45, -0.3):
        p.box(-0.09, y, 0.09, y + 0.03, fill=STEEL, form=None)
    for y in (-0.92, -0.8):
        p.limb((-0.22, y), (0.22, y), width=0.07, fill=STEEL)
    p.poly(*mirrored((0.15, -1), (0.11, -0.7)), fill=mix(BARK, INK, 0.4))


def _acoustic_guitar(p):
    p.blob(*mirrored((0, -0.2), (0.3, -0.16), (0.36, 0.06), (0.3, 0.24), (0.5, 0.5), (0.44, 0.86), (0, 1)), fill=p.shade)
    p.blob(*mirrored((0, -0.16), (0.25, -0.12), (0.3, 0.06), (0.24, 0.25), (0.44, 0.52), (0.38, 0.82), (0, 0.94)))
    p.ball(0, 0.22, 0.2, fill=GOLD if p.colour[2] > 90 or p.colour[1] < 120 else BARK)
    p.dot(0, 0.22, 0.15)
    _neck(p, 0.1)
    p.box(-0.22, 0.62, 0.22, 0.71, fill=BARK)
    p.box(-0.05, -0.7, 0.05, 0.64, fill=(236, 226, 200), form=None)
    p.box(-0.02, -0.7, 0.02, 0.64, fill=BARK, form=None)


def _electric_guitar(p):
    p.blob(
        (-0.12, 0.02), (-0.3, -0.22), (-0.46, -0.2), (-0.36, 0.12), (-0.34, 0.32), (-0.52, 0.6), (-0.4, 0.92), (0, 1),
        (0.4, 0.9), (0.5, 0.6), (0.34, 0.34), (0.4, 0.12), (0.46, -0.08), (0.34, -0.12), (0.14, 0.06),
    )  # fmt: skip
    guard = WHITE if min(p.colour) < 180 else INK
    p.blob((-0.1, 0.15), (0.16, 0.14), (0.24, 0.4), (0.34, 0.68), (0.1, 0.72), (-0.2, 0.6), fill=guard)
    _neck(p, 0.3)
    for y in (0.36, 0.52):
        p.box(-0.16, y, 0.16, y + 0.08, fill=INK, form=None)
    p.box(-0.18, 0.7, 0.18, 0.8, fill=STEEL)
    for y in (0.74, 0.88):
        p.dot(0.3, y - 0.02, 0.055, fill=GOLD)


def _small_guitar(p):
    cosine, sine = cos(radians(-52)), sin(radians(-52))
    p = p.mapped(lambda along, across: (along * cosine - across * sine - 0.2, along * sine + across * cosine + 0.25))
    p.poly((0, -0.1), (1.25, -0.09), (1.25, 0.09), (0, 0.1), fill=BARK)
    p.poly((1.2, -0.12), (1.5, -0.17), (1.5, 0.17), (1.2, 0.12), fill=mix(BARK, INK, 0.4))
    edge = (0.28, 0.28), (0.05, 0.33), (-0.12, 0.3), (-0.36, 0.46), (-0.68, 0.38)
    body = (0.36, 0), *edge, (-0.82, 0), *((along, -across) for along, across in edge[::-1])
    for fill, size in ((p.shade, 1), (None, 0.88)):
        p.blob(*((0.1 + size * (along - 0.1), size * across) for along, across in body), fill=fill)
    p.dot(-0.06, 0, 0.17)
    p.limb((-0.5, -0.2), (-0.5, 0.2), width=0.09, fill=BARK)
    p.line((-0.5, 0), (1.25, 0), width=0.06, fill=(236, 226, 200))


def _dial(p, x, y, r, hour=-62, minute=28):
    """Draw a dial with marks and two hands at angles in degrees from three o'clock."""
    p.ball(x, y, r, fill=WHITE)
    for k in range(12):
        a = radians(30 * k)
        p.dot(x + 0.82 * r * cos(a), y + 0.82 * r * sin(a), (0.09 if k % 3 == 0 else 0.045) * r)
    for angle, length, width in ((hour, 0.5, 0.15), (minute, 0.74, 0.1)):
        a = radians(angle)
        p.line((x, y), (x + length * r * cos(a), y + length * r * sin(a)), width=width * r)
    p.dot(x, y, 0.1 * r, fill=(214, 60, 60))


def _wall_clock(p):
    p.ball(0, 0, 0.98)
    p.ball(0, 0, 0.8, fill=p.shade, form="dim")
    _dial(p, 0, 0, 0.74, hour=-150, minute=-40)


def _alarm_clock(p):
    for sign in (-1, 1):
        p.limb((sign * 0.4, 0.7), (sign * 0.62, 0.95), width=0.16, fill=IRON)
        p.ball(sign * 0.5, -0.68, 0.36, 0.26, turn=sign * 38, fill=p.light)
    p.limb((0, -0.6), (0, -0.9), width=0.08, fill=IRON)
    p.limb((-0.12, -0.94), (0.12, -0.94), width=0.12, fill=GOLD)
    p.ball(0, 0.14, 0.8)
    _dial(p, 0, 0.14, 0.6)


def _tall_clock(p):
    p.box(-0.5, 0.8, 0.5, 1, fill=p.shade, form="tube")
    p.box(-0.36, -0.2, 0.36, 0.82, form="tube")
    p.poly(*mirrored((0, -1), (0.3, -0.92), (0.5, -0.72)), fill=p.shade)
    p.box(-0.46, -0.76, 0.46, -0.04, form="tube")
    p.box(-0.22, 0.06, 0.22, 0.72, fill=INK, form="flat")
    p.limb((0, 0.06), (0.06, 0.5), width=0.06, fill=GOLD)
    p.ball(0.07, 0.54, 0.12, fill=GOLD)
    _dial(p, 0, -0.4, 0.32)


OBJECTS = {
    "umbrella": (_open_umbrella, _closed_umbrella, _beach_umbrella),
    "cup": (_mug, _tea_cup, _paper_cup),
    "guitar": (_acoustic_guitar, _electric_guitar, _small_guitar),
    "clock": (_wall_clock, _alarm_clock, _tall_clock),
}
