"""Drawings of apples."""

from nsdlib.twin.scenery.pen import BARK, CREAM, LEAF, WHITE


def _stalk(p, x, y):
    """Draw an apple's stalk and leaf."""
    p.limb((x, y + 0.14), (x + 0.02, y - 0.12), (x + 0.1, y - 0.28), width=0.09, fill=BARK)
    p.blob((x + 0.06, y - 0.1), (x + 0.28, y - 0.3), (x + 0.56, y - 0.22), (x + 0.34, y - 0.02), fill=LEAF)


# lower and left outline
LEFT = ((0.32, 0.9), (0, 0.84), (-0.32, 0.9), (-0.68, 0.58), (-0.84, -0.02), (-0.74, -0.48), (-0.34, -0.66))


def apple(p):
    """Draw a whole apple."""
    p.blob((0, -0.52), (0.34, -0.66), (0.74, -0.48), (0.84, -0.02), (0.68, 0.58), *LEFT)
    p.ball(0, -0.5, 0.24, 0.09, fill=p.shade, form="dim")
    p.dot(-0.42, -0.22, 0.12, 0.2, turn=25, fill=p.light)
    p.dot(-0.46, -0.3, 0.05, 0.09, turn=25, fill=WHITE)
    _stalk(p, 0, -0.56)


def bitten_apple(p):
    """Draw an apple with a bite taken out of its side."""
    p.blob(
        (0, -0.52), (0.32, -0.66), (0.66, -0.54), (0.5, -0.36), (0.52, -0.2), (0.36, -0.02), (0.46, 0.16), (0.5, 0.36),
        (0.72, 0.5), *LEFT,
    )  # fmt: skip
    flesh = (
        (0.66, -0.54), (0.82, -0.3), (0.7, 0), (0.82, 0.26), (0.72, 0.5), (0.5, 0.36), (0.44, 0.16), (0.34, -0.02), (0.5, -0.2),
    )  # fmt: skip
    p.blob(*flesh, fill=CREAM, form="slope")
    p.dot(-0.42, -0.2, 0.12, 0.22, turn=25, fill=p.light)
    _stalk(p, 0, -0.56)


def half_apple(p):
    """Draw a whole apple and a half one before it."""
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
    for x in (0.33, 0.51):
        p.dot(x, 0.22, 0.06, 0.13, turn=10 if x < 0.4 else -10, fill=BARK)


APPLES = {"apple": (apple, bitten_apple, half_apple)}
