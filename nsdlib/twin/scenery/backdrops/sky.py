"""Backgrounds of the sky: night, space and sunset."""

from math import cos, pi, sin

from nsdlib.twin.scenery.backdrops.canvas import WHITE
from nsdlib.twin.scenery.pen import mix


def _stars(canvas, number, bottom):
    """Stars of several sizes over the upper part of the picture."""
    canvas.texture("stars", top=0.0, bottom=bottom, fill=(255, 250, 226))
    for x in canvas.spread(number):
        y, radius = canvas.between(0.02, bottom - 0.05), canvas.between(0.012, 0.02)
        rays = (0, -1), (0.22, -0.22), (1, 0), (0.22, 0.22), (0, 1), (-0.22, 0.22), (-1, 0), (-0.22, -0.22)
        canvas.polygon(*((x + dx * radius, y + dy * radius) for dx, dy in rays), fill=(255, 250, 220))


def night(canvas):
    """A clear night: moon and stars over dark hills with lit windows."""
    horizon = canvas.between(0.58, 0.68)
    canvas.gradient((14, 20, 62), (30, 44, 104), (66, 86, 150), bottom=horizon + 0.04)
    _stars(canvas, 6, horizon)
    x, y, radius = canvas.pick(0.16, 0.84) + canvas.between(-0.04, 0.04), canvas.between(0.14, 0.22), 0.085
    canvas.glow(x, y, 0.26, fill=(170, 186, 232), strength=0.7)
    canvas.ellipse(x, y, radius, fill=(250, 244, 212))
    for dx, dy, r in ((0.3, -0.2, 0.2), (-0.25, 0.3, 0.16), (0.25, 0.4, 0.12)):
        canvas.ellipse(x + dx * radius, y + dy * radius, r * radius, fill=(228, 218, 182))
    canvas.land(canvas.waves(horizon - 0.05, 0.06, 1.2), (44, 62, 122), (50, 70, 126), bottom=horizon + 0.1)
    for x in canvas.spread(3):
        canvas.prop("cottage", x, horizon + 0.03, 0.085, haze=(30, 40, 86), amount=0.75)
        canvas.box(x - 0.02, horizon - 0.005, x - 0.004, horizon + 0.014, fill=(255, 214, 120))
    for x in canvas.spread(4):
        canvas.prop("leafy tree", x, horizon + 0.04, canvas.between(0.1, 0.18), haze=(22, 34, 80), amount=0.8)
    canvas.land(canvas.waves(horizon + 0.02, 0.015, 1), (52, 82, 120), (36, 62, 98), (22, 40, 74))
    canvas.texture("grass", top=horizon + 0.04, fill=(88, 124, 156))
    canvas.texture("grass", top=horizon + 0.04, fill=(18, 34, 68))


def space(canvas):
    """Stars, coloured mist and planets, and the edge of a moon as the only ground."""
    ground = canvas.between(0.84, 0.9)
    canvas.gradient((18, 12, 44), (36, 20, 78), (24, 16, 62))
    for x, colour in zip(canvas.spread(4), ((126, 48, 150), (44, 92, 176), (180, 60, 130), (40, 130, 150)), strict=True):
        canvas.glow(x, canvas.between(0.1, 0.8), canvas.between(0.3, 0.5), canvas.between(0.18, 0.3), fill=colour, strength=0.6)
    _stars(canvas, 9, 0.98)
    corners = [(0.16, 0.2), (0.86, 0.18), (0.9, 0.62), (0.1, 0.62)]
    canvas.random.shuffle(corners)
    tones = [(232, 160, 96), (90, 170, 200), (206, 104, 112), (150, 190, 120)]
    canvas.random.shuffle(tones)
    _planet(canvas, *corners[0], canvas.between(0.09, 0.13), tones[0], ring=True)
    _planet(canvas, *corners[1], canvas.between(0.04, 0.07), tones[1], ring=False)
    canvas.ellipse(0.5, ground + 0.9, 1.3, 0.9, fill=(150, 146, 168))
    canvas.ellipse(0.52, ground + 0.93, 1.3, 0.91, fill=(118, 114, 140))
    for x in canvas.spread(5):
        y = canvas.between(ground + 0.06, 1)
        canvas.ellipse(x, y, 0.06, 0.018, fill=(88, 84, 112))
        canvas.ellipse(x + 0.006, y + 0.005, 0.05, 0.013, fill=(104, 100, 128))


def _planet(canvas, x, y, radius, colour, *, ring):
    """A planet lit from the upper left, with or without a ring."""
    canvas.glow(x, y, 1.6 * radius, fill=colour, strength=0.5)
    canvas.ellipse(x, y, radius, fill=mix(colour, (20, 10, 50), 0.5))
    canvas.ellipse(x - 0.1 * radius, y - 0.1 * radius, 0.9 * radius, fill=colour)
    canvas.ellipse(x - 0.3 * radius, y - 0.32 * radius, 0.5 * radius, fill=mix(colour, WHITE, 0.3))
    if ring:
        for k, width in ((0, 0.16), (1, 0.09)):
            _ring(canvas, x, y, (1.75 - 0.3 * k) * radius, width * radius, ((250, 228, 186), (196, 160, 150))[k])


def _ring(canvas, x, y, radius, width, colour):
    """The front half of a planet's ring, and the ends of the half behind it."""
    angles = [pi * (i / 20 * 1.3 - 0.15) for i in range(21)]
    points = [(radius * cos(angle), 0.3 * radius * sin(angle)) for angle in angles]
    canvas.line(*[(x + 0.95 * u + 0.28 * v, y - 0.28 * u + 0.95 * v) for u, v in points], width=width, fill=colour)


def sunset(canvas):
    """A low red sun between bands of cloud over dark hills and shining water."""
    horizon = canvas.between(0.54, 0.62)
    violet = canvas.random.random()
    canvas.gradient(mix((86, 62, 130), (60, 70, 140), violet), (206, 92, 122), (250, 146, 88), (255, 212, 120), bottom=horizon)
    x = canvas.between(0.15, 0.85)
    canvas.glow(x, horizon - 0.06, 0.5, 0.4, fill=(255, 232, 150), strength=0.9)
    canvas.ellipse(x, horizon - 0.05, 0.12, fill=(255, 244, 190))
    for cloud_x in canvas.spread(5):
        y, width = canvas.between(0.08, horizon - 0.14), canvas.between(0.12, 0.24)
        colour = mix((226, 110, 140), (255, 190, 130), y / horizon)
        canvas.ellipse(cloud_x, y, width, 0.02, fill=colour)
        canvas.ellipse(cloud_x + 0.06, y - 0.018, 0.6 * width, 0.022, fill=mix(colour, (255, 224, 180), 0.25))
    canvas.land(canvas.waves(horizon - 0.04, 0.035, 1.4), (150, 74, 112), (122, 62, 104), bottom=horizon + 0.01)
    canvas.gradient((250, 172, 104), (206, 104, 108), (124, 66, 108), top=horizon, bottom=horizon + 0.16)
    for i in range(7):
        y, width = horizon + 0.008 + 0.018 * i, 0.12 - 0.012 * i + canvas.between(-0.02, 0.02)
        canvas.box(x - width, y, x + width, y + 0.01, fill=(255, 228, 150), radius=0.004)
    canvas.land(canvas.waves(horizon + 0.12, 0.015, 0.8), (112, 70, 92), (84, 52, 82), (58, 38, 68))
    canvas.texture("grass", top=horizon + 0.13, fill=(152, 92, 96))
    canvas.texture("grass", top=horizon + 0.13, fill=(52, 32, 60))
