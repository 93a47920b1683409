"""Drawings of people: faces and whole persons, dressed in the given colour."""

from nsdlib.twin.scenery.pen import BARK, INK, IRON, SKIN, WHITE, mirrored, mix

TANNED, BROWN_SKIN = (222, 170, 128), (166, 110, 76)


def _features(p, skin):
    """Draw eyes, brows, nose, cheeks and a smile on the head of `_bust`."""
    p = p.at(0, 0, 0.58)
    for s in (-1, 1):
        p.dot(s * 0.55, 0.3, 0.2, 0.14, fill=mix(skin, (240, 90, 90), 0.35))
        p.eye(s * 0.36, -0.06, 0.15, fill=(70, 46, 36))
        p.line((s * 0.2, -0.32), (s * 0.5, -0.34), width=0.08, fill=BARK)
    p.line((0, 0), (0.07, 0.22), (-0.04, 0.24), width=0.08, fill=mix(skin, (150, 60, 40), 0.45))
    p.blob((-0.34, 0.46), (0, 0.52), (0.34, 0.46), (0, 0.76), fill=(186, 50, 60), form=None)
    p.line((-0.2, 0.53), (0.2, 0.53), width=0.07, fill=WHITE)


def _bust(p, skin):
    """Draw shoulders in the colour, a neck, and a head with ears."""
    p.blob(*mirrored((0.4, 0.56), (0.86, 0.74), (0.92, 1), (0.4, 1.04)))
    p.blob(*mirrored((0.24, 0.4), (0.28, 0.62), (0, 0.76)), fill=mix(skin, (120, 50, 40), 0.25))
    p = p.at(0, -0.05)
    for s in (-1, 1):
        p.ball(s * 0.54, 0.04, 0.13, 0.17, fill=skin)
    p.blob(*mirrored((0, -0.66), (0.42, -0.5), (0.56, 0), (0.4, 0.48), (0, 0.66)), fill=skin)


def _capped_face(p):
    _bust(p, SKIN)
    _features(p, SKIN)
    p.ball(0, -0.96, 0.2, fill=p.light)
    p.blob(*mirrored((0, -0.92), (0.6, -0.62), (0.64, -0.26), (0, -0.34)))
    p.limb((-0.6, -0.28), (0, -0.38), (0.6, -0.28), width=0.2, fill=p.light)
    p.limb((-0.46, 0.6), (0, 0.74), (0.46, 0.6), width=0.26, fill=p.light)


def _long_haired_face(p):
    p.blob(*mirrored((0, -0.98), (0.6, -0.8), (0.8, -0.1), (0.78, 0.6), (0.5, 0.86)))
    _bust(p, TANNED)
    _features(p, TANNED)
    p.blob((-0.1, -0.92), (-0.56, -0.7), (-0.74, 0.1), (-0.6, 0.5), (-0.5, 0), (-0.34, -0.34), (0, -0.6))
    fringe = (-0.16, -0.92), (0.5, -0.8), (0.74, 0.1), (0.6, 0.5), (0.52, 0), (0.42, -0.3), (0.1, -0.5), (-0.1, -0.62)
    p.blob(*fringe, fill=p.light)


def _bearded_face(p):
    skin = BROWN_SKIN if sum(p.colour) > 200 else SKIN
    _bust(p, skin)
    p.blob(*mirrored((0, 0.28), (0.46, 0.2), (0.6, -0.02), (0.54, 0.48), (0.24, 0.84)))
    _features(p, skin)
    p.limb((-0.28, 0.26), (0, 0.2), (0.28, 0.26), width=0.13, end=0.13, fill=p.shade)
    p.ball(0, 0.11, 0.12, 0.1, fill=mix(skin, (210, 90, 70), 0.2))
    p.blob(
        (-0.6, -0.02), (-0.64, -0.5), (-0.36, -0.86), (0.1, -0.94), (0.52, -0.74), (0.62, -0.02), (0.46, -0.34), (0, -0.44),
        (-0.44, -0.3),
    )  # fmt: skip


def _small_head(p, y, skin, hair):
    """Draw a whole person's head."""
    p = p.at(0, y)
    p.ball(0, -0.02, 0.25, 0.26, fill=hair)
    p.ball(0, 0.04, 0.21, 0.21, fill=skin)
    for s in (-1, 1):
        p.dot(s * 0.08, 0.03, 0.035, 0.042)
    p.line((-0.08, 0.12), (0, 0.16), (0.08, 0.12), width=0.04, fill=(186, 50, 60))
    p.blob((-0.23, 0), (-0.19, -0.22), (0, -0.29), (0.19, -0.22), (0.23, 0), (0.09, -0.11), (-0.09, -0.09), fill=hair)


def _waving_person(p):
    for s in (-1, 1):
        p.limb((s * 0.12, 0.2), (s * 0.15, 0.86), width=0.2, end=0.16, fill=p.shade)
        p.ball(s * 0.19, 0.94, 0.15, 0.07, fill=INK)
    p.limb((-0.24, -0.34), (-0.38, -0.06), (-0.4, 0.2), width=0.15)
    p.ball(-0.4, 0.25, 0.09, fill=SKIN)
    p.limb((0.22, -0.33), (0.46, -0.42), (0.56, -0.76), width=0.15)
    p.ball(0.57, -0.85, 0.1, fill=SKIN)
    p.box(-0.08, -0.56, 0.08, -0.36, fill=mix(SKIN, BARK, 0.3), form="flat")
    p.blob(*mirrored((0.1, -0.43), (0.3, -0.36), (0.25, -0.1), (0.25, 0.24)))
    p.line((0, -0.4), (0, 0.2), width=0.05, fill=p.light)
    p.line((-0.22, 0.23), (0.22, 0.23), width=0.07, fill=BARK)
    _small_head(p, -0.74, SKIN, BARK)


def _person_in_dress(p):
    hair = (70, 44, 34)
    p.blob(*mirrored((0, -0.98), (0.24, -0.86), (0.26, -0.46), (0, -0.36)), fill=hair)
    for s in (-1, 1):
        p.limb((s * 0.12, 0.6), (s * 0.12, 0.9), width=0.13, fill=BROWN_SKIN)
        p.ball(s * 0.15, 0.95, 0.12, 0.06, fill=p.shade)
        p.limb((s * 0.22, -0.34), (s * 0.4, -0.08), (s * 0.34, 0.16), width=0.12, fill=BROWN_SKIN)
    p.box(-0.07, -0.56, 0.07, -0.32, fill=mix(BROWN_SKIN, BARK, 0.3), form="flat")
    p.blob(*mirrored((0, -0.34), (0.28, -0.38), (0.2, -0.02), (0.36, 0.4), (0.52, 0.72), (0, 0.8)))
    p.blob((0.04, 0.04), (0.2, 0.04), (0.5, 0.7), (0.2, 0.77), fill=p.shade, form=None)
    p.line((-0.18, -0.02), (0, 0.02), (0.18, -0.02), width=0.09, fill=p.light)
    _small_head(p, -0.72, BROWN_SKIN, hair)


def _walking_person(p):
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
    "face": (_capped_face, _long_haired_face, _bearded_face),
    "person": (_waving_person, _person_in_dress, _walking_person),
}
