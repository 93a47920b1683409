"""Drawings of people: faces and whole persons, dressed in the given colour."""

from nsdlib.twin.scenery.pen import BARK, INK, IRON, SKIN, WHITE, mix

TANNED, BROWN_SKIN = (222, 170, 128), (166, 110, 76)


def _features(p, x, y, r, skin):
    """Draw eyes, brows, nose, cheeks and a smile on a head."""
    for s in (-1, 1):
        p.dot(x + s * 0.55 * r, y + 0.3 * r, 0.2 * r, 0.14 * r, fill=mix(skin, (240, 90, 90), 0.35))
        p.eye(x + s * 0.36 * r, y - 0.06 * r, 0.15 * r, fill=(70, 46, 36))
        p.line((x + s * 0.2 * r, y - 0.32 * r), (x + s * 0.5 * r, y - 0.34 * r), width=0.08 * r, fill=BARK)
    p.line(
        (x, y), (x + 0.07 * r, y + 0.22 * r), (x - 0.04 * r, y + 0.24 * r), width=0.08 * r, fill=mix(skin, (150, 60, 40), 0.45)
    )
    p.blob(
        (x - 0.34 * r, y + 0.46 * r), (x, y + 0.52 * r), (x + 0.34 * r, y + 0.46 * r), (x, y + 0.76 * r), fill=(186, 50, 60),
        form=None,
    )  # fmt: skip
    p.line((x - 0.2 * r, y + 0.53 * r), (x + 0.2 * r, y + 0.53 * r), width=0.07 * r, fill=WHITE)


def _bust(p, skin):
    """Draw shoulders in the colour, and a neck."""
    p.blob((-0.92, 1), (-0.86, 0.74), (-0.4, 0.56), (0.4, 0.56), (0.86, 0.74), (0.92, 1), (0.4, 1.04), (-0.4, 1.04))
    p.blob((-0.24, 0.4), (0.24, 0.4), (0.28, 0.62), (0, 0.76), (-0.28, 0.62), fill=mix(skin, (120, 50, 40), 0.25))


def _head(p, skin, y=-0.05):
    """Draw a head with ears."""
    for s in (-1, 1):
        p.ball(s * 0.54, y + 0.04, 0.13, 0.17, fill=skin)
    p.blob(
        (0, y - 0.66), (0.42, y - 0.5), (0.56, y), (0.4, y + 0.48), (0, y + 0.66), (-0.4, y + 0.48), (-0.56, y),
        (-0.42, y - 0.5), fill=skin,
    )  # fmt: skip


def capped_face(p):
    """Draw a face under a woollen hat, with a scarf."""
    _bust(p, SKIN)
    _head(p, SKIN)
    _features(p, 0, 0, 0.58, SKIN)
    p.ball(0, -0.96, 0.2, fill=p.light)
    p.blob((-0.64, -0.26), (-0.6, -0.62), (0, -0.92), (0.6, -0.62), (0.64, -0.26), (0, -0.34))
    p.limb((-0.6, -0.28), (0, -0.38), (0.6, -0.28), width=0.2, fill=p.light)
    p.limb((-0.46, 0.6), (0, 0.74), (0.46, 0.6), width=0.26, fill=p.light)


def long_haired_face(p):
    """Draw a woman's face with long hair."""
    p.blob((0, -0.98), (0.6, -0.8), (0.8, -0.1), (0.78, 0.6), (0.5, 0.86), (-0.5, 0.86), (-0.78, 0.6), (-0.8, -0.1), (-0.6, -0.8))
    _bust(p, TANNED)
    _head(p, TANNED)
    _features(p, 0, 0, 0.58, TANNED)
    p.blob((-0.1, -0.92), (-0.56, -0.7), (-0.74, 0.1), (-0.6, 0.5), (-0.5, 0), (-0.34, -0.34), (0, -0.6))
    p.blob(
        (-0.16, -0.92), (0.5, -0.8), (0.74, 0.1), (0.6, 0.5), (0.52, 0), (0.42, -0.3), (0.1, -0.5), (-0.1, -0.62), fill=p.light
    )


def bearded_face(p):
    """Draw a man's face with a beard."""
    skin = BROWN_SKIN if sum(p.colour) > 200 else SKIN
    _bust(p, skin)
    _head(p, skin)
    p.blob(
        (-0.6, -0.02), (-0.46, 0.2), (0, 0.28), (0.46, 0.2), (0.6, -0.02), (0.54, 0.48), (0.24, 0.84), (-0.24, 0.84),
        (-0.54, 0.48),
    )  # fmt: skip
    _features(p, 0, 0, 0.58, skin)
    p.limb((-0.28, 0.26), (0, 0.2), (0.28, 0.26), width=0.13, end=0.13, fill=p.shade)
    p.ball(0, 0.11, 0.12, 0.1, fill=mix(skin, (210, 90, 70), 0.2))
    p.blob(
        (-0.6, -0.02), (-0.64, -0.5), (-0.36, -0.86), (0.1, -0.94), (0.52, -0.74), (0.62, -0.02), (0.46, -0.34), (0, -0.44),
        (-0.44, -0.3),
    )  # fmt: skip


def _small_head(p, x, y, skin, hair):
    """Draw a whole person's head."""
    p.ball(x, y - 0.02, 0.25, 0.26, fill=hair)
    p.ball(x, y + 0.04, 0.21, 0.21, fill=skin)
    for s in (-1, 1):
        p.dot(x + s * 0.08, y + 0.03, 0.035, 0.042)
    p.line((x - 0.08, y + 0.12), (x, y + 0.16), (x + 0.08, y + 0.12), width=0.04, fill=(186, 50, 60))
    fringe = ((-0.23, 0), (-0.19, -0.22), (0, -0.29), (0.19, -0.22), (0.23, 0), (0.09, -0.11), (-0.09, -0.09))
    p.blob(*((x + dx, y + dy) for dx, dy in fringe), fill=hair)


def waving_person(p):
    """Draw a man who waves."""
    for s in (-1, 1):
        p.limb((s * 0.12, 0.2), (s * 0.15, 0.86), width=0.2, end=0.16, fill=p.shade)
        p.ball(s * 0.19, 0.94, 0.15, 0.07, fill=INK)
    p.limb((-0.24, -0.34), (-0.38, -0.06), (-0.4, 0.2), width=0.15)
    p.ball(-0.4, 0.25, 0.09, fill=SKIN)
    p.limb((0.22, -0.33), (0.46, -0.42), (0.56, -0.76), width=0.15)
    p.ball(0.57, -0.85, 0.1, fill=SKIN)
    p.box(-0.08, -0.56, 0.08, -0.36, fill=mix(SKIN, BARK, 0.3), form="flat")
    p.blob((-0.3, -0.36), (-0.1, -0.43), (0.1, -0.43), (0.3, -0.36), (0.25, -0.1), (0.25, 0.24), (-0.25, 0.24), (-0.25, -0.1))
    p.line((0, -0.4), (0, 0.2), width=0.05, fill=p.light)
    p.line((-0.22, 0.23), (0.22, 0.23), width=0.07, fill=BARK)
    _small_head(p, 0, -0.74, SKIN, BARK)


def person_in_dress(p):
    """Draw a woman in a long dress."""
    hair = (70, 44, 34)
    p.blob((0, -0.98), (0.24, -0.86), (0.26, -0.46), (0, -0.36), (-0.26, -0.46), (-0.24, -0.86), fill=hair)
    for s in (-1, 1):
        p.limb((s * 0.12, 0.6), (s * 0.12, 0.9), width=0.13, fill=BROWN_SKIN)
        p.ball(s * 0.15, 0.95, 0.12, 0.06, fill=p.shade)
        p.limb((s * 0.22, -0.34), (s * 0.4, -0.08), (s * 0.34, 0.16), width=0.12, fill=BROWN_SKIN)
    p.box(-0.07, -0.56, 0.07, -0.32, fill=mix(BROWN_SKIN, BARK, 0.3), form="flat")
    p.blob(
        (-0.28, -0.38), (0, -0.34), (0.28, -0.38), (0.2, -0.02), (0.36, 0.4), (0.52, 0.72), (0, 0.8), (-0.52, 0.72),
        (-0.36, 0.4), (-0.2, -0.02),
    )  # fmt: skip
    p.blob((0.04, 0.04), (0.2, 0.04), (0.5, 0.7), (0.2, 0.77), fill=p.shade, form=None)
    p.line((-0.18, -0.02), (0, 0.02), (0.18, -0.02), width=0.09, fill=p.light)
    _small_head(p, 0, -0.72, BROWN_SKIN, hair)


def walking_person(p):
    """Draw a person walking with a rucksack and a cap."""
    p.limb((0, 0.2), (-0.2, 0.5), (-0.42, 0.82), width=0.22, end=0.17, fill=p.shade)
    p.ball(-0.4, 0.9, 0.15, 0.08, turn=20, fill=INK)
    p.limb((0.04, -0.28), (0.3, -0.08), (0.46, 0.06), width=0.15, fill=p.shade)
    p.ball(0.5, 0.08, 0.09, fill=TANNED)
    p.blob((-0.24, -0.42), (-0.5, -0.34), (-0.52, 0.08), (-0.2, 0.14), fill=IRON)
    p.blob((-0.22, -0.42), (0, -0.5), (0.22, -0.4), (0.24, 0.24), (-0.22, 0.26))
    p.limb((0.04, 0.2), (0.26, 0.48), (0.3, 0.86), width=0.23, end=0.18, fill=p.shade)
    p.ball(0.38, 0.93, 0.17, 0.07, fill=INK)
    p.limb((-0.02, -0.3), (-0.18, -0.02), (-0.06, 0.14), width=0.16, fill=p.light)
    p.ball(-0.02, 0.16, 0.09, fill=TANNED)
    p.ball(0.04, -0.7, 0.21, 0.22, fill=TANNED)
    p.ball(0.25, -0.66, 0.05, fill=TANNED)
    p.dot(0.14, -0.72, 0.03, 0.04)
    p.line((0.12, -0.58), (0.2, -0.59), width=0.035, fill=(186, 50, 60))
    p.blob((-0.2, -0.6), (-0.2, -0.8), (-0.06, -0.72), (-0.08, -0.54), fill=BARK)
    p.pie(0.02, -0.76, 0.23, 0.22, 180, 360)
    p.limb((0.1, -0.77), (0.38, -0.75), width=0.08, fill=p.shade)


PEOPLE = {
    "face": (capped_face, long_haired_face, bearded_face),
    "person": (waving_person, person_in_dress, walking_person),
}
