"""Drawings of animals: cats, dogs, horses, birds, fish, butterflies."""

from nsdlib.twin.scenery.pen import BARK, INK, ROSE, SAND, WHITE, mirrored, mix


def _cat_head(p, x=0, y=0, r=1):
    """Draw a cat's head seen from the front."""
    p = p.at(x, y, r)
    for s in (-1, 1):
        p.poly((s * 0.95, -0.1), (s * 0.85, -1.2), (s * 0.12, -0.65))
        p.poly((s * 0.78, -0.3), (s * 0.74, -0.92), (s * 0.32, -0.6), fill=ROSE)
    p.ball(0, 0, 1.05, 0.86)
    for dx, low in ((-0.22, 0.42), (0, 0.34), (0.22, 0.42)):
        p.line((dx, -0.8), (0.8 * dx, -low), width=0.11, fill=p.shade)
    for s in (-1, 1):
        p.dot(s * 0.42, -0.08, 0.23, 0.25, fill=(206, 226, 96))
        p.dot(s * 0.4, -0.08, 0.1, 0.22)
        p.dot(s * 0.22, 0.42, 0.28, 0.22, fill=p.pale)
        for dy in (0.32, 0.5):
            p.line((s * 0.45, 0.4), (s * 1.12, dy), width=0.05, fill=p.deep)
    p.blob((-0.14, 0.2), (0.14, 0.2), (0, 0.36), fill=ROSE)
    p.line((0, 0.32), (0, 0.5), width=0.06)


def _sitting_cat(p):
    p.limb((0.3, 0.88), (0.72, 0.86), (0.86, 0.5), (0.72, 0.22), width=0.22, end=0.17, fill=p.shade)
    p.blob(*mirrored((0, -0.4), (0.34, -0.1), (0.56, 0.45), (0.56, 0.9), (0, 0.99)))
    p.dot(0, 0.28, 0.22, 0.3, fill=p.pale)
    for s in (-1, 1):
        p.limb((s * 0.17, 0.3), (s * 0.16, 0.88), width=0.22)
        p.ball(s * 0.18, 0.92, 0.17, 0.1, fill=p.light)
    _cat_head(p, 0, -0.4, 0.52)


def _walking_cat(p):
    p.limb((-0.66, -0.05), (-0.98, -0.2), (-0.98, -0.55), (-0.8, -0.72), width=0.18, end=0.14)
    for x, step in ((-0.4, 0.12), (0.3, -0.1)):
        p.limb((x, 0.2), (x + step, 0.72), width=0.22, end=0.16, fill=p.shade)
    p.blob((-0.76, -0.08), (-0.4, -0.28), (0.2, -0.22), (0.6, -0.2), (0.62, 0.2), (0.2, 0.32), (-0.4, 0.34), (-0.78, 0.24))
    for x in (-0.45, -0.2, 0.05):
        p.line((x, -0.24), (x + 0.04, 0.06), width=0.08, fill=p.shade)
    for x, step in ((-0.62, -0.1), (0.48, 0.12)):
        p.limb((x, 0.1), (x - 0.04, 0.4), (x + step, 0.74), width=0.26, end=0.17)
    _cat_head(p, 0.64, -0.32, 0.38)


def _dog_head(p, x=0, y=0, r=1):
    """Draw a dog's head from the front, with hanging ears and its tongue out."""
    p = p.at(x, y, r)
    p.ball(0, 0, 0.78, 0.82)
    p.dot(0.34, -0.2, 0.28, 0.34, fill=p.shade)
    for s in (-1, 1):
        p.blob((s * 0.45, -0.78), (s * 0.95, -0.55), (s * 1.08, 0.2), (s * 0.82, 0.55), (s * 0.66, -0.1), fill=p.shade)
        p.eye(s * 0.32, -0.16, 0.17)
    p.ball(0, 0.68, 0.17, 0.28, fill=(238, 96, 110))
    p.ball(0, 0.4, 0.5, 0.36, fill=p.pale)
    p.dot(0, 0.22, 0.2, 0.14)
    p.line((-0.3, 0.5), (0, 0.58), (0.3, 0.5), width=0.07)


def _sitting_dog(p):
    p.limb((0.4, 0.85), (0.75, 0.75), (0.92, 0.42), width=0.2, end=0.12, fill=p.shade)
    p.blob(*mirrored((0, -0.2), (0.38, 0), (0.58, 0.5), (0.62, 0.92), (0, 0.99)))
    p.dot(0, 0.4, 0.24, 0.32, fill=p.pale)
    for s in (-1, 1):
        p.limb((s * 0.2, 0.3), (s * 0.2, 0.86), width=0.24)
        p.ball(s * 0.22, 0.91, 0.19, 0.11, fill=p.light)
    p.limb((-0.34, 0.12), (0, 0.22), (0.34, 0.12), width=0.13, fill=(66, 130, 200) if p.colour[0] > 150 else (214, 60, 56))
    _dog_head(p, 0, -0.4, 0.58)


def _standing_dog(p):
    p.limb((-0.66, -0.1), (-0.88, -0.3), (-0.96, -0.6), width=0.2, end=0.1)
    for x in (-0.4, 0.22):
        p.limb((x, 0.2), (x + 0.04, 0.88), width=0.22, end=0.18, fill=p.shade)
    p.blob((-0.74, -0.18), (-0.3, -0.2), (0.2, -0.24), (0.52, -0.4), (0.6, 0.06), (0.3, 0.34), (-0.2, 0.28), (-0.72, 0.3))
    p.dot(-0.2, -0.02, 0.22, 0.15, fill=p.shade)
    for x in (-0.58, 0.4):
        p.limb((x, 0.1), (x, 0.86), width=0.28, end=0.2)
        p.ball(x + 0.05, 0.91, 0.15, 0.09, fill=p.light)
    p.blob((0.2, -0.5), (0.34, -0.82), (0.62, -0.86), (0.76, -0.6), (1, -0.52), (1.02, -0.32), (0.74, -0.22), (0.46, -0.16))
    p.dot(0.97, -0.48, 0.09, 0.08)
    p.line((0.98, -0.32), (0.8, -0.31), (0.72, -0.36), width=0.05, fill=p.deep)
    p.blob((0.32, -0.8), (0.46, -0.66), (0.44, -0.3), (0.28, -0.14), (0.14, -0.36), (0.18, -0.66), fill=p.shade)
    p.eye(0.64, -0.62, 0.085)
    p.limb((0.26, -0.2), (0.5, -0.08), width=0.1, fill=(66, 130, 200) if p.colour[0] > 150 else (214, 60, 56))


def _horse_leg(p, *knots, fill=None):
    """Draw a horse's leg with its hoof."""
    p.limb(*knots, width=0.24, end=0.13, fill=fill)
    x, y = knots[-1]
    p.poly((x - 0.07, y), (x + 0.07, y), (x + 0.12, y + 0.13), (x - 0.09, y + 0.13), fill=INK)


def _mane(p):
    """Colour of a horse's mane and tail."""
    return mix(p.deep, BARK, 0.3) if sum(p.colour) < 690 else SAND


def _horse_front(p, x, y, size):
    """Draw a horse's neck and head, its mouth to the right, the neck's foot at (x, y)."""
    p = p.at(x, y, size)
    p.blob(
        (-0.5, 0.3), (-0.36, -0.4), (-0.06, -0.98), (0.12, -1.26), (0.22, -0.98), (0.46, -0.8), (0.86, -0.32), (0.8, -0.12),
        (0.62, -0.1), (0.3, -0.38), (0.16, -0.1), (0.2, 0.4),
    )  # fmt: skip
    p.blob((0.1, -1.1), (-0.1, -1.08), (-0.42, -0.6), (-0.6, 0), (-0.5, 0.2), (-0.3, -0.2), (-0.1, -0.66), fill=_mane(p))
    p.blob((0.06, -1), (0.12, -1.3), (0.24, -0.96), fill=p.shade)
    p.dot(0.74, -0.26, 0.16, 0.14, fill=p.light)
    p.dot(0.78, -0.28, 0.05)
    p.eye(0.34, -0.68, 0.11)


def _standing_horse(p):
    p.limb((-0.66, -0.1), (-0.9, 0.1), (-0.86, 0.6), width=0.2, end=0.1, fill=_mane(p))
    _horse_leg(p, (-0.42, 0.2), (-0.44, 0.86), fill=p.shade)
    _horse_leg(p, (0.16, 0.2), (0.2, 0.86), fill=p.shade)
    p.blob((-0.74, -0.1), (-0.4, -0.26), (0.1, -0.18), (0.44, -0.26), (0.5, 0.14), (0.1, 0.36), (-0.4, 0.34), (-0.72, 0.24))
    _horse_leg(p, (-0.58, 0.12), (-0.6, 0.5), (-0.6, 0.87))
    _horse_leg(p, (0.34, 0.12), (0.36, 0.5), (0.36, 0.87))
    _horse_front(p, 0.36, -0.12, 0.66)


def _running_horse(p):
    p.limb((-0.7, -0.06), (-0.94, -0.12), (-1.2, 0.1), width=0.2, end=0.08, fill=_mane(p))
    _horse_leg(p, (-0.5, 0.1), (-0.5, 0.44), (-0.24, 0.68), fill=p.shade)
    _horse_leg(p, (0.3, 0.14), (0.32, 0.46), (0.04, 0.62), fill=p.shade)
    p.blob((-0.78, -0.08), (-0.4, -0.24), (0.1, -0.2), (0.46, -0.3), (0.52, 0.08), (0.1, 0.3), (-0.4, 0.26), (-0.74, 0.22))
    _horse_leg(p, (-0.6, 0.1), (-0.8, 0.42), (-1.02, 0.6))
    _horse_leg(p, (0.4, 0.06), (0.66, 0.3), (0.84, 0.56))
    _horse_front(p, 0.42, -0.14, 0.62)


def _horse_head(p):
    p.blob((-0.55, 0.28), (-0.66, 0.62), (0, 0.7), (0.26, 0.62), (0.22, 0.3), fill=p.shade)
    _horse_front(p, 0, 0.2, 1)


BEAK = (246, 158, 50)


def _song_bird(p):
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


def _flying_bird(p):
    p.blob((0.06, -0.06), (0.28, -0.5), (0.66, -0.86), (0.6, -0.4), (0.34, 0.02), fill=p.shade)
    p.poly((-0.5, 0.12), (-1, 0.02), (-0.88, 0.2), (-1, 0.4), (-0.46, 0.3), fill=p.shade)
    p.poly((0.86, -0.02), (1.08, 0.1), (0.84, 0.17), fill=BEAK)
    p.blob((-0.6, 0.16), (-0.1, -0.04), (0.4, -0.06), (0.66, -0.18), (0.9, 0), (0.84, 0.2), (0.4, 0.36), (-0.1, 0.38))
    p.dot(0.3, 0.24, 0.34, 0.1, fill=p.pale)
    p.blob((0.3, 0.02), (0.06, -0.42), (-0.5, -0.9), (-0.62, -0.6), (-0.56, -0.3), (-0.4, -0.06), (-0.06, 0.16), fill=p.light)
    for x, y in ((-0.44, -0.66), (-0.42, -0.4), (-0.3, -0.16)):
        p.line((x, y), (0.06 + 0.3 * x, y * 0.3), width=0.06)
    p.eye(0.68, 0, 0.085)


def _owl(p):
    for s in (-1, 1):
        p.poly((s * 0.62, -0.45), (s * 0.6, -1), (s * 0.1, -0.7))
        p.ball(s * 0.2, 0.94, 0.17, 0.09, fill=BEAK)
    p.blob(*mirrored((0, -0.8), (0.5, -0.7), (0.66, -0.3), (0.68, 0.3), (0.44, 0.84), (0, 0.95)))
    p.ball(0, 0.44, 0.4, 0.44, fill=p.pale)
    for x, y in ((-0.18, 0.24), (0.18, 0.24), (0, 0.42), (-0.2, 0.6), (0.2, 0.6)):
        p.line((x - 0.08, y), (x, y + 0.08), (x + 0.08, y), width=0.07)
    for s in (-1, 1):
        p.blob((s * 0.56, -0.1), (s * 0.82, 0.2), (s * 0.72, 0.66), (s * 0.44, 0.84), (s * 0.46, 0.3), fill=p.shade)
        p.ball(s * 0.28, -0.36, 0.3, fill=p.light)
        p.eye(s * 0.27, -0.36, 0.22)
    p.poly((-0.1, -0.24), (0.1, -0.24), (0, 0.02), fill=BEAK)


def _round_fish(p):
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


def _long_fish(p):
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


def _angelfish(p):
    p.poly((-0.4, 0), (-0.96, -0.3), (-0.8, 0), (-0.96, 0.3), fill=p.shade)
    for s in (-1, 1):
        p.blob((0.3, s * 0.4), (-0.1, s * 0.9), (-0.62, s * 1), (-0.36, s * 0.5), (-0.3, s * 0.2), fill=p.shade)
    p.blob((-0.5, 0), (-0.2, -0.5), (0.2, -0.6), (0.56, -0.32), (0.86, 0), (0.56, 0.32), (0.2, 0.6), (-0.2, 0.5))
    for x, y in ((-0.22, 0.42), (0.12, 0.54)):
        p.blob((x - 0.07, -y), (x + 0.07, -y), (x + 0.1, 0), (x + 0.07, y), (x - 0.07, y), (x - 0.04, 0), fill=p.deep, form=None)
    p.eye(0.52, -0.1, 0.13)
    p.line((0.84, 0.07), (0.72, 0.11), width=0.06, fill=p.deep)


def _spread_butterfly(p, spots=((0.82, -0.58, 0.08), (0.8, -0.32, 0.07), (0.5, 0.46, 0.12))):
    for s in (-1, 1):
        p.blob((s * 0.06, 0.05), (s * 0.5, 0.1), (s * 0.74, 0.42), (s * 0.5, 0.84), (s * 0.2, 0.6), fill=p.shade)
        p.blob((s * 0.05, 0.05), (s * 0.16, -0.5), (s * 0.62, -0.86), (s * 0.98, -0.72), (s * 0.9, -0.2), (s * 0.5, 0.14))
        p.blob((s * 0.2, -0.1), (s * 0.36, -0.5), (s * 0.66, -0.62), (s * 0.6, -0.2), fill=p.light)
        for x, y, r in spots:
            p.dot(s * x, y, r, fill=WHITE if min(p.colour) < 180 else p.deep)
        p.line((0, -0.4), (s * 0.1, -0.7), (s * 0.26, -0.88), width=0.05)
    p.limb((0, -0.36), (0, 0.5), width=0.15, end=0.1, fill=INK)
    p.ball(0, -0.4, 0.11, fill=INK)


def _tilted_butterfly(p):
    aslant = p.mapped(lambda x, y: (0.8 * (x if x < 0 else 0.6 * x) - 0.55 * y, 0.8 * y + 0.42 * x))  # right wings foreshortened
    _spread_butterfly(aslant, spots=((0.7, -0.4, 0.08), (0.46, 0.5, 0.1)))


def _resting_butterfly(p):
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


ANIMALS = {
    "cat": (_sitting_cat, _walking_cat, _cat_head),
    "dog": (_sitting_dog, _standing_dog, _dog_head),
    "horse": (_standing_horse, _running_horse, _horse_head),
    "bird": (_song_bird, _flying_bird, _owl),
    "fish": (_round_fish, _long_fish, _angelfish),
    "butterfly": (_spread_butterfly, _tilted_butterfly, _resting_butterfly),
}
