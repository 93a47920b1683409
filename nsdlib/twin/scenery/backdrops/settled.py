"""Backgrounds where people live: city, street, farm, garden and park."""

from itertools import product

from nsdlib.twin.scenery.backdrops.nature import day_sky
from nsdlib.twin.scenery.pen import mix


def city(canvas):
    """Towers of a big city behind a paved square."""
    horizon = canvas.between(0.64, 0.72)
    dusk = canvas.random.random() < 0.35
    if dusk:
        canvas.gradient((84, 96, 160), (180, 140, 178), (250, 190, 160), bottom=horizon)
    else:
        day_sky(canvas, horizon, clouds=2, high=(116, 172, 220))
    far = (150, 136, 176) if dusk else (164, 190, 214)
    for x in canvas.spread(8):
        top = horizon - canvas.between(0.28, 0.52)
        canvas.box(x - 0.06, top, x + 0.06, horizon, fill=mix(far, (255, 255, 255), canvas.between(0, 0.2)))
    walls = [(196, 112, 92), (108, 130, 164), (214, 186, 148), (92, 106, 128), (170, 146, 160), (128, 156, 160)]
    canvas.random.shuffle(walls)
    left = -canvas.between(0, 0.1)
    for wall in walls:
        width, top = canvas.between(0.15, 0.22), horizon - canvas.between(0.26, 0.56)
        _tower(canvas, left, left + width, top, horizon, mix(wall, (60, 50, 90), 0.35 * dusk), dusk)
        left += width + canvas.between(0, 0.015)
    canvas.gradient((150, 152, 160), (176, 176, 180), (150, 148, 154), top=horizon)
    for i in range(-6, 7):  # joints of paving stones in perspective
        canvas.line((0.5 + 0.1 * i, horizon), (0.5 + 0.34 * i, 1), width=0.006, fill=(128, 128, 138))
    for k in range(5):
        y = horizon + (1 - horizon) * (k / 5) ** 1.6
        canvas.line((0, y), (1, y), width=0.003 + 0.0012 * k, fill=(128, 128, 138))
    for x in canvas.spread(4):
        canvas.prop("leafy tree", x, horizon + 0.02, 0.13)


def _tower(canvas, left, right, top, bottom, wall, dusk):
    """One tower with a shaded side and rows of windows."""
    edge = right - 0.22 * (right - left)
    canvas.box(left, top, right, bottom, fill=wall)
    canvas.box(edge, top, right, bottom, fill=mix(wall, (30, 30, 60), 0.28))
    canvas.box(left, top, edge, top + 0.015, fill=mix(wall, (255, 255, 255), 0.35))
    glass = ((255, 222, 140), (255, 222, 140), (70, 76, 110)) if dusk else ((206, 230, 244), (176, 208, 232), (92, 116, 148))
    columns, rows = 3, max(3, round((bottom - top) / 0.075))
    first_x, first_y = left + 0.01, top + 0.035
    width, height = (edge - 0.005 - first_x) / columns, (bottom - 0.03 - first_y) / rows  # of a window with its margin
    for i, k in product(range(columns), range(rows)):
        x, y = first_x + (i + 0.22) * width, first_y + (k + 0.22) * height
        canvas.box(x, y, x + 0.58 * width, y + 0.56 * height, fill=glass[canvas.random.randrange(len(glass))])


def street(canvas):
    """A street that runs into the distance between rows of gabled houses."""
    horizon = canvas.between(0.48, 0.54)
    centre = canvas.between(0.44, 0.56)
    day_sky(canvas, horizon, clouds=2)
    canvas.box(0, horizon - 0.005, 1, 1, fill=(196, 190, 184))
    canvas.polygon((centre - 0.05, horizon), (centre + 0.05, horizon), (1.16, 1), (-0.16, 1), fill=(104, 108, 120))
    canvas.polygon((centre - 0.05, horizon), (centre - 0.04, horizon), (-0.06, 1), (-0.16, 1), fill=(222, 216, 208))
    canvas.polygon((centre + 0.05, horizon), (centre + 0.04, horizon), (1.06, 1), (1.16, 1), fill=(222, 216, 208))
    for k in range(5):
        ys = [horizon + (1 - horizon) * ((k + share) / 5) ** 1.7 for share in (0.25, 0.8)]
        ends = [(centre + (0.5 - centre) * (y - horizon) / (1 - horizon), 0.002 + 0.034 * (y - horizon), y) for y in ys]
        left, right = [(x - half, y) for x, half, y in ends], [(x + half, y) for x, half, y in ends]
        canvas.polygon(left[0], *right, left[1], fill=(244, 236, 206))
    for side, k in product((-1, 1), (3, 2, 1, 0)):
        _row_house(canvas, centre, horizon, side, k)


def _row_house(canvas, centre, horizon, side, place):
    """A house of the row on one side (-1 left, 1 right); place 0 is the nearest."""
    walls = ((226, 146, 110), (240, 212, 150), (150, 182, 190), (222, 172, 170), (186, 198, 150))
    wall = walls[canvas.random.randrange(5)]
    near, far = 0.62 * 0.58**place + 0.01, 0.62 * 0.58 ** (place + 1) + 0.01
    up = 0.95 * canvas.between(0.85, 1.05)

    def plane(first, second, top, bottom, fill):
        """Fill a part of the facade between two distances and two heights above the horizon."""
        corners = (first, top), (second, top), (second, bottom), (first, bottom)
        canvas.polygon(*((centre + side * distance, horizon - height * distance) for distance, height in corners), fill=fill)

    tone = mix(wall, (255, 255, 255), 0.08) if side > 0 else mix(wall, (70, 60, 110), 0.2)
    plane(near, far, up, -0.36, mix(tone, (206, 224, 238), 0.14 * place))
    plane(near, far, up + 0.2, up, mix((164, 84, 70), (200, 214, 228), 0.15 * place))
    for column, row in product((0.2, 0.6), (0.12, 0.5)):
        first, second = (far + (near - far) * share for share in (column, column + 0.24))
        plane(first, second, up * (1 - row), up * (0.78 - row), (92, 122, 152))


def farm(canvas):
    """Rows of crops, bales of hay and a fence, a barn and a silo far away."""
    horizon = canvas.between(0.46, 0.56)
    day_sky(canvas, horizon, clouds=3)
    canvas.land(canvas.waves(horizon - 0.04, 0.03, 1.2), (160, 196, 140), (146, 188, 110), bottom=horizon + 0.04)
    x = canvas.pick(0.16, 0.82) + canvas.between(-0.04, 0.04)
    canvas.box(x + 0.075, horizon - 0.17, x + 0.125, horizon + 0.01, fill=(206, 210, 216))
    canvas.ellipse(x + 0.1, horizon - 0.17, 0.026, fill=(170, 178, 190))
    canvas.prop("cottage", x, horizon + 0.012, 0.18, shape=0)
    for tree_x in canvas.spread(4):
        canvas.prop("leafy tree", tree_x, horizon + 0.015, canvas.between(0.08, 0.13), haze=(170, 205, 170), amount=0.25)
    canvas.gradient((222, 194, 104), (200, 158, 74), (158, 112, 58), top=horizon)
    vanish, start = canvas.between(0.3, 0.7), canvas.random.random()
    for i in range(-9, 10):
        left, right = (0.16 * (i + start + share) for share in (0, 0.5))
        far = (vanish + 0.16 * left, horizon), (vanish + 0.16 * right, horizon)
        near = (vanish + 1.9 * right, 1), (vanish + 1.9 * left, 1)
        canvas.polygon(*far, *near, fill=(112, 160, 66) if i % 2 else (132, 176, 72))
    canvas.texture("grass", top=horizon + 0.02, fill=(70, 122, 48))
    for bale_x in canvas.spread(3):
        depth = canvas.between(0.03, 0.14)
        canvas.prop("bale", bale_x, horizon + depth, 0.08 + 0.4 * depth)
    _fence(canvas, horizon + 0.2, 0.13, (176, 128, 84))


def _fence(canvas, foot, height, colour):
    """A fence of posts and two bars from edge to edge."""
    dark, shift = mix(colour, (50, 30, 30), 0.4), canvas.between(0, 0.16)
    for share in (0.3, 0.68):
        y = foot - height * (1 - share)
        canvas.box(0, y, 1, y + 0.024, fill=colour)
        canvas.box(0, y + 0.017, 1, y + 0.024, fill=dark)
    for i in range(7):
        x = shift + 0.16 * i - 0.05
        canvas.box(x, foot - height, x + 0.032, foot, fill=colour)
        canvas.box(x + 0.022, foot - height, x + 0.032, foot, fill=dark)


def garden(canvas):
    """A lawn with a path, beds of flowers, a hedge and a white fence."""
    horizon = canvas.between(0.5, 0.58)
    day_sky(canvas, horizon, clouds=2)
    for x in canvas.spread(4):
        canvas.prop("leafy tree", x, horizon - 0.02, canvas.between(0.24, 0.36), haze=(180, 214, 200), amount=0.3)
    canvas.land(canvas.waves(horizon - 0.17, 0.012, 5), (88, 148, 76), (56, 112, 62), bottom=horizon + 0.04)
    _pickets(canvas, horizon + 0.03, 0.15)
    canvas.gradient((156, 206, 100), (116, 184, 80), (84, 154, 64), top=horizon + 0.025)
    canvas.texture("grass", top=horizon + 0.04, fill=(186, 226, 120))
    side = canvas.pick(-1, 1)
    path = (0.1, horizon + 0.03), (0.16, horizon + 0.03), (-0.05, 1), (-0.4, 1)
    canvas.polygon(*((0.5 + x * side, y) for x, y in path), fill=(226, 196, 160))
    for x in canvas.spread(7):
        canvas.prop("bush", x, horizon + 0.08, canvas.between(0.13, 0.18), shape=canvas.pick(1, 2))
    tones = ((240, 92, 120), (255, 206, 80), (250, 246, 250), (180, 120, 220))
    for left, step in product((True, False), range(1, 16)):
        depth = step / 15
        x = (0.16 - 0.13 * depth if left else 0.84 + 0.13 * depth) + canvas.between(-0.09, 0.09)
        y, radius = horizon + 0.1 + 0.42 * depth * (1 - horizon) / 0.45, 0.012 + 0.016 * depth
        canvas.ellipse(x, y + radius, 1.7 * radius, 1.2 * radius, fill=(54, 122, 60))
        canvas.ellipse(x, y, radius, fill=tones[canvas.random.randrange(4)])
        canvas.ellipse(x, y, 0.4 * radius, fill=(255, 236, 150))


def _pickets(canvas, foot, height):
    """A white picket fence from edge to edge."""
    canvas.box(0, foot - 0.7 * height, 1, foot - 0.55 * height, fill=(214, 220, 228))
    canvas.box(0, foot - 0.32 * height, 1, foot - 0.17 * height, fill=(214, 220, 228))
    outline = (0, 0), (0, 0.84), (0.02, 1), (0.04, 0.84), (0.04, 0)
    for i in range(17):
        x = 0.062 * i - 0.01
        canvas.polygon(*((x + dx, foot - dy * height) for dx, dy in outline), fill=(250, 250, 250))


def park(canvas):
    """A winding path between round trees, a pond, a bench and lamps."""
    horizon = canvas.between(0.46, 0.54)
    day_sky(canvas, horizon + 0.06, clouds=2)
    canvas.land(canvas.waves(horizon - 0.05, 0.03, 2), (150, 196, 186), (140, 190, 150), bottom=horizon + 0.06)
    for amount, low, side, number in ((0.5, 0.0, 0.2, 7), (0.2, 0.04, 0.3, 4)):
        for x in canvas.spread(number):
            canvas.prop("leafy tree", x, horizon + low, side * canvas.between(0.8, 1.2), haze=(176, 212, 206), amount=amount)
    canvas.land(canvas.waves(horizon + 0.03, 0.01, 1), (150, 200, 104), (110, 176, 82), (80, 146, 68))
    canvas.texture("grass", top=horizon + 0.05, fill=(176, 218, 116))
    pond = canvas.pick(0.22, 0.78)
    canvas.ellipse(pond, horizon + 0.12, 0.2, 0.045, fill=(196, 206, 160))
    canvas.ellipse(pond, horizon + 0.124, 0.188, 0.038, fill=(108, 178, 210))
    canvas.ellipse(pond - 0.04, horizon + 0.118, 0.1, 0.014, fill=(176, 220, 234))
    _path(canvas, horizon + 0.035, 1 - pond)
    bench, foot = 1 - pond + (0.16 if pond > 0.5 else -0.16), horizon + 0.2  # a wooden bench
    for leg in (-0.09, 0.07):
        canvas.box(bench + leg, foot - 0.06, bench + leg + 0.02, foot, fill=(70, 66, 74))
    canvas.box(bench - 0.11, foot - 0.13, bench + 0.11, foot - 0.09, fill=(176, 116, 72), radius=0.008)
    canvas.box(bench - 0.12, foot - 0.072, bench + 0.12, foot - 0.045, fill=(152, 96, 60), radius=0.008)
    for x, low, side in ((pond * 0.9 + 0.05, 0.1, 0.3), (1.06 - pond, 0.24, 0.46)):
        canvas.prop("lamp", x, horizon + low, side)


def _path(canvas, top, start):
    """A sandy path that winds from the lower edge to the distance."""
    left, right, shade = [], [], []
    for i in range(13):
        t = i / 12
        bend = start + (0.5 - start) * t + 0.13 * (1 - t) * (1 if i % 8 < 4 else -1) * min(i % 4, 4 - i % 4) / 2
        half, y = 0.012 + 0.22 * t**1.6, top + (1 - top) * t**1.3
        first, last = bend - half, bend + half
        left.append((first, y))
        right.append((last, y))
        shade.append((first + 0.82 * (last - first), y))
    canvas.polygon(*left, *right[::-1], fill=(236, 214, 170))
    canvas.polygon(*shade, *right[::-1], fill=(212, 184, 140))
