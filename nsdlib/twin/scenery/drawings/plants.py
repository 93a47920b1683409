"""Drawings of plants and mushrooms: trees, flowers, mushrooms, cacti."""

from math import cos, radians, sin

from nsdlib.twin.scenery.pen import BARK, CREAM, GOLD, INK, LEAF, TAN, WHITE, mix


def round_tree(p):
    """Draw a broad leafy tree."""
    p.poly((-0.15, 0), (0.15, 0), (0.17, 0.7), (0.32, 1), (-0.32, 1), (-0.17, 0.7), fill=BARK, form="tube")
    p.limb((0, 0.45), (0.35, 0.1), width=0.14, fill=BARK)
    p.limb((0, 0.35), (-0.35, 0.05), width=0.12, fill=BARK)
    for x, y, r in ((0.52, -0.02, 0.4), (-0.5, 0, 0.42), (0, 0.02, 0.42)):
        p.ball(x, y, r, r * 0.88, fill=p.shade)
    for x, y, r in ((0.38, -0.42, 0.46), (-0.4, -0.4, 0.48), (0.02, -0.66, 0.46), (0, -0.25, 0.44)):
        p.ball(x, y, r, r * 0.92)
    for x, y in ((-0.5, -0.5), (-0.1, -0.8), (-0.15, -0.3), (0.3, -0.5)):
        p.dot(x, y, 0.13, 0.08, fill=p.light)


def fir_tree(p):
    """Draw a fir tree of four tiers."""
    p.box(-0.12, 0.6, 0.12, 1, fill=BARK, form="tube")
    for top, low, half in ((0.1, 0.78, 0.68), (-0.28, 0.38, 0.56), (-0.62, 0, 0.43), (-0.98, -0.36, 0.3)):
        p.poly(
            (0, top), (half, low), (half * 0.5, low - 0.07), (0, low + 0.05), (-half * 0.5, low - 0.07), (-half, low), form="tube"
        )
        p.poly((half * 0.12, top + 0.2), (half, low), (half * 0.5, low - 0.07), (0.05, low + 0.04), fill=p.shade, form=None)


def palm_tree(p):
    """Draw a palm tree with a bent trunk."""
    p.limb((0.1, 1), (0.0, 0.5), (0.02, 0), (0.14, -0.42), width=0.26, end=0.13, fill=TAN, form="tube")
    for y in (0.8, 0.6, 0.4, 0.2, 0, -0.2):
        p.line((-0.04 + 0.04 * y, y), (0.13, y + 0.03), width=0.05, fill=BARK)
    for x, y, bend, fill in (
        (0.85, 0.28, 0.3, p.shade),
        (-0.6, 0.3, 0.3, p.shade),
        (1.05, -0.3, 0.36, None),
        (-0.82, -0.25, 0.36, None),
        (0.72, -0.85, 0.24, p.light),
        (-0.42, -0.85, 0.24, p.light),
    ):
        middle = (0.14 + 0.55 * (x - 0.14), -0.45 + 0.5 * (y + 0.45) - bend)
        p.blob((0.14, -0.55), middle, (x, y), (middle[0] * 0.9, middle[1] + 0.26), (0.14, -0.36), fill=fill)
    for x in (0.04, 0.24):
        p.ball(x, -0.32, 0.11, fill=BARK)


def _leaves(p, top):
    """Draw a stalk from `top` down to the ground with two leaves."""
    p.limb((0, top), (0.03, 0.5), (0, 1), width=0.1, fill=LEAF)
    p.blob((0, 0.9), (0.2, 0.5), (0.62, 0.38), (0.45, 0.72), fill=LEAF)
    p.blob((0, 0.98), (-0.2, 0.62), (-0.6, 0.5), (-0.42, 0.84), fill=mix(LEAF, INK, 0.12))


def daisy(p):
    """Draw a flower with eight petals about a golden heart."""
    _leaves(p, 0)
    for k in range(8):
        a = radians(45 * k + 22)
        p.ball(0.42 * cos(a), -0.38 + 0.42 * sin(a), 0.28, 0.19, turn=45 * k + 22, fill=p.shade if k % 2 else None)
    p.ball(0, -0.38, 0.23, fill=GOLD if p.colour[2] > 90 or p.colour[1] < 120 else (150, 84, 40))


def tulip(p):
    """Draw a tulip."""
    _leaves(p, 0)
    p.blob(
        (-0.5, -0.75), (-0.25, -0.5), (0, -0.98), (0.25, -0.5), (0.5, -0.75), (0.5, -0.2), (0, 0.1), (-0.5, -0.2), fill=p.shade
    )
    p.blob((-0.52, -0.82), (-0.1, -0.4), (0, 0.1), (-0.42, -0.06), (-0.58, -0.4))
    p.blob((0.52, -0.82), (0.1, -0.4), (0, 0.1), (0.42, -0.06), (0.58, -0.4))
    p.blob((0, -0.7), (0.26, -0.3), (0, 0.12), (-0.26, -0.3), fill=p.light)


def rose(p):
    """Draw a rose seen half from above."""
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


def spotted_mushroom(p):
    """Draw a toadstool with white spots."""
    p.blob((-0.2, -0.1), (0.2, -0.1), (0.24, 0.5), (0.38, 0.9), (0, 1), (-0.38, 0.9), (-0.24, 0.5), fill=CREAM)
    p.blob((-0.3, 0.12), (0, 0.08), (0.3, 0.12), (0.36, 0.3), (0, 0.26), (-0.36, 0.3), fill=WHITE)
    _cap(p, 0, 0, 0.98, 0.98, SPOTS)


def mushroom_group(p):
    """Draw three mushrooms together."""
    for x, y, size in ((-0.55, 0.1, 0.42), (0.6, 0.3, 0.4), (0.05, -0.25, 0.62)):
        p.limb((x, y), (x, 0.9), width=0.42 * size, end=0.56 * size, fill=CREAM, form="tube")
        _cap(p, x, y + 0.02, size, size * 0.95, SPOTS[:4])


def tall_mushroom(p):
    """Draw a mushroom with a pointed hat."""
    p.blob((-0.13, -0.1), (0.13, -0.1), (0.16, 0.5), (0.25, 0.92), (0, 0.98), (-0.25, 0.92), (-0.16, 0.5), fill=CREAM)
    p.blob((0, -1), (0.22, -0.7), (0.46, -0.1), (0.62, 0.22), (0, 0.34), (-0.62, 0.22), (-0.46, -0.1), (-0.22, -0.7))
    p.ball(0, 0.23, 0.56, 0.09, fill=p.shade, form="dim")
    for x in (-0.3, 0, 0.3):
        p.line((x * 0.3, -0.5), (x * 0.9, 0.08), width=0.07, fill=p.light)


def _ribs(p, xs, top, low):
    """Draw the ribs and prickles of a cactus."""
    for x in xs:
        p.line((x, top), (x, low), width=0.05, fill=p.shade)
        for k in range(4):
            p.dot(x, top + (low - top) * (k + 0.5) / 4, 0.035, fill=p.pale)


def tall_cactus(p):
    """Draw a cactus with two arms."""
    p.limb((0, 0.2), (0.45, 0.2), (0.58, 0), (0.58, -0.45), width=0.27)
    p.limb((0, 0.45), (-0.42, 0.45), (-0.56, 0.2), (-0.56, -0.2), width=0.27)
    p.limb((0, -0.8), (0, 0.9), width=0.46, form="tube")
    _ribs(p, (-0.1, 0.1), -0.75, 0.85)
    _ribs(p, (0.58,), -0.45, -0.05)
    _ribs(p, (-0.56,), -0.2, 0.15)


def round_cactus(p):
    """Draw a ball cactus in a pot, with a flower."""
    p.ball(0, -0.08, 0.74, 0.72)
    for bend in (-0.45, -0.16, 0.16, 0.45):
        p.line((bend * 0.5, -0.72), (bend * 1.25, -0.1), (bend * 0.8, 0.45), width=0.06, fill=p.shade)
        for y in (-0.4, -0.1, 0.2):
            p.dot(bend * 1.15, y, 0.04, fill=p.pale)
    for k in range(5):
        a = radians(72 * k - 90)
        p.ball(0.14 * cos(a), -0.82 + 0.1 * sin(a), 0.13, fill=(244, 120, 160))
    p.dot(0, -0.82, 0.08, fill=GOLD)
    p.poly((-0.52, 0.45), (0.52, 0.45), (0.4, 1), (-0.4, 1), fill=(196, 106, 70), form="tube")
    p.box(-0.6, 0.38, 0.6, 0.56, fill=(214, 124, 84), form="tube")


def pear_cactus(p):
    """Draw a prickly pear: flat round pads on one another."""
    for x, y, rx, ry, turn in (
        (-0.46, -0.28, 0.3, 0.4, -28),
        (0.46, -0.2, 0.28, 0.38, 32),
        (0.04, -0.6, 0.28, 0.36, 4),
        (0, 0.4, 0.42, 0.6, 0),
    ):
        p.ball(x, y, rx, ry, turn=turn)
        for dx, dy in ((-0.4, -0.4), (0.35, -0.3), (0, 0.1), (-0.4, 0.4), (0.4, 0.45), (0, -0.7)):
            p.dot(x + dx * rx, y + dy * ry, 0.04, fill=p.pale)
    for x, y in ((0.04, -0.96), (-0.62, -0.62), (0.66, -0.5), (-0.2, -0.84)):
        p.ball(x, y, 0.1, 0.12, fill=(232, 84, 124))


PLANTS = {
    "tree": (round_tree, fir_tree, palm_tree),
    "flower": (daisy, tulip, rose),
    "mushroom": (spotted_mushroom, mushroom_group, tall_mushroom),
    "cactus": (tall_cactus, round_cactus, pear_cactus),
}
