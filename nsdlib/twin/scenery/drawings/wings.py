"""Drawings of animals with wings or fins: birds, fish, butterflies."""

from nsdlib.twin.scenery.pen import BARK, INK, WHITE

BEAK = (246, 158, 50)


def song_bird(p):
    """Draw a plump bird perched on a twig."""
    p.limb((-0.7, 0.86), (0.75, 0.78), width=0.14, fill=BARK)
    p.poly((-0.5, 0.1), (-1, 0.42), (-0.94, 0.62), (-0.3, 0.5), fill=p.shade)
    for x in (-0.02, 0.2):
        p.limb((x, 0.5), (x + 0.03, 0.78), width=0.08, fill=BEAK)
    p.poly((0.66, -0.5), (1, -0.32), (0.64, -0.2), fill=BEAK)
    p.blob(
        (0.28, -0.84), (0.62, -0.68), (0.7, -0.36), (0.6, 0.2), (0.2, 0.6), (-0.3, 0.56), (-0.62, 0.26), (-0.3, -0.2), (0, -0.66)
    )
    p.dot(0.34, 0.2, 0.22, 0.32, turn=20, fill=p.pale)
    p.blob((0.02, -0.2), (0.14, 0.14), (-0.2, 0.42), (-0.84, 0.42), (-0.5, 0.1), (-0.22, -0.18), fill=p.shade)
    p.line((-0.05, 0.1), (-0.5, 0.32), width=0.07, fill=p.light)
    p.eye(0.42, -0.46, 0.13)


def flying_bird(p):
    """Draw a bird on the wing."""
    p.blob((0.06, -0.06), (0.28, -0.5), (0.66, -0.86), (0.6, -0.4), (0.34, 0.02), fill=p.shade)
    p.poly((-0.5, 0.12), (-1, 0.02), (-0.88, 0.2), (-1, 0.4), (-0.46, 0.3), fill=p.shade)
    p.poly((0.86, -0.02), (1.08, 0.1), (0.84, 0.17), fill=BEAK)
    p.blob((-0.6, 0.16), (-0.1, -0.04), (0.4, -0.06), (0.66, -0.18), (0.9, 0), (0.84, 0.2), (0.4, 0.36), (-0.1, 0.38))
    p.dot(0.3, 0.24, 0.34, 0.1, fill=p.pale)
    p.blob((0.3, 0.02), (0.06, -0.42), (-0.5, -0.9), (-0.62, -0.6), (-0.56, -0.3), (-0.4, -0.06), (-0.06, 0.16), fill=p.light)
    for x, y in ((-0.44, -0.66), (-0.42, -0.4), (-0.3, -0.16)):
        p.line((x, y), (0.06 + 0.3 * x, y * 0.3), width=0.06)
    p.eye(0.68, 0, 0.085)


def owl(p):
    """Draw an owl from the front."""
    for s in (-1, 1):
        p.poly((s * 0.62, -0.45), (s * 0.6, -1), (s * 0.1, -0.7))
        p.ball(s * 0.2, 0.94, 0.17, 0.09, fill=BEAK)
    p.blob(
        (0, -0.8), (0.5, -0.7), (0.66, -0.3), (0.68, 0.3), (0.44, 0.84), (0, 0.95), (-0.44, 0.84), (-0.68, 0.3), (-0.66, -0.3),
        (-0.5, -0.7),
    )  # fmt: skip
    p.ball(0, 0.44, 0.4, 0.44, fill=p.pale)
    for x, y in ((-0.18, 0.24), (0.18, 0.24), (0, 0.42), (-0.2, 0.6), (0.2, 0.6)):
        p.line((x - 0.08, y), (x, y + 0.08), (x + 0.08, y), width=0.07)
    for s in (-1, 1):
        p.blob((s * 0.56, -0.1), (s * 0.82, 0.2), (s * 0.72, 0.66), (s * 0.44, 0.84), (s * 0.46, 0.3), fill=p.shade)
        p.ball(s * 0.28, -0.36, 0.3, fill=p.light)
        p.eye(s * 0.27, -0.36, 0.22)
    p.poly((-0.1, -0.24), (0.1, -0.24), (0, 0.02), fill=BEAK)


def round_fish(p):
    """Draw a round reef fish with white bands."""
    p.blob((-0.5, 0), (-0.9, -0.46), (-1, -0.4), (-0.88, 0), (-1, 0.4), (-0.9, 0.46), fill=p.shade)
    p.blob((-0.3, -0.5), (0.1, -0.84), (0.4, -0.62), (0.3, -0.4), fill=p.shade)
    p.blob((-0.3, 0.5), (-0.02, 0.82), (0.3, 0.6), (0.3, 0.4), fill=p.shade)
    p.blob((-0.62, 0), (-0.3, -0.46), (0.2, -0.62), (0.7, -0.42), (0.97, 0), (0.7, 0.42), (0.2, 0.62), (-0.3, 0.46))
    band = WHITE if min(p.colour) < 180 else p.shade
    p.blob((0.22, -0.6), (0.38, -0.55), (0.28, 0), (0.38, 0.55), (0.22, 0.6), (0.1, 0), fill=band, form=None)
    p.blob((-0.36, -0.42), (-0.24, -0.48), (-0.3, 0), (-0.24, 0.48), (-0.36, 0.42), (-0.44, 0), fill=band, form=None)
    p.blob((-0.16, 0.04), (0.12, 0), (0.06, 0.24), (-0.18, 0.3), fill=p.light)
    p.eye(0.66, -0.12, 0.14)
    p.line((0.94, 0.12), (0.8, 0.18), width=0.06, fill=p.deep)


def long_fish(p):
    """Draw a long fish with scales."""
    p.poly((-0.6, -0.02), (-1, -0.36), (-0.88, 0), (-1, 0.36), (-0.6, 0.06), fill=p.shade)
    p.poly((-0.16, -0.24), (0.02, -0.5), (0.36, -0.4), (0.42, -0.2), fill=p.shade)
    p.poly((-0.1, 0.2), (-0.14, 0.46), (0.12, 0.3), fill=p.shade)
    p.blob((-0.74, 0), (-0.3, -0.22), (0.3, -0.32), (0.76, -0.18), (0.99, 0.04), (0.76, 0.22), (0.3, 0.3), (-0.3, 0.2))
    p.blob((-0.6, 0.06), (0.2, 0.1), (0.86, 0.14), (0.5, 0.26), (0, 0.26), fill=p.pale, form=None)
    for x in (-0.34, -0.12, 0.1, 0.32):
        p.line((x, -0.16), (x + 0.08, -0.03), (x, 0.1), width=0.06, fill=p.shade)
    p.line((0.52, -0.22), (0.46, 0), (0.52, 0.2), width=0.06, fill=p.deep)
    p.blob((0.3, 0.06), (0.44, 0.12), (0.2, 0.36), (0.08, 0.3), fill=p.light)
    p.eye(0.72, -0.04, 0.1)


def tall_fish(p):
    """Draw an angelfish with long fins."""
    p.poly((-0.4, 0), (-0.96, -0.3), (-0.8, 0), (-0.96, 0.3), fill=p.shade)
    for s in (-1, 1):
        p.blob((0.3, s * 0.4), (-0.1, s * 0.9), (-0.62, s * 1), (-0.36, s * 0.5), (-0.3, s * 0.2), fill=p.shade)
    p.blob((-0.5, 0), (-0.2, -0.5), (0.2, -0.6), (0.56, -0.32), (0.86, 0), (0.56, 0.32), (0.2, 0.6), (-0.2, 0.5))
    for x, y in ((-0.22, 0.42), (0.12, 0.54)):
        p.blob((x - 0.07, -y), (x + 0.07, -y), (x + 0.1, 0), (x + 0.07, y), (x - 0.07, y), (x - 0.04, 0), fill=p.deep, form=None)
    p.eye(0.52, -0.1, 0.13)
    p.line((0.84, 0.07), (0.72, 0.11), width=0.06, fill=p.deep)


def _butterfly(p, place, spots):
    """Draw a butterfly from above; `place` maps its points into the picture."""
    for s in (-1, 1):
        p.blob(*(place(s * x, y) for x, y in ((0.06, 0.05), (0.5, 0.1), (0.74, 0.42), (0.5, 0.84), (0.2, 0.6))), fill=p.shade)
        p.blob(
            *(place(s * x, y) for x, y in ((0.05, 0.05), (0.16, -0.5), (0.62, -0.86), (0.98, -0.72), (0.9, -0.2), (0.5, 0.14)))
        )
        p.blob(*(place(s * x, y) for x, y in ((0.2, -0.1), (0.36, -0.5), (0.66, -0.62), (0.6, -0.2))), fill=p.light)
        for x, y, r in spots:
            p.dot(*place(s * x, y), r, fill=WHITE if min(p.colour) < 180 else p.deep)
        p.line(place(0, -0.4), place(s * 0.1, -0.7), place(s * 0.26, -0.88), width=0.05)
    p.limb(place(0, -0.36), place(0, 0.5), width=0.15, end=0.1, fill=INK)
    p.ball(*place(0, -0.4), 0.11, fill=INK)


def spread_butterfly(p):
    """Draw a butterfly with spread wings."""
    _butterfly(p, lambda x, y: (x, y), ((0.82, -0.58, 0.08), (0.8, -0.32, 0.07), (0.5, 0.46, 0.12)))


def tilted_butterfly(p):
    """Draw a butterfly flying aslant, one pair of wings foreshortened."""
    _butterfly(
        p, lambda x, y: (0.8 * (x if x < 0 else 0.6 * x) - 0.55 * y, 0.8 * y + 0.42 * x), ((0.7, -0.4, 0.08), (0.46, 0.5, 0.1))
    )


def resting_butterfly(p):
    """Draw a butterfly from the side, its wings up."""
    p.blob((0.1, 0.5), (0.42, 0.2), (0.84, -0.5), (0.7, -0.86), (0.3, -0.6), (0.06, 0.1), fill=p.shade)
    p.blob((0, 0.55), (-0.5, 0.7), (-0.84, 0.4), (-0.6, 0.06), (-0.2, 0.1), fill=p.shade)
    p.blob((0.1, 0.55), (0.28, 0), (0.22, -0.7), (-0.1, -1), (-0.62, -0.8), (-0.72, -0.3), (-0.3, 0.3))
    p.blob((0, 0.3), (0.1, -0.2), (-0.04, -0.66), (-0.42, -0.6), (-0.44, -0.2), fill=p.light)
    for x, y, r in ((-0.2, -0.74, 0.09), (-0.54, -0.5, 0.09), (-0.12, -0.26, 0.11), (-0.52, 0.4, 0.1)):
        p.dot(x, y, r, fill=WHITE if min(p.colour) < 180 else p.deep)
    p.limb((-0.5, 0.72), (0.1, 0.6), (0.46, 0.5), width=0.1, end=0.16, fill=INK)
    p.ball(0.52, 0.46, 0.12, fill=INK)
    for x in (0.66, 0.84):
        p.line((0.54, 0.4), (x - 0.08, 0.2), (x, 0.02), width=0.05)


WINGS = {
    "bird": (song_bird, flying_bird, owl),
    "fish": (round_fish, long_fish, tall_fish),
    "butterfly": (spread_butterfly, tilted_butterfly, resting_butterfly),
}
