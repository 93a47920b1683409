"""Drawings of vehicles: cars, boats, trains, balloons, rockets."""

from math import cos, radians, sin

from nsdlib.twin.scenery.pen import BARK, CREAM, GLASS, GOLD, INK, IRON, LAMP, SAND, STEEL, WHITE, WOOD, mirrored, mix


def _wheel(p, x, y, r, hub=STEEL):
    """Draw a wheel with its tyre."""
    p.ball(x, y, r, fill=INK)
    p.ball(x, y, 0.58 * r, fill=hub)
    p.dot(x, y, 0.2 * r, fill=IRON)


def _small_car(p):
    p.blob(
        (-0.98, 0.2), (-0.9, -0.02), (-0.62, -0.14), (-0.42, -0.54), (0, -0.66), (0.36, -0.54), (0.6, -0.12), (0.92, 0),
        (0.99, 0.26), (0.9, 0.42), (0, 0.44), (-0.9, 0.42),
    )  # fmt: skip
    p.blob((-0.48, -0.14), (-0.32, -0.44), (-0.06, -0.52), (-0.06, -0.12), fill=GLASS, form="slope")
    p.blob((0.04, -0.12), (0.04, -0.52), (0.28, -0.44), (0.46, -0.12), fill=GLASS, form="slope")
    p.box(-0.02, -0.1, 0.02, 0.36, fill=p.shade, form=None)
    p.line((-0.9, 0.3), (0.92, 0.3), width=0.08, fill=p.shade)
    p.line((0.1, 0.04), (0.24, 0.04), width=0.06, fill=p.deep)
    p.ball(0.88, 0.1, 0.1, 0.11, fill=LAMP)
    p.ball(-0.92, 0.12, 0.06, 0.09, fill=(216, 50, 50))
    for x in (-0.55, 0.56):
        _wheel(p, x, 0.42, 0.25)


def _sports_car(p):
    p.poly((-1, -0.28), (-0.72, -0.3), (-0.7, -0.22), (-0.98, -0.2), fill=p.shade)
    p.limb((-0.86, -0.22), (-0.84, -0.06), width=0.06, fill=INK)
    p.blob(
        (-1, 0), (-0.74, -0.12), (-0.4, -0.34), (0, -0.4), (0.24, -0.3), (0.44, -0.08), (0.84, 0.02), (1.02, 0.16),
        (0.96, 0.26), (0, 0.28), (-0.96, 0.26),
    )  # fmt: skip
    p.blob((-0.4, -0.1), (-0.3, -0.26), (0, -0.32), (0.18, -0.24), (0.32, -0.06), fill=GLASS, form="slope")
    p.line((-0.06, -0.3), (-0.08, -0.08), width=0.06)
    p.blob((-0.9, 0.1), (0.3, 0.04), (0.9, 0.12), (0.3, 0.13), fill=p.light, form=None)
    p.ball(0.86, 0.09, 0.1, 0.05, turn=14, fill=LAMP)
    for x in (-0.58, 0.6):
        _wheel(p, x, 0.22, 0.22, hub=GOLD)


def _pickup(p):
    p.box(-0.98, -0.02, 0.1, 0.36)
    p.blob((0.02, 0.36), (0.02, -0.46), (0.12, -0.56), (0.42, -0.54), (0.62, -0.06), (0.92, 0), (1, 0.14), (0.98, 0.36))
    p.poly((0.12, -0.06), (0.12, -0.42), (0.37, -0.42), (0.52, -0.06), fill=GLASS)
    p.box(-1, -0.1, 0.04, 0, fill=p.shade)
    p.box(-0.98, 0.3, 0.98, 0.42, fill=IRON)
    p.blob((-0.9, -0.08), (-0.7, -0.3), (-0.4, -0.24), (-0.1, -0.32), (-0.04, -0.08), fill=SAND)
    p.box(-0.9, 0.1, 0, 0.17, fill=p.light, form=None)
    p.ball(0.93, 0.12, 0.08, 0.1, fill=LAMP)
    for x in (-0.58, 0.58):
        _wheel(p, x, 0.44, 0.26)


def _sailing_boat(p):
    p.limb((-0.04, -1), (-0.04, 0.6), width=0.08, fill=WOOD, form="tube")
    p.blob((0.02, -0.94), (0.42, -0.3), (0.8, 0.38), (0.4, 0.4), (0.02, 0.38), form="slope")
    p.poly((-0.12, -0.72), (-0.12, 0.38), (-0.72, 0.38), fill=p.light)
    p.poly((0.02, -0.14), (0.48, -0.16), (0.6, 0.06), (0.02, 0.1), fill=p.shade, form=None)
    p.poly((-0.96, 0.5), (0.98, 0.5), (0.66, 0.96), (-0.62, 0.96), fill=WOOD)
    p.box(-0.98, 0.48, 1, 0.58, fill=CREAM)
    p.poly((-0.04, -1), (-0.32, -0.92), (-0.04, -0.84), fill=GOLD)


def _steamer(p):
    for x in (-0.36, 0.02):
        p.box(x, -0.62, x + 0.24, -0.1, form="tube")
        p.box(x, -0.66, x + 0.24, -0.5, fill=INK, form="tube")
    for x, y, r in ((-0.34, -0.78, 0.13), (-0.52, -0.88, 0.16), (-0.74, -0.96, 0.18)):
        p.ball(x, y, r, fill=(226, 228, 234))
    p.box(-0.6, -0.18, 0.52, 0.28, fill=WHITE if min(p.colour) < 200 else SAND)
    p.box(0.28, -0.4, 0.52, -0.1, fill=WHITE if min(p.colour) < 200 else SAND)
    p.box(0.34, -0.32, 0.52, -0.2, fill=GLASS)
    for x in (-0.42, -0.14, 0.14, 0.4):
        p.dot(x, 0.04, 0.085, fill=(70, 130, 180))
    p.poly((-0.94, 0.18), (1, 0.1), (0.72, 0.76), (-0.74, 0.76))
    p.poly((-0.83, 0.54), (0.82, 0.54), (0.72, 0.76), (-0.74, 0.76), fill=p.shade)
    p.line((-0.86, 0.3), (0.88, 0.26), width=0.07, fill=p.pale)


def _rowing_boat(p):
    p.limb((0.3, 0.1), (-0.5, -0.5), width=0.08, fill=WOOD)
    p.blob(
        (-1, -0.22), (-0.5, -0.04), (0.4, -0.04), (1, -0.28), (0.6, 0.06), (-0.6, 0.08), fill=mix(p.shade, INK, 0.3), form="flat"
    )
    for x in (-0.36, 0.3):
        p.poly((x - 0.12, -0.06), (x + 0.12, -0.06), (x + 0.16, 0.06), (x - 0.16, 0.06), fill=WOOD)
    p.blob((-1, -0.22), (-0.5, 0.02), (0, 0.07), (0.5, 0.02), (1, -0.28), (0.84, 0.26), (0.5, 0.48), (-0.5, 0.48), (-0.86, 0.24))
    p.line((-0.94, -0.06), (-0.4, 0.17), (0.4, 0.17), (0.94, -0.1), width=0.09, fill=p.light)
    p.line((-0.8, 0.26), (0, 0.38), (0.8, 0.24), width=0.07, fill=p.shade)
    p.limb((-0.2, -0.1), (0.62, 0.5), width=0.08, fill=SAND)
    p.ball(0.72, 0.57, 0.2, 0.09, turn=36, fill=SAND)


def _steam_train(p):
    for x, y, r in ((0.46, -0.68, 0.13), (0.28, -0.82, 0.17), (0, -0.86, 0.2)):
        p.ball(x, y, r, fill=(226, 228, 234))
    p.poly((0.44, -0.52), (0.76, -0.52), (0.7, -0.1), (0.5, -0.1), fill=IRON, form="tube")
    p.ball(0.06, -0.16, 0.15, 0.22, fill=GOLD)
    p.box(-0.2, -0.16, 0.82, 0.38, form="slope")
    p.ball(0.82, 0.11, 0.1, 0.28, fill=p.shade)
    p.box(-0.84, -0.46, -0.16, 0.42)
    p.box(-0.94, -0.6, -0.08, -0.44, fill=p.shade)
    p.box(-0.7, -0.36, -0.3, 0.02, fill=p.shade)
    p.box(-0.66, -0.32, -0.34, -0.02, fill=GLASS)
    for x in (0.1, 0.46):
        p.box(x, -0.16, x + 0.06, 0.38, fill=GOLD, form=None)
    p.box(-0.9, 0.36, 0.9, 0.48, fill=IRON)
    p.poly((0.8, 0.4), (1, 0.72), (0.72, 0.72), fill=(206, 60, 50))
    for x, r in ((-0.6, 0.26), (-0.06, 0.22), (0.44, 0.22)):
        _wheel(p, x, 0.74 - r, r, hub=(206, 60, 50) if p.colour[0] < 150 else STEEL)
    p.limb((-0.6, 0.52), (0.44, 0.54), width=0.07, fill=STEEL)


def _fast_train(p):
    p.box(-1, 0.3, 0.7, 0.42, fill=IRON)
    for x in (-0.8, -0.5, 0.1, 0.4):
        p.ball(x, 0.42, 0.11, fill=INK)
    p.blob(
        (-1.0, -0.4), (-0.9, -0.42), (0.2, -0.42), (0.56, -0.28), (0.86, 0.04), (1, 0.26), (0.9, 0.34), (-0.9, 0.34),
        (-1, 0.34), form="slope",
    )  # fmt: skip
    p.box(-0.99, 0.12, 0.9, 0.22, fill=p.pale if min(p.colour) < 200 else (90, 130, 190), form=None)
    for x in (-0.88, -0.6, -0.32, -0.04):
        p.box(x, -0.24, x + 0.2, 0, fill=GLASS)
    p.blob((0.34, -0.26), (0.54, -0.2), (0.74, 0.02), (0.4, 0), fill=INK, form="slope")
    p.box(-0.37, -0.38, -0.35, 0.3, fill=p.shade, form=None)
    p.ball(0.86, 0.2, 0.08, 0.05, fill=LAMP)
    p.limb((-0.5, -0.42), (-0.36, -0.58), (-0.5, -0.72), width=0.05, fill=IRON)


def _front_train(p):
    for s in (-1, 1):
        p.poly((s * 0.34, 0.7), (s * 0.46, 0.7), (s * 0.84, 1), (s * 0.66, 1), fill=STEEL)
    for y, half in ((0.78, 0.56), (0.92, 0.8)):
        p.box(-half, y, half, y + 0.06, fill=BARK)
    p.blob(*mirrored((0.4, -0.94), (0.62, -0.6), (0.66, 0.5), (0.5, 0.72)), form="tube")
    p.blob(*mirrored((0.4, -0.7), (0.5, -0.3), (0.46, -0.1)), fill=GLASS, form="slope")
    p.box(-0.025, -0.7, 0.025, -0.1, fill=p.shade, form=None)
    p.box(-0.2, -0.9, 0.2, -0.78, fill=LAMP, form="flat")
    p.limb((-0.58, 0.14), (0.58, 0.14), width=0.14, fill=p.pale if min(p.colour) < 200 else (90, 130, 190))
    for s in (-1, 1):
        p.ball(s * 0.42, 0.38, 0.13, fill=LAMP)
    p.box(-0.5, 0.58, 0.5, 0.74, fill=IRON)


FLAME = (255, 150, 40)


def _basket(p, y, size):
    """Draw a balloon's basket and ropes below the height y."""
    p = p.at(0, y, size)
    for s in (-1, 1):
        p.limb((s * 0.3, -0.32), (s * 0.17, 0), width=0.05, fill=BARK)
    p.blob((-0.2, 0), (0.2, 0), (0.18, 0.26), (0, 0.3), (-0.18, 0.26), fill=WOOD, form="tube")
    p.box(-0.22, -0.03, 0.22, 0.05, fill=SAND)


def _envelope(p):
    """Draw a balloon's basket and envelope."""
    _basket(p, 0.7, 1)
    p.blob(*mirrored((0, -1), (0.48, -0.9), (0.78, -0.5), (0.72, -0.08), (0.44, 0.28), (0.2, 0.44)))


def _striped_balloon(p):
    _envelope(p)
    for half, fill in ((0.58, p.pale if min(p.colour) < 200 else p.shade), (0.34, p.colour)):
        gore = mirrored((0, -1), (half, -0.62), (half * 1.02, -0.3), (half * 0.7, 0.16), (half * 0.3, 0.4))
        p.blob(*gore, fill=fill, form=None)
    p.blob(*mirrored((0, 0.36), (0.24, 0.4), (0.18, 0.47)), fill=p.shade, form=None)


def _banded_balloon(p):
    _envelope(p)
    zigzag = [(x, -0.42 if k % 2 else -0.24) for k, x in enumerate((-0.74, -0.5, -0.25, 0, 0.25, 0.5, 0.74))]
    band = (*zigzag, *((x, y + 0.22) for x, y in zigzag[::-1]))
    p.poly(*band, fill=WHITE if min(p.colour) < 200 else p.shade, form=None)
    p.blob(*mirrored((0, 0.3), (0.44, 0.24), (0.18, 0.46)), fill=p.shade, form=None)
    p.blob(*mirrored((0, -1), (0.36, -0.86), (0, -0.78)), fill=p.shade, form=None)


def _round_balloon(p):
    p.limb((-0.4, 0.3), (-0.14, 0.7), width=0.05, fill=BARK)
    p.limb((0.4, 0.3), (0.14, 0.7), width=0.05, fill=BARK)
    _basket(p, 0.74, 0.9)
    p.ball(0, -0.26, 0.76, 0.74)
    p.blob(*mirrored((0, 0.14), (0.72, -0.02), (0.62, 0.18), (0, 0.32)), fill=p.light, form=None)
    star = [(r * sin(radians(36 * k)), -0.38 - r * cos(radians(36 * k))) for k, r in enumerate((0.42, 0.18) * 5)]
    p.poly(*star, fill=GOLD if p.colour[2] > 90 or p.colour[1] < 120 else WHITE, form=None)


def _flame(p, y, size):
    """Draw a rocket's flame below the height y."""
    for fill, share in ((FLAME, 1), ((255, 214, 80), 0.62)):
        flame = p.at(0, y, size * share)
        flame.blob((-0.2, 0), (0.2, 0), (0.16, 0.2), (0, 0.46), (-0.16, 0.2), fill=fill, form=None)


def _round_rocket(p):
    _flame(p, 0.62, 0.9)
    for s in (-1, 1):
        p.blob((s * 0.26, 0.1), (s * 0.56, 0.4), (s * 0.6, 0.86), (s * 0.42, 0.68), (s * 0.2, 0.62), fill=p.shade)
    p.blob(*mirrored((0, -1), (0.26, -0.68), (0.4, -0.2), (0.36, 0.3), (0.22, 0.64)), form="tube")
    p.blob(*mirrored((0, -1), (0.16, -0.84), (0.28, -0.62), (0, -0.56)), fill=p.shade, form=None)
    p.ball(0, -0.24, 0.22, fill=p.pale if min(p.colour) < 200 else p.deep)
    p.ball(0, -0.24, 0.15, fill=(90, 170, 220))
    p.line((-0.34, 0.28), (0, 0.34), (0.34, 0.28), width=0.1, fill=p.light)
    p.limb((0, 0.3), (0, 0.74), width=0.1, fill=p.shade)


def _slim_rocket(p):
    for s in (-1, 0, 1):
        p.blob((s * 0.3 - 0.08, 0.66), (s * 0.3 + 0.08, 0.66), (s * 0.3, 0.98), fill=FLAME, form=None)
    booster = (0.3, -0.16), (0.42, 0.06), (0.42, 0.7), (0.3, 0.72), (0.18, 0.7), (0.18, 0.06)
    for s in (-1, 1):
        p.blob(*((s * x, y) for x, y in booster), fill=p.shade, form="tube")
    p.blob(*mirrored((0, -1), (0.14, -0.8), (0.21, -0.5), (0.21, 0.5), (0.18, 0.74)), form="tube")
    for y in (-0.62, 0.3):
        p.box(-0.2, y, 0.2, y + 0.12, fill=p.pale if min(p.colour) < 200 else p.deep, form=None)
    p.ball(0, -0.24, 0.12, fill=(90, 170, 220))


def _tilted_rocket(p):
    p = p.mapped(lambda x, y: (0.71 * (x - y), 0.71 * (x + y)))  # turned by an eighth of a circle
    p.blob((-0.17, 0.6), (0.17, 0.6), (0.14, 0.8), (0, 1.16), (-0.14, 0.8), fill=FLAME, form=None)
    p.blob((-0.1, 0.6), (0.1, 0.6), (0, 0.92), fill=(255, 214, 80), form=None)
    for s in (-1, 1):
        p.poly((s * 0.26, 0.04), (s * 0.62, 0.5), (s * 0.56, 0.8), (s * 0.2, 0.58), fill=p.shade)
    p.blob(*mirrored((0, -1.1), (0.22, -0.78), (0.36, -0.3), (0.32, 0.3), (0.2, 0.62)))
    p.blob(*mirrored((0, -1.1), (0.14, -0.94), (0.26, -0.66), (0, -0.6)), fill=p.shade, form=None)
    for y, r in ((-0.3, 0.17), (0.14, 0.12)):
        p.ball(0, y, r, fill=p.pale if min(p.colour) < 200 else p.deep)
        p.ball(0, y, 0.68 * r, fill=(90, 170, 220))


VEHICLES = {
    "car": (_small_car, _sports_car, _pickup),
    "boat": (_sailing_boat, _steamer, _rowing_boat),
    "train": (_steam_train, _fast_train, _front_train),
    "balloon": (_striped_balloon, _banded_balloon, _round_balloon),
    "rocket": (_round_rocket, _slim_rocket, _tilted_rocket),
}
