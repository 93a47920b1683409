"""Drawings of plants and mushrooms: trees, flowers, mushrooms, cacti, apples."""

from math import cos, radians, sin

from nsdlib.twin.scenery.pen import BARK, CREAM, GOLD, INK, LEAF, TAN, WHITE, mirrored, mix


def _round_tree(p):
    p.poly(*mirrored((0.15, 0), (0.17, 0.7), (0.32, 1)), fill=BARK, form="tube")
    p.limb((0, 0.45), (0.35, 0.1), width=0.14, fill=BARK)
    p.limb((0, 0.35), (-0.35, 0.05), width=0.12, fill=BARK)
    for x, y, r in ((0.52, -0.02, 0.4), (-0.5, 0, 0.42), (0, 0.02, 0.42)):
        p.ball(x, y, r, r * 0.88, fill=p.shade)
    for x, y, r in ((0.38, -0.42, 0.46), (-0.4, -0.4, 0.48), (0.02, -0.66, 0.46), (0, -0.25, 0.44)):
        p.ball(x, y, r, r * 0.92)
    for x, y in ((-0.5, -0.5), (-0.1, -0.8), (-0.15, -0.3), (0.3, -0.5)):
        p.dot(x, y, 0.13, 0.08, fill=p.light)


def _fir_tree(p):
    p.box(-0.12, 0.6, 0.12, 1, fill=BARK, form="tube")
    for top, low, half in ((0.1, 0.78, 0.68), (-0.28, 0.38, 0.56), (-0.62, 0, 0.43), (-0.98, -0.36, 0.3)):
        p.poly(*mirrored((0, top), (half, low), (half * 0.5, low - 0.07), (0, low + 0.05)), form="tube")
        p.poly((half * 0.12, top + 0.2), (half, low), (half * 0.5, low - 0.07), (0.05, low + 0.04), fill=p.shade, form=None)


def _palm_tree(p):
    p.limb((0.1, 1), (0.0, 0.5), (0.02, 0), (0.14, -0.42), width=0.26, end=0.13, fill=TAN, form="tube")
    for y in (0.8, 0.6, 0.4, 0.2, 0, -0.2):
        p.line((-0.04 + 0.04 * y, y), (0.13, y + 0.03), width=0.05, fill=BARK)
    for x, y, bend, fill in (
        (0.85, 0.28, 0.3, p.shade), (-0.6, 0.3, 0.3, p.shade), (1.05, -0.3, 0.36, None), (-0.82, -0.25, 0.36, None),
        (0.72, -0.85, 0.24, p.light), (-0.42, -0.85, 0.24, p.light),
    ):  # fmt: skip
        middle = (0.14 + 0.55 * (x - 0.14), -0.45 + 0.5 * (y + 0.45) - bend)
        p.blob((0.14, -0.55), middle, (x, y), (middle[0] * 0.9, middle[1] + 0.26), (0.14, -0.36), fill=fill)
    for x in (0.04, 0.24):
        p.ball(x, -0.32, 0.11, fill=BARK)


def _leaves(p, top):
    """Draw a stalk from `top` down to the ground with two leaves."""
    p.limb((0, top), (0.03, 0.5), (0, 1), width=0.1, fill=LEAF)
    p.blob((0, 0.9), (0.2, 0.5), (0.62, 0.38), (0.45, 0.72), fill=LEAF)
    p.blob((0, 0.98), (-0.2, 0.62), (-0.6, 0.5), (-0.42, 0.84), fill=mix(LEAF, INK, 0.12))


def _daisy(p):
    _leaves(p, 0)
    for k in range(8):
        a = radians(45 * k + 22)
        p.ball(0.42 * cos(a), -0.38 + 0.42 * sin(a), 0.28, 0.19, turn=45 * k + 22, fill=p.shade if k % 2 else None)
    p.ball(0, -0.38, 0.23, fill=GOLD if p.colour[2] > 90 or p.colour[1] < 120 else (150, 84, 40))


def _tulip(p):
    _leaves(p, 0)
    p.blob(*mirrored((0, -0.98), (0.25, -0.5), (0.5, -0.75), (0.5, -0.2), (0, 0.1)), fill=p.shade)
    for s in (-1, 1):
        p.blob((s * 0.52, -0.82), (s * 0.1, -0.4), (0, 0.1), (s * 0.42, -0.06), (s * 0.58, -0.4))
    p.blob(*mirrored((0, -0.7), (0.26, -0.3), (0, 0.12)), fill=p.light)


def _rose(p):
    _leaves(p, 0)
    for k in range(5):
        a = radians(72 * k + 54)
        p.ball(0.32 * cos(a), -0.38 + 0.3 * sin(a), 0.36, 0.34, fill=p.shade if k % 2 else None)
    p.ball(0, -0.4, 0.38, 0.36, fill=p.light)
    p.ball(0.04, -0.36, 0.29, 0.27)
    p.ball(-0.02, -0.4, 0.19, 0.17, fill=p.light)
    p.ball(0.02, -0.38, 0.1, 0.09, fill=p.shade)


def _cap(p, x, y, rx, ry, spots):
    """Draw a cap with spots on the dome."""
    p.pie(x, y, rx, ry, 180, 360)
    p.pie(x, y - 0.01, rx, ry * 0.24, 0, 180, fill=p.shade, form="dim")
    spot = WHITE if min(p.colour) < 180 else (226, 96, 84)
    for dx, dy, r in spots:
        p.dot(x + dx * rx, y + dy * ry, r * rx, r * rx * 0.8, fill=spot)


SPOTS = (
    (-0.52, -0.3, 0.15), (0.02, -0.64, 0.17), (0.5, -0.36, 0.14), (-0.1, -0.2, 0.11), (0.76, -0.12, 0.08), (-0.82, -0.08, 0.07),
)  # fmt: skip


def _spotted_mushroom(p):
    p.blob(*mirrored((0.2, -0.1), (0.24, 0.5), (0.38, 0.9), (0, 1)), fill=CREAM)
    p.blob(*mirrored((0, 0.08), (0.3, 0.12), (0.36, 0.3), (0, 0.26)), fill=WHITE)
    _cap(p, 0, 0, 0.98, 0.98, SPOTS)


def _mushroom_group(p):
    for x, y, size in ((-0.55, 0.1, 0.42), (0.6, 0.3, 0.4), (0.05, -0.25, 0.62)):
        p.limb((x, y), (x, 0.9), width=0.42 * size, end=0.56 * size, fill=CREAM, form="tube")
        _cap(p, x, y + 0.02, size, size * 0.95, SPOTS[:4])


def _tall_mushroom(p):
    p.blob(*mirrored((0.13, -0.1), (0.16, 0.5), (0.25, 0.92), (0, 0.98)), fill=CREAM)
    p.blob(*mirrored((0, -1), (0.22, -0.7), (0.46, -0.1), (0.62, 0.22), (0, 0.34)))
    p.ball(0, 0.23, 0.56, 0.09, fill=p.shade, form="dim")
    for x in (-0.3, 0, 0.3):
        p.line((x * 0.3, -0.5), (x * 0.9, 0.08), width=0.07, fill=p.light)


def _ribs(p, xs, top, low):
    """Draw the ribs and prickles of a cactus."""
    for x in xs:
        p.line((x, top), (x, low), width=0.05, fill=p.shade)
        for k in range(4):
            p.dot(x, top + (low - top) * (k + 0.5) / 4, 0.035, fill=p.pale)


def _tall_cactus(p):
    p.limb((0, 0.2), (0.45, 0.2), (0.58, 0), (0.58, -0.45), width=0.27)
    p.limb((0, 0.45), (-0.42, 0.45), (-0.56, 0.2), (-0.56, -0.2), width=0.27)
    p.limb((0, -0.8), (0, 0.9), width=0.46, form="tube")
    _ribs(p, (-0.1, 0.1), -0.75, 0.85)
    _ribs(p, (0.58,), -0.45, -0.05)
    _ribs(p, (-0.56,), -0.2, 0.15)


def _round_cactus(p):
    p.ball(0, -0.08, 0.74, 0.72)
    for bend in (-0.45, -0.16, 0.16, 0.45):
        p.line((bend * 0.5, -0.72), (bend * 1.25, -0.1), (bend * 0.8, 0.45), width=0.06, fill=p.shade)
        for y in (-0.4, -0.1, 0.2):
            p.dot(bend * 1.15, y, 0.04, fill=p.pale)
    for k in range(5):
        a = radians(72 * k - 90)
        p.ball(0.14 * cos(a), -0.82 + 0.1 * sin(a), 0.13, fill=(244, 120, 160))
    p.dot(0, -0.82, 0.08, fill=GOLD)
    p.poly(*mirrored((0.52, 0.45), (0.4, 1)), fill=(196, 106, 70), form="tube")
    p.box(-0.6, 0.38, 0.6, 0.56, fill=(214, 124, 84), form="tube")


def _pear_cactus(p):
    pads = (-0.46, -0.28, 0.3, 0.4, -28), (0.46, -0.2, 0.28, 0.38, 32), (0.04, -0.6, 0.28, 0.36, 4), (0, 0.4, 0.42, 0.6, 0)
    for x, y, rx, ry, turn in pads:
        p.ball(x, y, rx, ry, turn=turn)
        for dx, dy in ((-0.4, -0.4), (0.35, -0.3), (0, 0.1), (-0.4, 0.4), (0.4, 0.45), (0, -0.7)):
            p.dot(x + dx * rx, y + dy * ry, 0.04, fill=p.pale)
    for x, y in ((0.04, -0.96), (-0.62, -0.62), (0.66, -0.5), (-0.2, -0.84)):
        p.ball(x, y, 0.1, 0.12, fill=(232, 84, 124))


def _stalk(p, x, y):
    """Draw an apple's stalk and leaf."""
    p.limb((x, y + 0.14), (x + 0.02, y - 0.12), (x + 0.1, y - 0.28), width=0.09, fill=BARK)
    p.blob((x + 0.06, y - 0.1), (x + 0.28, y - 0.3), (x + 0.56, y - 0.22), (x + 0.34, y - 0.02), fill=LEAF)


# lower and left outline of an apple
LEFT = ((0.32, 0.9), (0, 0.84), (-0.32, 0.9), (-0.68, 0.58), (-0.84, -0.02), (-0.74, -0.48), (-0.34, -0.66))


def _apple(p):
    p.blob((0, -0.52), (0.34, -0.66), (0.74, -0.48), (0.84, -0.02), (0.68, 0.58), *LEFT)
    p.ball(0, -0.5, 0.24, 0.09, fill=p.shade, form="dim")
    p.dot(-0.42, -0.22, 0.12, 0.2, turn=25, fill=p.light)
    p.dot(-0.46, -0.3, 0.05, 0.09, turn=25, fill=WHITE)
    _stalk(p, 0, -0.56)


def _bitten_apple(p):
    p.blob(
        (0, -0.52), (0.32, -0.66), (0.66, -0.54), (0.5, -0.36), (0.52, -0.2), (0.36, -0.02), (0.46, 0.16), (0.5, 0.36),
        (0.72, 0.5), *LEFT,
    )  # fmt: skip
    p.blob(
        (0.66, -0.54), (0.82, -0.3), (0.7, 0), (0.82, 0.26), (0.72, 0.5), (0.5, 0.36), (0.44, 0.16), (0.34, -0.02), (0.5, -0.2),
        fill=CREAM, form="slope",
    )  # fmt: skip
    p.dot(-0.42, -0.2, 0.12, 0.22, turn=25, fill=p.light)
    _stalk(p, 0, -0.56)


def _half_apple(p):
    p.blob(
        (-0.6, -0.62), (-0.3, -0.72), (0.1, -0.5), (0.2, 0), (0, 0.6), (-0.5, 0.78), (-0.96, 0.6), (-1.16, 0), (-1.08, -0.5),
        (-0.8, -0.7),
    )  # fmt: skip
    p.dot(-0.88, -0.3, 0.09, 0.17, turn=25, fill=p.light)
    _stalk(p, -0.5, -0.66)
    p.blob(
        (0.42, -0.3), (0.7, -0.36), (1, -0.1), (1, 0.4), (0.7, 0.82), (0.42, 0.78), (0.1, 0.82), (-0.18, 0.4), (-0.18, -0.1),
        (0.1, -0.36),
    )  # fmt: skip
    p.blob(
        (0.42, -0.18), (0.7, -0.24), (0.88, 0), (0.86, 0.36), (0.64, 0.68), (0.42, 0.64), (0.18, 0.68), (-0.06, 0.36),
        (-0.06, 0), (0.12, -0.24), fill=CREAM, form="slope",
    )  # fmt: skip
    for x, turn in ((0.33, 10), (0.51, -10)):
        p.dot(x, 0.22, 0.06, 0.13, turn=turn, fill=BARK)


PLANTS = {
    "tree": (_round_tree, _fir_tree, _palm_tree),
    "flower": (_daisy, _tulip, _rose),
    "mushroom": (_spotted_mushroom, _mushroom_group, _tall_mushroom),
    "cactus": (_tall_cactus, _round_cactus, _pear_cactus),
    "apple": (_apple, _bitten_apple, _half_apple),
}
