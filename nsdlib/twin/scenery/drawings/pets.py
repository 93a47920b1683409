"""Drawings of animals with four legs: cats, dogs, horses."""

from nsdlib.twin.scenery.pen import BARK, INK, ROSE, SAND, mix


def _cat_head(p, x, y, r):
    """Draw a cat's head seen from the front."""
    for s in (-1, 1):
        p.poly((x + s * 0.95 * r, y - 0.1 * r), (x + s * 0.85 * r, y - 1.2 * r), (x + s * 0.12 * r, y - 0.65 * r))
        p.poly((x + s * 0.78 * r, y - 0.3 * r), (x + s * 0.74 * r, y - 0.92 * r), (x + s * 0.32 * r, y - 0.6 * r), fill=ROSE)
    p.ball(x, y, 1.05 * r, 0.86 * r)
    for dx, low in ((-0.22, 0.42), (0, 0.34), (0.22, 0.42)):
        p.line((x + dx * r, y - 0.8 * r), (x + 0.8 * dx * r, y - low * r), width=0.11 * r, fill=p.shade)
    for s in (-1, 1):
        p.dot(x + s * 0.42 * r, y - 0.08 * r, 0.23 * r, 0.25 * r, fill=(206, 226, 96))
        p.dot(x + s * 0.4 * r, y - 0.08 * r, 0.1 * r, 0.22 * r)
        p.dot(x + s * 0.22 * r, y + 0.42 * r, 0.28 * r, 0.22 * r, fill=p.pale)
        for dy in (0.32, 0.5):
            p.line((x + s * 0.45 * r, y + 0.4 * r), (x + s * 1.12 * r, y + dy * r), width=0.05 * r, fill=p.deep)
    p.blob((x - 0.14 * r, y + 0.2 * r), (x + 0.14 * r, y + 0.2 * r), (x, y + 0.36 * r), fill=ROSE)
    p.line((x, y + 0.32 * r), (x, y + 0.5 * r), width=0.06 * r)


def sitting_cat(p):
    """Draw a sitting cat."""
    p.limb((0.3, 0.88), (0.72, 0.86), (0.86, 0.5), (0.72, 0.22), width=0.22, end=0.17, fill=p.shade)
    p.blob((0, -0.4), (0.34, -0.1), (0.56, 0.45), (0.56, 0.9), (0, 0.99), (-0.56, 0.9), (-0.56, 0.45), (-0.34, -0.1))
    p.dot(0, 0.28, 0.22, 0.3, fill=p.pale)
    for s in (-1, 1):
        p.limb((s * 0.17, 0.3), (s * 0.16, 0.88), width=0.22)
        p.ball(s * 0.18, 0.92, 0.17, 0.1, fill=p.light)
    _cat_head(p, 0, -0.4, 0.52)


def walking_cat(p):
    """Draw a cat walking sideways, its tail up."""
    p.limb((-0.66, -0.05), (-0.98, -0.2), (-0.98, -0.55), (-0.8, -0.72), width=0.18, end=0.14)
    for x, step in ((-0.4, 0.12), (0.3, -0.1)):
        p.limb((x, 0.2), (x + step, 0.72), width=0.22, end=0.16, fill=p.shade)
    p.blob((-0.76, -0.08), (-0.4, -0.28), (0.2, -0.22), (0.6, -0.2), (0.62, 0.2), (0.2, 0.32), (-0.4, 0.34), (-0.78, 0.24))
    for x in (-0.45, -0.2, 0.05):
        p.line((x, -0.24), (x + 0.04, 0.06), width=0.08, fill=p.shade)
    for x, step in ((-0.62, -0.1), (0.48, 0.12)):
        p.limb((x, 0.1), (x - 0.04, 0.4), (x + step, 0.74), width=0.26, end=0.17)
    _cat_head(p, 0.64, -0.32, 0.38)


def cat_face(p):
    """Draw a cat's head."""
    _cat_head(p, 0, 0, 1)


def _dog_head(p, x, y, r):
    """Draw a dog's head from the front, with hanging ears and its tongue out."""
    p.ball(x, y, 0.78 * r, 0.82 * r)
    p.dot(x + 0.34 * r, y - 0.2 * r, 0.28 * r, 0.34 * r, fill=p.shade)
    for s in (-1, 1):
        p.blob(
            (x + s * 0.45 * r, y - 0.78 * r), (x + s * 0.95 * r, y - 0.55 * r), (x + s * 1.08 * r, y + 0.2 * r),
            (x + s * 0.82 * r, y + 0.55 * r), (x + s * 0.66 * r, y - 0.1 * r), fill=p.shade,
        )  # fmt: skip
        p.eye(x + s * 0.32 * r, y - 0.16 * r, 0.17 * r)
    p.ball(x, y + 0.68 * r, 0.17 * r, 0.28 * r, fill=(238, 96, 110))
    p.ball(x, y + 0.4 * r, 0.5 * r, 0.36 * r, fill=p.pale)
    p.dot(x, y + 0.22 * r, 0.2 * r, 0.14 * r)
    p.line((x - 0.3 * r, y + 0.5 * r), (x, y + 0.58 * r), (x + 0.3 * r, y + 0.5 * r), width=0.07 * r)


def sitting_dog(p):
    """Draw a sitting dog."""
    p.limb((0.4, 0.85), (0.75, 0.75), (0.92, 0.42), width=0.2, end=0.12, fill=p.shade)
    p.blob((0, -0.2), (0.38, 0), (0.58, 0.5), (0.62, 0.92), (0, 0.99), (-0.62, 0.92), (-0.58, 0.5), (-0.38, 0))
    p.dot(0, 0.4, 0.24, 0.32, fill=p.pale)
    for s in (-1, 1):
        p.limb((s * 0.2, 0.3), (s * 0.2, 0.86), width=0.24)
        p.ball(s * 0.22, 0.91, 0.19, 0.11, fill=p.light)
    p.limb((-0.34, 0.12), (0, 0.22), (0.34, 0.12), width=0.13, fill=(66, 130, 200) if p.colour[0] > 150 else (214, 60, 56))
    _dog_head(p, 0, -0.4, 0.58)


def standing_dog(p):
    """Draw a dog standing sideways."""
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


def dog_face(p):
    """Draw a dog's head."""
    _dog_head(p, 0, 0, 1)


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

    def scaled(*points):
        """Points in units of the head."""
        return [(x + size * a, y + size * b) for a, b in points]

    p.blob(
        *scaled(
            (-0.5, 0.3), (-0.36, -0.4), (-0.06, -0.98), (0.12, -1.26), (0.22, -0.98), (0.46, -0.8), (0.86, -0.32), (0.8, -0.12),
            (0.62, -0.1), (0.3, -0.38), (0.16, -0.1), (0.2, 0.4),
        )
    )  # fmt: skip
    p.blob(*scaled((0.1, -1.1), (-0.1, -1.08), (-0.42, -0.6), (-0.6, 0), (-0.5, 0.2), (-0.3, -0.2), (-0.1, -0.66)), fill=_mane(p))
    p.blob(*scaled((0.06, -1), (0.12, -1.3), (0.24, -0.96)), fill=p.shade)
    p.dot(*scaled((0.74, -0.26))[0], 0.16 * size, 0.14 * size, fill=p.light)
    p.dot(*scaled((0.78, -0.28))[0], 0.05 * size)
    p.eye(*scaled((0.34, -0.68))[0], 0.11 * size)


def standing_horse(p):
    """Draw a standing horse."""
    p.limb((-0.66, -0.1), (-0.9, 0.1), (-0.86, 0.6), width=0.2, end=0.1, fill=_mane(p))
    _horse_leg(p, (-0.42, 0.2), (-0.44, 0.86), fill=p.shade)
    _horse_leg(p, (0.16, 0.2), (0.2, 0.86), fill=p.shade)
    p.blob((-0.74, -0.1), (-0.4, -0.26), (0.1, -0.18), (0.44, -0.26), (0.5, 0.14), (0.1, 0.36), (-0.4, 0.34), (-0.72, 0.24))
    _horse_leg(p, (-0.58, 0.12), (-0.6, 0.5), (-0.6, 0.87))
    _horse_leg(p, (0.34, 0.12), (0.36, 0.5), (0.36, 0.87))
    _horse_front(p, 0.36, -0.12, 0.66)


def running_horse(p):
    """Draw a galloping horse."""
    p.limb((-0.7, -0.06), (-0.94, -0.12), (-1.2, 0.1), width=0.2, end=0.08, fill=_mane(p))
    _horse_leg(p, (-0.5, 0.1), (-0.5, 0.44), (-0.24, 0.68), fill=p.shade)
    _horse_leg(p, (0.3, 0.14), (0.32, 0.46), (0.04, 0.62), fill=p.shade)
    p.blob((-0.78, -0.08), (-0.4, -0.24), (0.1, -0.2), (0.46, -0.3), (0.52, 0.08), (0.1, 0.3), (-0.4, 0.26), (-0.74, 0.22))
    _horse_leg(p, (-0.6, 0.1), (-0.8, 0.42), (-1.02, 0.6))
    _horse_leg(p, (0.4, 0.06), (0.66, 0.3), (0.84, 0.56))
    _horse_front(p, 0.42, -0.14, 0.62)


def horse_head(p):
    """Draw a horse's head and neck."""
    p.blob((-0.55, 0.28), (-0.66, 0.62), (0, 0.7), (0.26, 0.62), (0.22, 0.3), fill=p.shade)
    _horse_front(p, 0, 0.2, 1)


PETS = {
    "cat": (sitting_cat, walking_cat, cat_face),
    "dog": (sitting_dog, standing_dog, dog_face),
    "horse": (standing_horse, running_horse, horse_head),
}
