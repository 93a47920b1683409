"""Backgrounds of the land: meadow, desert, snow, mountains, forest and jungle."""

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
        canvas.polygon(
            (x - width, base), (x - 0.75 * width, top), (x + 0.7 * width, top), (x + width, base), fill=(214, 140, 108)
        )
        canvas.polygon(
            (x + width, base), (x + 0.7 * width, top), (x + 0.2 * width, top), (x + 0.3 * width, base), fill=(182, 108, 92)
        )
    canvas.land(canvas.waves(horizon, 0.03, 1.1), (240, 196, 126), (226, 172, 100), bottom=horizon + 0.2)
    for level, tone in ((0.08, 0.0), (0.22, 0.5)):
        _dune(canvas, horizon + level, tone)
    canvas.texture("ripples", top=horizon + 0.1, fill=(206, 140, 76))
    canvas.texture("ripples", top=horizon + 0.1, fill=(255, 222, 160))


def _dune(canvas, level, tone):
    """One dune from edge to edge with its slope in the shade."""
    crest, height = canvas.between(0.2, 0.8), canvas.between(0.06, 0.1)
    lit = mix((250, 206, 132), (244, 188, 108), tone)
    line = [
        (0, level), (crest * 0.6, level - 0.6 * height), (crest, level - height), (crest + 0.3, level - 0.3 * height),
        (1.3, level),
    ]  # fmt: skip
    canvas.land(line, lit, mix(lit, (214, 146, 80), 0.6))
    shade = (crest, level - height), (crest + 0.3, level - 0.3 * height), (1.2, level), (1.2, level + 0.2)
    canvas.polygon(
        *shade,
        (crest + 0.25, level + 0.06),
        (crest + 0.04, level - 0.35 * height),
        fill=mix((222, 152, 92), (212, 138, 80), tone),
    )


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
    for layer, (bark, width) in enumerate((((128, 150, 104), 0.03), ((96, 106, 76), 0.048), ((74, 62, 50), 0.08))):
        for x in canvas.spread((9, 6, 4)[layer]):
            if layer < 2 or abs(x - 0.5) > 0.16:
                _trunk(canvas, x, width * canvas.between(0.8, 1.2), horizon + (0.0, 0.02, 0.06)[layer], bark)
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
    half = width / 2
    canvas.polygon(
        (x - half, 0), (x + half, 0), (x + half, foot - 0.04), (x + 1.7 * half, foot), (x - 1.7 * half, foot),
        (x - half, foot - 0.04), fill=bark,
    )  # fmt: skip
    canvas.polygon(
        (x - half, 0), (x - 0.2 * half, 0), (x - 0.2 * half, foot - 0.02), (x - 1.5 * half, foot), (x - half, foot - 0.05),
        fill=mix(bark, (236, 222, 160), 0.28),
    )  # fmt: skip


def jungle(canvas):
    """Mist between palms, big leaves from the sides and hanging vines."""
    horizon = canvas.between(0.58, 0.68)
    canvas.gradient((64, 156, 128), (136, 204, 164), (206, 232, 190), bottom=horizon + 0.03)
    for amount, low, side, number in ((0.65, 0.0, 0.42, 5), (0.35, 0.03, 0.55, 4)):
        canvas.land(
            canvas.waves(horizon - 0.1 + 2 * low, 0.04, 3),
            mix((30, 106, 82), (150, 214, 176), amount),
            (70, 150, 104),
            bottom=horizon + 0.1,
        )
        for x in canvas.spread(number):
            canvas.prop("palm", x, horizon + low, side * canvas.between(0.8, 1.1), haze=(144, 208, 172), amount=amount)
    canvas.land(canvas.waves(horizon + 0.04, 0.015, 1.5), (78, 146, 70), (48, 112, 62), (24, 72, 54))
    canvas.texture("grass", top=horizon + 0.05, fill=(112, 182, 84))
    canvas.texture("leaves", top=horizon + 0.05, fill=(30, 90, 62))
    for x in canvas.spread(5):
        length, width = canvas.between(0.12, 0.4), 0.014
        canvas.line((x, 0), (x + 0.02, length / 2), (x, length), width=width, fill=(34, 92, 58))
        for k in range(3):
            canvas.ellipse(x + 0.02, length * (k + 1) / 3, 0.026, 0.016, fill=(62, 136, 70))
    for x, low, side in (
        (0.02, 0.42, 0.44),
        (0.98, 0.4, 0.42),
        (0.0, 1.04, 0.42),
        (1.0, 1.06, 0.46),
        (0.22, 0.1, 0.3),
        (0.78, 0.12, 0.32),
    ):
        canvas.prop("leaf", x + canvas.between(-0.03, 0.03), low, side)
