"""Backgrounds of land and water: meadow, desert, snow, mountains, forest, jungle, beach, sea, lake and under water."""

from math import pi, sin

from nsdlib.twin.scenery.backdrops.canvas import WHITE
from nsdlib.twin.scenery.pen import mix

SKY_HIGH, SKY_LOW = (96, 170, 228), (206, 234, 246)


def day_sky(canvas, bottom, clouds=3, high=SKY_HIGH, low=SKY_LOW):
    """Paint a blue sky with sun and clouds down to `bottom`."""
    warm = canvas.between(0, 0.5)
    canvas.gradient(high, mix(high, low, 0.45), mix(low, (255, 240, 214), warm), bottom=bottom)
    if canvas.random.random() < 0.5:
        x = canvas.pick(0.14, 0.85)
        canvas.glow(x, 0.13, 0.22, fill=(255, 248, 214), strength=0.8)
        canvas.ellipse(x, 0.13, 0.06, fill=(255, 240, 170))
    for x in canvas.spread(clouds):
        side = canvas.between(0.22, 0.36)
        canvas.prop("cloud", x, canvas.between(0.16, max(0.2, 0.8 * bottom)), side)


def ridge(canvas, level, height, number, jag=0.5):
    """Return a jagged line of mountains as (x, y) points and the indices of its summits."""
    points, tops = [(-0.1, level)], []
    for i in range(number):
        left = -0.05 + 1.1 * i / number
        x = left + (0.5 + canvas.between(-0.15, 0.15)) * 1.1 / number
        tops.append(len(points))
        points.append((x, level - height * canvas.between(0.65, 1)))
        points.append((left + 1.1 / number, level - height * jag * canvas.between(0.3, 0.8)))
    return [*points, (1.1, level)], tops


def peaks(canvas, line, tops, level, lit, dark, *, snow=True):
    """Paint mountains with a lit and a dark side, and snow on their summits."""
    canvas.polygon(*line, fill=lit)
    for i in tops:
        (lx, ly), (x, y), (rx, ry) = line[i - 1 : i + 2]
        foot = x + 0.35 * (rx - x)
        canvas.polygon((x, y), (rx, ry), (rx, level), (foot, level), (x + 0.01, y + 0.5 * (level - y)), fill=dark)
        if snow:
            cut = 0.42
            left, right = (x + cut * (lx - x), y + cut * (ly - y)), (x + cut * (rx - x), y + cut * (ry - y))
            drop = 0.3 * (level - y)
            mid = (x + 0.01, y + 1.15 * drop)
            canvas.polygon((x, y), left, (x - 0.4 * (x - left[0]), y + 0.75 * drop), mid, fill=(250, 252, 255))
            canvas.polygon((x, y), mid, (x + 0.45 * (right[0] - x), y + 0.7 * drop), right, fill=(204, 218, 238))


def meadow(canvas):
    """A green meadow with flowers under a blue sky."""
    horizon = canvas.between(0.46, 0.58)
    day_sky(canvas, horizon + 0.02)
    canvas.land(canvas.waves(horizon - 0.06, 0.05, 1.2), (150, 196, 190), (140, 196, 150), bottom=horizon + 0.06)
    canvas.land(canvas.waves(horizon - 0.01, 0.03, 1.5), (146, 200, 120), (122, 186, 92), bottom=horizon + 0.14)
    for x in canvas.spread(4):
        canvas.prop("leafy tree", x, horizon + 0.02, canvas.between(0.07, 0.13), haze=(160, 205, 190), amount=0.35)
    canvas.land(canvas.waves(horizon + 0.04, 0.015, 0.8), (142, 204, 88), (92, 172, 66), (64, 142, 54))
    canvas.texture("grass", top=horizon + 0.05, fill=(174, 222, 104))
    canvas.texture("grass", top=horizon + 0.06, fill=(44, 118, 48))
    canvas.texture("flowers", top=horizon + 0.06, fill=canvas.pick((255, 252, 240), (255, 226, 90), (246, 160, 190)))


def desert(canvas):
    """Dunes in the heat, with table mountains far away."""
    horizon = canvas.between(0.44, 0.56)
    canvas.gradient((92, 172, 214), (196, 216, 204), (252, 226, 168), bottom=horizon + 0.05)
    x = canvas.between(0.12, 0.88)
    canvas.glow(x, 0.15, 0.28, fill=(255, 246, 200))
    canvas.ellipse(x, 0.15, 0.075, fill=(255, 248, 214))
    for x in canvas.spread(2):
        width, height = canvas.between(0.1, 0.17), canvas.between(0.1, 0.17)
        top, base = horizon - height, horizon + 0.03
        for shares, fill in (((-1, -0.75, 0.7, 1), (214, 140, 108)), ((1, 0.7, 0.2, 0.3), (182, 108, 92))):
            corners = zip(shares, (base, top, top, base), strict=True)
            canvas.polygon(*((x + share * width, y) for share, y in corners), fill=fill)
    canvas.land(canvas.waves(horizon, 0.03, 1.1), (240, 196, 126), (226, 172, 100), bottom=horizon + 0.2)
    for level, tone in ((horizon + 0.08, 0.0), (horizon + 0.22, 0.5)):  # dunes from edge to edge, their slopes in the shade
        crest, height = canvas.between(0.2, 0.8), canvas.between(0.06, 0.1)
        lit = mix((250, 206, 132), (244, 188, 108), tone)
        top, slope = (crest, level - height), (crest + 0.3, level - 0.3 * height)
        outline = [(0, level), (crest * 0.6, level - 0.6 * height), top, slope, (1.3, level)]
        canvas.land(outline, lit, mix(lit, (214, 146, 80), 0.6))
        shade = top, slope, (1.2, level), (1.2, level + 0.2), (crest + 0.25, level + 0.06), (crest + 0.04, level - 0.35 * height)
        canvas.polygon(*shade, fill=mix((222, 152, 92), (212, 138, 80), tone))
    canvas.texture("ripples", top=horizon + 0.1, fill=(206, 140, 76))
    canvas.texture("ripples", top=horizon + 0.1, fill=(255, 222, 160))


def snow(canvas):
    """Hills and firs under snow, and flakes in the air."""
    horizon = canvas.between(0.46, 0.58)
    canvas.gradient((132, 170, 206), (190, 210, 228), (236, 236, 240), bottom=horizon + 0.04)
    canvas.land(canvas.waves(horizon - 0.07, 0.05, 1.2), (196, 212, 230), (216, 226, 238), bottom=horizon + 0.1)
    for x in canvas.spread(6):
        canvas.prop("snowy conifer", x, horizon + 0.01, canvas.between(0.12, 0.2), haze=(206, 220, 234), amount=0.4)
    canvas.land(canvas.waves(horizon, 0.03, 1), (240, 246, 252), (214, 226, 242), bottom=horizon + 0.2)
    for x, side in ((canvas.between(0.02, 0.2), 0.42), (canvas.between(0.8, 0.98), 0.34)):
        canvas.prop("snowy conifer", x, horizon + 0.07, side)
    canvas.land(canvas.waves(horizon + 0.07, 0.025, 0.8), (248, 251, 255), (222, 232, 246), (196, 212, 236))
    canvas.texture("grain", top=horizon + 0.1, fill=(160, 184, 220))
    for x in canvas.spread(26):
        canvas.ellipse(x, canvas.random.random(), canvas.between(0.006, 0.012), fill=WHITE)


def mountains(canvas):
    """High peaks with snow behind an alpine pasture."""
    horizon = canvas.between(0.52, 0.62)
    day_sky(canvas, horizon, clouds=2, high=(84, 152, 216))
    line, tops = ridge(canvas, horizon, horizon * 0.62, 4)
    peaks(canvas, line, tops, horizon, (166, 184, 214), (142, 162, 200))
    line, tops = ridge(canvas, horizon + 0.03, horizon * 0.74, canvas.pick(2, 3), jag=0.35)
    peaks(canvas, line, tops, horizon + 0.03, (138, 146, 168), (94, 104, 136))
    canvas.land(canvas.waves(horizon - 0.03, 0.03, 1.4), (82, 128, 110), (96, 146, 98), bottom=horizon + 0.1)
    for x in canvas.spread(8):
        canvas.prop("conifer", x, horizon + 0.03, canvas.between(0.09, 0.15), haze=(120, 160, 160), amount=0.25)
    canvas.land(canvas.waves(horizon + 0.02, 0.015, 1), (136, 176, 92), (104, 150, 74), (78, 122, 62))
    canvas.texture("grass", top=horizon + 0.04, fill=(168, 202, 104))
    for x in canvas.spread(4):
        depth = canvas.between(0.06, 0.36)
        canvas.prop("rock", x, horizon + depth, 0.06 + 0.3 * depth)


def forest(canvas):
    """Tall trunks, a dark canopy and shafts of light."""
    horizon = canvas.between(0.56, 0.66)
    canvas.gradient((52, 100, 66), (136, 178, 108), (206, 220, 148), bottom=horizon + 0.07)
    canvas.glow(0.5, 0.42, 0.5, 0.42, fill=(244, 246, 190), strength=0.8)
    layers = (9, 0.03, 0.0, (128, 150, 104)), (6, 0.048, 0.02, (96, 106, 76)), (4, 0.08, 0.06, (74, 62, 50))
    for layer, (number, width, low, bark) in enumerate(layers):
        for x in canvas.spread(number):
            if layer < 2 or abs(x - 0.5) > 0.16:  # no near trunk in the middle
                _trunk(canvas, x, width * canvas.between(0.8, 1.2), horizon + low, bark)
    for x in canvas.spread(7):
        canvas.prop("bush", x, horizon + 0.05, canvas.between(0.14, 0.22), shape=0, haze=(120, 160, 100), amount=0.25)
    canvas.land(canvas.waves(horizon + 0.03, 0.012, 1.5), (118, 142, 74), (84, 108, 54), (56, 76, 42))
    canvas.texture("leaves", top=horizon + 0.04, fill=(158, 146, 76))
    canvas.texture("grass", top=horizon + 0.03, fill=(126, 168, 78))
    for x in canvas.spread(9):
        y, tone = canvas.between(-0.02, 0.06), canvas.random.random()
        canvas.ellipse(x, y, canvas.between(0.12, 0.18), canvas.between(0.07, 0.12), fill=mix((24, 68, 46), (62, 118, 58), tone))


def _trunk(canvas, x, width, foot, bark):
    """A trunk from beyond the upper edge to its foot, lit on the left."""
    whole = (-1, 0), (1, 0), (1, foot - 0.04), (1.7, foot), (-1.7, foot), (-1, foot - 0.04)
    light = (-1, 0), (-0.2, 0), (-0.2, foot - 0.02), (-1.5, foot), (-1, foot - 0.05)
    for corners, fill in ((whole, bark), (light, mix(bark, (236, 222, 160), 0.28))):
        canvas.polygon(*((x + share * (width / 2), y) for share, y in corners), fill=fill)


def jungle(canvas):
    """Mist between palms, big leaves from the sides and hanging vines."""
    horizon = canvas.between(0.58, 0.68)
    canvas.gradient((64, 156, 128), (136, 204, 164), (206, 232, 190), bottom=horizon + 0.03)
    for amount, low, side, number in ((0.65, 0.0, 0.42, 5), (0.35, 0.03, 0.55, 4)):
        tone = mix((30, 106, 82), (150, 214, 176), amount)
        canvas.land(canvas.waves(horizon - 0.1 + 2 * low, 0.04, 3), tone, (70, 150, 104), bottom=horizon + 0.1)
        for x in canvas.spread(number):
            canvas.prop("palm", x, horizon + low, side * canvas.between(0.8, 1.1), haze=(144, 208, 172), amount=amount)
    canvas.land(canvas.waves(horizon + 0.04, 0.015, 1.5), (78, 146, 70), (48, 112, 62), (24, 72, 54))
    canvas.texture("grass", top=horizon + 0.05, fill=(112, 182, 84))
    canvas.texture("leaves", top=horizon + 0.05, fill=(30, 90, 62))
    for x in canvas.spread(5):
        length = canvas.between(0.12, 0.4)
        canvas.line((x, 0), (x + 0.02, length / 2), (x, length), width=0.014, fill=(34, 92, 58))
        for k in range(3):
            canvas.ellipse(x + 0.02, length * (k + 1) / 3, 0.026, 0.016, fill=(62, 136, 70))
    leaves = (0.02, 0.42, 0.44), (0.98, 0.4, 0.42), (0.0, 1.04, 0.42), (1.0, 1.06, 0.46), (0.22, 0.1, 0.3), (0.78, 0.12, 0.32)
    for x, low, side in leaves:
        canvas.prop("leaf", x + canvas.between(-0.03, 0.03), low, side)


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
    for x in canvas.spread(3):  # starfish with their shadows
        y = canvas.between(horizon + 0.14, 0.96)
        radius = 0.03 * y
        arms = [(r, i * pi / 5) for i, r in enumerate((1, 0.45) * 5)]
        star = [(x + radius * r * sin(angle), 0.6 * radius * r * -sin(angle + pi / 2) + y) for r, angle in arms]
        canvas.polygon(*[(px, py + 0.012) for px, py in star], fill=(206, 164, 108))
        canvas.polygon(*star, fill=(232, 116, 88))
    if canvas.random.random() < 0.75:
        canvas.prop("palm", canvas.pick(0.1, 0.9), horizon + 0.14, canvas.between(0.5, 0.62))


def sea(canvas):
    """The open sea with waves up to the horizon."""
    horizon = canvas.between(0.34, 0.44)
    day_sky(canvas, horizon, clouds=4, high=(98, 160, 214))
    canvas.gradient((86, 156, 194), (34, 110, 168), (16, 74, 132), (12, 52, 104), top=horizon)
    canvas.texture("ripples", top=horizon, fill=(150, 208, 226))
    for i in range(4):
        depth = (i + canvas.between(0.6, 1.2)) / 4.4
        level, height, number = horizon + depth * (1 - horizon), 0.008 + 0.02 * depth, 5 - 3 * depth
        colour = mix((58, 138, 184), (14, 66, 124), depth)
        start = canvas.random.random()
        crests = [(i / 40, level - height * (1 - abs(sin(pi * (number * i / 40 + start)))) ** 1.5 * 2.2) for i in range(41)]
        canvas.polygon(*crests, *[(x, y + 2.4 * height) for x, y in crests[::-1]], fill=colour)
        canvas.line(*crests, width=0.008 + 0.2 * height, fill=mix(colour, (222, 242, 248), 0.6))
    canvas.texture("ripples", top=horizon + 0.02, fill=(8, 44, 94))


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
    for x in canvas.spread(5):  # lily pads with pink flowers
        y = canvas.between(shore + 0.2, bank - 0.02)
        canvas.ellipse(x, y, 0.05, 0.016, fill=(66, 146, 84))
        canvas.ellipse(x - 0.012, y - 0.01, 0.016, 0.012, fill=(248, 178, 204))
    canvas.land(canvas.waves(bank, 0.015, 0.8), (132, 180, 86), (84, 142, 66))
    canvas.texture("grass", top=bank, fill=(170, 212, 104))
    for position in canvas.spread(9):  # reeds with brown heads, at the sides
        x = position if position < 0.25 or position > 0.75 else position / 4
        foot, height = bank + canvas.between(0.05, 0.2), canvas.between(0.16, 0.28)
        canvas.line((x, foot), (x + 0.015, foot - height), width=0.01, fill=(74, 124, 62))
        canvas.line((x + 0.015, foot - height), (x + 0.016, foot - height + 0.06), width=0.024, fill=(116, 78, 48))


def underwater(canvas):
    """The sea floor with corals, weeds, rays of light and bubbles."""
    floor = canvas.between(0.74, 0.82)
    canvas.gradient((142, 226, 230), (50, 166, 204), (20, 108, 170), (18, 84, 144), bottom=floor + 0.05)
    for x in canvas.spread(4):  # shafts of light from the surface, brighter at the top
        half = canvas.between(0.06, 0.12)
        canvas.glow(x - 0.05, 0.0, half * 1.6, 0.9 * floor, fill=(206, 250, 246), strength=0.5)
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
