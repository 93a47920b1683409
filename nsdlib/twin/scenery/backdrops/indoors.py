"""Backgrounds inside a house: room and kitchen."""

from itertools import pairwise

from nsdlib.twin.scenery.pen import mix


def _boards(canvas, top, light, dark):
    """Floor boards in perspective."""
    canvas.gradient(mix(light, dark, 0.35), light, mix(light, dark, 0.3), top=top)
    for i in range(-8, 9):
        far, near = 0.5 + 0.13 * i, 0.5 + 0.3 * i
        canvas.polygon((far, top), (far + 0.006, top), (near + 0.012, 1), (near, 1), fill=dark)
        share = canvas.random.random()
        x, y = 0.5 + (0.13 + 0.17 * share) * i, top + (1 - top) * share
        canvas.polygon((x, y), (x + 0.13 + 0.17 * share, y), (x + 0.13 + 0.17 * share, y + 0.008), (x, y + 0.008), fill=dark)


def _window(canvas, left, top, width, height, frame):
    """A window with a view of sky and green, and its light."""
    right, bottom = left + width, top + height
    canvas.box(left - 0.02, top - 0.02, right + 0.02, bottom + 0.02, fill=frame)
    canvas.gradient((130, 196, 236), (222, 240, 246), left=left, top=top, right=right, bottom=bottom)
    canvas.ellipse(left + 0.35 * width, top + 0.4 * height, 0.2 * width, 0.1 * height, fill=(250, 252, 255))
    canvas.box(left, bottom - 0.26 * height, right, bottom, fill=(128, 184, 104))
    canvas.box(left + width / 2 - 0.008, top, left + width / 2 + 0.008, bottom, fill=frame)
    canvas.box(left, top + height / 2 - 0.008, right, top + height / 2 + 0.008, fill=frame)
    canvas.box(left - 0.035, bottom + 0.015, right + 0.035, bottom + 0.04, fill=mix(frame, (120, 100, 90), 0.25))


def room(canvas):
    """A living room: a papered wall with window and picture, a sofa, a rug on floor boards."""
    horizon = canvas.between(0.6, 0.68)
    wall = canvas.pick((240, 206, 170), (206, 220, 200), (226, 200, 206), (236, 220, 176), (190, 208, 220))
    canvas.gradient(mix(wall, (90, 70, 80), 0.12), wall, mix(wall, (255, 255, 255), 0.2), bottom=horizon)
    for i in range(11):
        canvas.box(0.1 * i - 0.02, 0, 0.1 * i + 0.022, horizon, fill=mix(wall, (255, 255, 255), 0.22))
    canvas.box(0, horizon - 0.035, 1, horizon, fill=(250, 246, 238))
    _boards(canvas, horizon, (206, 152, 102), (160, 108, 70))
    left = canvas.random.random() < 0.5
    _window(canvas, 0.1 if left else 0.62, 0.1, 0.26, 0.3, (252, 250, 246))
    _curtain(canvas, 0.03 if left else 0.55, canvas.pick((206, 96, 88), (96, 140, 168), (222, 164, 84)))
    _picture(canvas, 0.76 if left else 0.2, 0.22)
    for rx, ry, fill in ((0.42, 0.12, (178, 84, 78)), (0.37, 0.1, (236, 206, 160)), (0.31, 0.08, (196, 104, 92))):
        canvas.ellipse(0.5, horizon + 0.2, rx, ry, fill=fill)
    _sofa(canvas, 0.8 if left else 0.2, horizon + 0.05, canvas.pick((96, 132, 140), (150, 122, 150), (128, 146, 104)))
    canvas.box(0.08 if left else 0.84, horizon - 0.05, 0.16 if left else 0.92, horizon + 0.05, fill=(206, 120, 84), radius=0.01)
    canvas.prop("leaf", 0.12 if left else 0.88, horizon - 0.03, 0.22)


def _curtain(canvas, left, colour):
    """Curtains on both sides of a window."""
    for x, light in ((left, 0.15), (left + 0.33, 0.0)):
        for k in range(3):
            canvas.box(x + 0.025 * k, 0.05, x + 0.025 * (k + 1), 0.47, fill=mix(colour, (255, 255, 255), light + 0.1 * (k % 2)))
    canvas.box(left - 0.02, 0.04, left + 0.43, 0.06, fill=(120, 86, 62))


def _picture(canvas, x, y):
    """A framed picture of hills."""
    canvas.box(x - 0.11, y - 0.09, x + 0.11, y + 0.09, fill=(150, 104, 64))
    canvas.box(x - 0.09, y - 0.07, x + 0.09, y + 0.07, fill=(232, 224, 204))
    hills = (-0.09, 0.07), (-0.03, -0.03), (0.02, 0.03), (0.05, 0), (0.09, 0.07)
    canvas.polygon(*((x + dx, y + dy) for dx, dy in hills), fill=(132, 160, 150))
    canvas.ellipse(x + 0.05, y - 0.035, 0.016, fill=(240, 170, 100))


def _sofa(canvas, x, foot, colour):
    """A sofa at the wall."""
    dark, light = mix(colour, (30, 20, 40), 0.25), mix(colour, (255, 255, 255), 0.2)
    canvas.box(x - 0.25, foot - 0.2, x + 0.25, foot - 0.02, fill=dark, radius=0.03)
    for side in (-0.22, 0.01):
        canvas.box(x + side, foot - 0.19, x + side + 0.21, foot - 0.08, fill=colour, radius=0.025)
        canvas.box(x + side, foot - 0.1, x + side + 0.21, foot - 0.05, fill=light, radius=0.015)
    for side in (-0.28, 0.21):
        canvas.box(x + side, foot - 0.13, x + side + 0.07, foot, fill=colour, radius=0.02)


def kitchen(canvas):
    """A kitchen: tiles, cupboards, a stove and a chequered floor."""
    horizon = canvas.between(0.66, 0.72)
    paint = canvas.pick((122, 168, 166), (232, 190, 120), (172, 190, 150), (204, 130, 110), (140, 162, 196))
    canvas.gradient((242, 240, 232), (226, 226, 220), bottom=horizon)
    for i in range(14):
        canvas.box(0.075 * i - 0.004, 0, 0.075 * i + 0.004, horizon, fill=(204, 208, 206))
        canvas.box(0, 0.075 * i - 0.004, 1, min(horizon, 0.075 * i + 0.004), fill=(204, 208, 206))
    left = canvas.random.random() < 0.5
    _window(canvas, 0.37, 0.09, 0.26, 0.24, (252, 250, 246))
    counter = horizon - 0.2
    for x in (-0.06, 0.7):
        _cupboard(canvas, x, 0.0, 0.36, 0.27, paint)
    for i in range(5):
        _cupboard(canvas, 0.2 * i, counter, 0.2, horizon - counter, mix(paint, (60, 50, 70), 0.1))
    canvas.box(0, counter - 0.03, 1, counter, fill=(176, 122, 80))
    canvas.box(0, counter - 0.03, 1, counter - 0.018, fill=(206, 154, 106))
    _stove(canvas, 0.76 if left else 0.06, counter, horizon)
    x, foot = (0.12 if left else 0.84) - 0.11, counter - 0.03
    jars = (0.12, (206, 108, 80)), (0.09, (238, 214, 160)), (0.1, (126, 160, 130))
    for k, (height, fill) in enumerate(jars):
        edge, top = x + 0.075 * k, foot - height
        canvas.box(edge, top, edge + 0.06, foot, fill=fill, radius=0.012)
        canvas.box(edge + 0.004, top - 0.018, edge + 0.056, top + 0.012, fill=(120, 84, 62))
    canvas.box(0, horizon - 0.025, 1, horizon, fill=(84, 76, 80))
    _chequers(canvas, horizon, (244, 240, 230), mix(paint, (120, 100, 100), 0.35))


def _cupboard(canvas, left, top, width, height, colour):
    """A cupboard with two doors and knobs."""
    canvas.box(left, top, left + width, top + height, fill=mix(colour, (40, 30, 40), 0.3))
    for k in range(2):
        x = left + k * width / 2
        canvas.box(x + 0.006, top + 0.008, x + width / 2 - 0.006, top + height - 0.012, fill=colour)
        canvas.box(x + 0.022, top + 0.03, x + width / 2 - 0.022, top + height - 0.034, fill=mix(colour, (255, 255, 255), 0.22))
        canvas.ellipse(left + width / 2 + (0.014 if k else -0.014), top + height / 2, 0.008, fill=(250, 236, 190))


def _stove(canvas, left, top, foot):
    """A stove with an oven, and a pot on it."""
    canvas.box(left, top - 0.035, left + 0.2, foot, fill=(236, 236, 238))
    canvas.box(left, top - 0.035, left + 0.2, top - 0.015, fill=(56, 56, 64))
    canvas.box(left + 0.025, top + 0.05, left + 0.175, foot - 0.04, fill=(60, 62, 74), radius=0.01)
    canvas.box(left + 0.04, top + 0.065, left + 0.16, foot - 0.075, fill=(206, 140, 84), radius=0.006)
    for k in range(4):
        canvas.ellipse(left + 0.035 + 0.043 * k, top + 0.015, 0.011, fill=(80, 80, 90))
    canvas.box(left + 0.05, top - 0.125, left + 0.16, top - 0.035, fill=(160, 170, 182), radius=0.012)
    canvas.box(left + 0.04, top - 0.135, left + 0.17, top - 0.115, fill=(112, 122, 136), radius=0.008)


def _chequers(canvas, top, light, dark):
    """A chequered floor in perspective."""
    canvas.gradient(mix(light, dark, 0.2), light, top=top)
    rows = [top + (1 - top) * (k / 4) ** 1.5 for k in range(5)]
    for k, (far, near) in enumerate(pairwise(rows)):
        wide = [0.13 + 0.12 * (y - top) / (1 - top) for y in (far, near)]
        for i in range(-5, 5):
            if (i + k) % 2:
                canvas.polygon(
                    (0.5 + i * wide[0], far), (0.5 + (i + 1) * wide[0], far), (0.5 + (i + 1) * wide[1], near),
                    (0.5 + i * wide[1], near), fill=dark,
                )  # fmt: skip
