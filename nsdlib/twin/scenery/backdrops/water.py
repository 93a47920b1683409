"""Backgrounds by the water: beach, sea, lake and under water."""

from math import pi, sin

from nsdlib.twin.scenery.backdrops.nature import day_sky, peaks, ridge
from nsdlib.twin.scenery.pen import mix


def beach(canvas):
    """Sand, a turquoise sea and a palm at the side."""
    sea, horizon = canvas.between(0.36, 0.42), canvas.between(0.56, 0.62)
    day_sky(canvas, sea, clouds=2, high=(70, 168, 226))
    canvas.gradient((34, 128, 186), (46, 172, 200), (132, 218, 212), top=sea, bottom=horizon + 0.08)
    canvas.texture("ripples", top=sea, bottom=horizon + 0.04, fill=(190, 236, 236))
    shore = canvas.waves(horizon, 0.018, 0.9)
    canvas.land([(x, y - 0.016) for x, y in shore], (255, 255, 252), bottom=horizon + 0.1)
    canvas.land([(x, y + 0.006) for x, y in shore], (206, 178, 132), bottom=horizon + 0.12)
    canvas.land([(x, y + 0.035) for x, y in shore], (250, 226, 172), (240, 208, 146), (226, 188, 124))
    canvas.texture("grain", top=horizon + 0.05, fill=(176, 132, 80))
    canvas.texture("ripples", top=horizon + 0.08, fill=(255, 240, 200))
    for x in canvas.spread(3):
        _starfish(canvas, x, canvas.between(horizon + 0.14, 0.96))
    if canvas.random.random() < 0.75:
        canvas.prop("palm", canvas.pick(0.1, 0.9), horizon + 0.14, canvas.between(0.5, 0.62))


def _starfish(canvas, x, y):
    """A small starfish in the sand."""
    radius = 0.03 * y
    points = [
        (x + radius * r * sin(i * pi / 5), 0.6 * radius * r * -sin(i * pi / 5 + pi / 2) + y) for i, r in enumerate((1, 0.45) * 5)
    ]
    canvas.polygon(*[(px, py + 0.012) for px, py in points], fill=(206, 164, 108))
    canvas.polygon(*points, fill=(232, 116, 88))


def sea(canvas):
    """The open sea with waves up to the horizon."""
    horizon = canvas.between(0.34, 0.44)
    day_sky(canvas, horizon, clouds=4, high=(98, 160, 214))
    canvas.gradient((86, 156, 194), (34, 110, 168), (16, 74, 132), (12, 52, 104), top=horizon)
    canvas.texture("ripples", top=horizon, fill=(150, 208, 226))
    for i in range(4):
        depth = (i + canvas.between(0.6, 1.2)) / 4.4
        level, height = horizon + depth * (1 - horizon), 0.008 + 0.02 * depth
        _swell(canvas, level, height, 5 - 3 * depth, mix((58, 138, 184), (14, 66, 124), depth))
    canvas.texture("ripples", top=horizon + 0.02, fill=(8, 44, 94))


def _swell(canvas, level, height, number, colour):
    """A row of waves with bright crests."""
    start = canvas.random.random()
    line = [(i / 40, level - height * (1 - abs(sin(pi * (number * i / 40 + start)))) ** 1.5 * 2.2) for i in range(41)]
    canvas.polygon(*line, *[(x, y + 2.4 * height) for x, y in line[::-1]], fill=colour)
    canvas.line(*line, width=0.008 + 0.2 * height, fill=mix(colour, (222, 242, 248), 0.6))


def lake(canvas):
    """A calm lake that mirrors wooded hills, with reeds at the near bank."""
    shore, bank = canvas.between(0.4, 0.46), canvas.between(0.76, 0.82)
    day_sky(canvas, shore, clouds=2)
    line, tops = ridge(canvas, shore, 0.3, 3)
    peaks(canvas, line, tops, shore, (150, 176, 200), (126, 154, 186), snow=False)
    canvas.land(canvas.waves(shore - 0.06, 0.03, 1.3), (88, 146, 118), (70, 128, 94), bottom=shore)
    firs = [(x, canvas.between(0.1, 0.18)) for x in canvas.spread(11)]
    for x, side in firs:
        canvas.prop("conifer", x, shore + 0.005, side, haze=(150, 190, 190), amount=0.25)
    canvas.gradient((84, 136, 132), (120, 182, 206), (92, 158, 200), (62, 124, 176), top=shore, bottom=bank + 0.03)
    for x, side in firs:
        half = 0.26 * side
        canvas.polygon((x - half, shore), (x + half, shore), (x, shore + 0.8 * side), fill=(78, 132, 136))
    canvas.texture("ripples", top=shore + 0.02, bottom=bank + 0.02, fill=(206, 232, 238))
    for x in canvas.spread(5):
        _lily(canvas, x, canvas.between(shore + 0.2, bank - 0.02))
    canvas.land(canvas.waves(bank, 0.015, 0.8), (132, 180, 86), (84, 142, 66))
    canvas.texture("grass", top=bank, fill=(170, 212, 104))
    for x in canvas.spread(9):
        _reed(canvas, x if x < 0.25 or x > 0.75 else x / 4, bank + canvas.between(0.05, 0.2), canvas.between(0.16, 0.28))


def _lily(canvas, x, y):
    """A lily pad with a pink flower."""
    canvas.ellipse(x, y, 0.05, 0.016, fill=(66, 146, 84))
    canvas.ellipse(x - 0.012, y - 0.01, 0.016, 0.012, fill=(248, 178, 204))


def _reed(canvas, x, foot, height):
    """A reed with its brown head."""
    canvas.line((x, foot), (x + 0.015, foot - height), width=0.01, fill=(74, 124, 62))
    canvas.line((x + 0.015, foot - height), (x + 0.016, foot - height + 0.06), width=0.024, fill=(116, 78, 48))


def underwater(canvas):
    """The sea floor with corals, weeds, rays of light and bubbles."""
    floor = canvas.between(0.74, 0.82)
    canvas.gradient((142, 226, 230), (50, 166, 204), (20, 108, 170), (18, 84, 144), bottom=floor + 0.05)
    for x in canvas.spread(4):
        _ray(canvas, x, canvas.between(0.06, 0.12), floor)
    canvas.land(canvas.waves(floor - 0.1, 0.06, 1.4), (32, 110, 160), (48, 132, 166), bottom=floor + 0.06)
    for x in canvas.spread(4):
        canvas.prop(canvas.pick("coral", "weed"), x, floor + 0.02, canvas.between(0.12, 0.2), haze=(38, 122, 172), amount=0.5)
    canvas.land(canvas.waves(floor, 0.022, 0.9), (206, 214, 176), (176, 182, 148), (120, 146, 142))
    canvas.texture("ripples", top=floor + 0.02, fill=(236, 238, 204))
    for i, x in enumerate((0.04, 0.2, 0.78, 0.95)):
        name = ("weed", "coral")[(i + canvas.random.randrange(2)) % 2]
        canvas.prop(name, x + canvas.between(-0.05, 0.05), canvas.between(floor + 0.06, 0.99), canvas.between(0.2, 0.34))
    for x in canvas.spread(12):
        y, radius = canvas.between(0.04, floor), canvas.between(0.008, 0.02)
        canvas.ellipse(x, y, radius, fill=(156, 222, 236))
        canvas.ellipse(x - 0.25 * radius, y - 0.25 * radius, 0.5 * radius, fill=(226, 248, 252))


def _ray(canvas, x, half, floor):
    """A shaft of light from the surface, brighter at the top."""
    canvas.glow(x - 0.05, 0.0, half * 1.6, 0.9 * floor, fill=(206, 250, 246), strength=0.5)
