"""Drawings of the objects of scenes, each in its own square from -1 to 1 (x to the right, y down)."""

from math import cos, pi, sin

DARK, LIGHT, SKIN, BROWN, GREY = (40, 36, 40), (250, 248, 240), (238, 196, 160), (120, 80, 48), (130, 132, 140)


class Pen:
    """Drawing in an object's own coordinates on a picture."""

    def __init__(self, brush, x, y, radius, colour):
        self.brush, self.x, self.y, self.radius, self.colour = brush, x, y, radius, colour
        self.shade = tuple(int(0.62 * channel) for channel in colour)

    def _points(self, points):
        return [(self.x + self.radius * px, self.y + self.radius * py) for px, py in points]

    def polygon(self, *points, fill=None):
        """Draw a filled polygon through (x, y) points."""
        self.brush.polygon(self._points(points), fill=fill or self.colour)

    def ellipse(self, x, y, rx, ry=None, fill=None):
        """Draw a filled ellipse with centre (x, y) and radii rx, ry."""
        ry = rx if ry is None else ry
        self.brush.ellipse(self._points([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill or self.colour)

    def box(self, left, top, right, bottom, fill=None):
        """Draw a filled rectangle."""
        self.polygon((left, top), (right, top), (right, bottom), (left, bottom), fill=fill)

    def line(self, *points, width=0.12, fill=None):
        """Draw a line of a width given in the object's units."""
        self.brush.line(self._points(points), fill=fill or DARK, width=max(1, round(width * self.radius)))

    def slice(self, x, y, radius, start, end, fill=None):
        """Draw a pie slice from `start` to `end` degrees, clockwise from three o'clock."""
        corners = self._points([(x - radius, y - radius), (x + radius, y + radius)])
        self.brush.pieslice(corners, start, end, fill=fill or self.colour)


def ball(pen):
    """Draw a ball with a light stripe."""
    pen.ellipse(0, 0, 0.95)
    pen.slice(0, 0, 0.95, -25, 25, fill=LIGHT)
    pen.slice(0, 0, 0.95, 155, 205, fill=LIGHT)
    pen.ellipse(0, 0, 0.3, fill=pen.shade)


def house(pen):
    """Draw a house with roof, door and window."""
    pen.box(-0.75, -0.2, 0.75, 0.95)
    pen.polygon((-1, -0.15), (0, -0.98), (1, -0.15), fill=BROWN)
    pen.box(-0.18, 0.3, 0.22, 0.95, fill=DARK)
    pen.box(-0.62, 0.05, -0.3, 0.4, fill=LIGHT)
    pen.box(0.34, 0.05, 0.64, 0.4, fill=LIGHT)


def tree(pen):
    """Draw a tree: a trunk and three crowns."""
    pen.box(-0.16, 0.1, 0.16, 1, fill=BROWN)
    pen.ellipse(-0.42, 0, 0.5)
    pen.ellipse(0.42, 0, 0.5)
    pen.ellipse(0, -0.45, 0.54)
    pen.ellipse(0.12, -0.5, 0.22, fill=pen.shade)


def car(pen):
    """Draw a car from the side."""
    pen.polygon((-0.6, -0.05), (-0.38, -0.55), (0.32, -0.55), (0.62, -0.05))
    pen.box(-1, -0.08, 1, 0.4)
    pen.polygon((-0.42, -0.08), (-0.28, -0.42), (-0.04, -0.42), (-0.04, -0.08), fill=LIGHT)
    pen.polygon((0.06, -0.08), (0.06, -0.42), (0.26, -0.42), (0.44, -0.08), fill=LIGHT)
    for x in (-0.55, 0.55):
        pen.ellipse(x, 0.42, 0.28, fill=DARK)
        pen.ellipse(x, 0.42, 0.12, fill=GREY)


def boat(pen):
    """Draw a sailing boat."""
    pen.polygon((-1, 0.4), (1, 0.4), (0.62, 0.92), (-0.62, 0.92), fill=BROWN)
    pen.line((0, 0.4), (0, -0.98), width=0.1)
    pen.polygon((0.1, -0.92), (0.1, 0.25), (0.85, 0.25))
    pen.polygon((-0.1, -0.65), (-0.1, 0.25), (-0.7, 0.25), fill=pen.shade)


def fish(pen):
    """Draw a fish with tail and eye."""
    pen.ellipse(-0.15, 0, 0.78, 0.5)
    pen.polygon((0.45, 0), (1, -0.5), (1, 0.5), fill=pen.shade)
    pen.polygon((-0.3, -0.42), (0.2, -0.42), (0.1, -0.8), fill=pen.shade)
    pen.ellipse(-0.55, -0.1, 0.14, fill=LIGHT)
    pen.ellipse(-0.57, -0.1, 0.07, fill=DARK)


def bird(pen):
    """Draw a bird with spread wings."""
    pen.polygon((-0.1, 0.1), (-0.95, -0.65), (-0.15, -0.3), fill=pen.shade)
    pen.polygon((0.1, 0.1), (0.95, -0.65), (0.15, -0.3), fill=pen.shade)
    pen.ellipse(0, 0.1, 0.36, 0.55)
    pen.ellipse(0, -0.45, 0.3)
    pen.polygon((-0.12, -0.4), (0.12, -0.4), (0, -0.1), fill=(240, 160, 40))
    pen.ellipse(-0.12, -0.52, 0.07, fill=DARK)
    pen.ellipse(0.12, -0.52, 0.07, fill=DARK)
    pen.polygon((-0.2, 0.55), (0.2, 0.55), (0, 0.95), fill=pen.shade)


def flower(pen):
    """Draw a flower: six petals on a stem."""
    pen.line((0, 0.2), (0, 1), width=0.14, fill=(40, 110, 50))
    pen.ellipse(0.28, 0.72, 0.28, 0.12, fill=(40, 110, 50))
    for k in range(6):
        pen.ellipse(0.42 * cos(k * pi / 3), -0.32 + 0.42 * sin(k * pi / 3), 0.27)
    pen.ellipse(0, -0.32, 0.25, fill=(250, 220, 90) if pen.colour[2] > 80 or pen.colour[1] < 190 else BROWN)


def star(pen):
    """Draw a five-pointed star."""
    radii = (1.0, 0.42) * 5
    pen.polygon(*[(radius * sin(k * pi / 5), -radius * cos(k * pi / 5)) for k, radius in enumerate(radii)])


def mushroom(pen):
    """Draw a mushroom with dots."""
    pen.box(-0.25, 0, 0.25, 0.95, fill=LIGHT)
    pen.slice(0, 0.15, 0.95, 180, 360)
    for x, y in ((-0.5, -0.15), (0.05, -0.45), (0.5, -0.1)):
        pen.ellipse(x, y, 0.14, fill=LIGHT)


def cup(pen):
    """Draw a cup with a handle."""
    pen.ellipse(0.6, 0.05, 0.38)
    pen.ellipse(0.6, 0.05, 0.2, fill=LIGHT)
    pen.polygon((-0.8, -0.6), (0.6, -0.6), (0.42, 0.8), (-0.62, 0.8))
    pen.ellipse(-0.1, -0.6, 0.7, 0.2, fill=pen.shade)


def kite(pen):
    """Draw a kite with a tail."""
    pen.line((0, 0.4), (-0.25, 0.65), (0.15, 0.8), (-0.1, 1), width=0.09)
    pen.polygon((0, -1), (0.65, -0.3), (0, 0.5), (-0.65, -0.3))
    pen.polygon((0, -1), (0.65, -0.3), (0, -0.3), fill=pen.shade)
    pen.polygon((0, 0.5), (-0.65, -0.3), (0, -0.3), fill=pen.shade)


def face(pen):
    """Draw a face under coloured hair."""
    pen.ellipse(0, -0.1, 0.9)
    pen.ellipse(0, 0.12, 0.72, 0.82, fill=SKIN)
    for x in (-0.3, 0.3):
        pen.ellipse(x, -0.02, 0.16, fill=LIGHT)
        pen.ellipse(x, -0.02, 0.08, fill=DARK)
    pen.polygon((0, 0.1), (0.12, 0.34), (-0.12, 0.34), fill=(205, 150, 115))
    pen.ellipse(0, 0.58, 0.3, 0.1, fill=(190, 60, 70))


def person(pen):
    """Draw a standing person."""
    pen.line((-0.2, 0.3), (-0.3, 1), width=0.24, fill=DARK)
    pen.line((0.2, 0.3), (0.3, 1), width=0.24, fill=DARK)
    pen.line((-0.3, -0.25), (-0.75, 0.2), width=0.2, fill=SKIN)
    pen.line((0.3, -0.25), (0.75, 0.2), width=0.2, fill=SKIN)
    pen.polygon((-0.42, -0.4), (0.42, -0.4), (0.34, 0.45), (-0.34, 0.45))
    pen.ellipse(0, -0.68, 0.3, fill=SKIN)


def sign(pen):
    """Draw a sign with letters on a post."""
    pen.box(-0.1, 0.3, 0.1, 1, fill=GREY)
    pen.box(-1, -0.75, 1, 0.35)
    ink = DARK if sum(pen.colour) > 380 else LIGHT
    pen.line((-0.72, 0.12), (-0.5, -0.5), (-0.28, 0.12), width=0.13, fill=ink)
    pen.line((-0.62, -0.08), (-0.38, -0.08), width=0.1, fill=ink)
    pen.line((-0.1, -0.5), (0.25, -0.5), width=0.13, fill=ink)
    pen.line((0.08, -0.5), (0.08, 0.12), width=0.13, fill=ink)
    pen.line((0.45, 0.12), (0.45, -0.5), (0.78, 0.12), (0.78, -0.5), width=0.12, fill=ink)


def clock(pen):
    """Draw a clock face at ten past ten."""
    pen.ellipse(0, 0, 0.95)
    pen.ellipse(0, 0, 0.72, fill=LIGHT)
    pen.line((0, 0), (0.38, -0.32), width=0.13)
    pen.line((0, 0), (-0.3, -0.22), width=0.13)
    pen.ellipse(0, 0, 0.12, fill=DARK)


def umbrella(pen):
    """Draw an open umbrella."""
    pen.line((0, 0), (0, 0.85), (0.25, 0.95), width=0.13)
    pen.slice(0, 0.1, 1, 180, 360)
    pen.slice(0, 0.1, 1, 225, 270, fill=pen.shade)
    pen.slice(0, 0.1, 1, 315, 360, fill=pen.shade)


def apple(pen):
    """Draw an apple with stalk and leaf."""
    pen.ellipse(-0.3, 0.15, 0.6, 0.72)
    pen.ellipse(0.3, 0.15, 0.6, 0.72)
    pen.line((0, -0.45), (0.1, -0.95), width=0.13, fill=BROWN)
    pen.ellipse(0.38, -0.75, 0.28, 0.14, fill=(60, 140, 60))
    pen.ellipse(-0.45, -0.1, 0.13, 0.2, fill=LIGHT)


def rocket(pen):
    """Draw a rocket with a flame."""
    pen.polygon((-0.25, 0.6), (0.25, 0.6), (0, 1), fill=(250, 160, 40))
    pen.polygon((-0.35, 0.1), (-0.75, 0.7), (-0.3, 0.6), fill=pen.shade)
    pen.polygon((0.35, 0.1), (0.75, 0.7), (0.3, 0.6), fill=pen.shade)
    pen.polygon((0, -1), (0.38, -0.35), (0.36, 0.62), (-0.36, 0.62), (-0.38, -0.35))
    pen.ellipse(0, -0.2, 0.2, fill=(180, 225, 250))


def cat(pen):
    """Draw a cat's head."""
    pen.polygon((-0.85, -0.95), (-0.2, -0.5), (-0.75, 0))
    pen.polygon((0.85, -0.95), (0.2, -0.5), (0.75, 0))
    pen.ellipse(0, 0.1, 0.85, 0.76)
    for x in (-0.34, 0.34):
        pen.ellipse(x, -0.05, 0.18, fill=(230, 230, 120))
        pen.ellipse(x, -0.05, 0.07, 0.16, fill=DARK)
    pen.polygon((-0.12, 0.25), (0.12, 0.25), (0, 0.4), fill=(230, 130, 140))
    pen.line((-0.9, 0.25), (-0.35, 0.35), width=0.06, fill=GREY)
    pen.line((0.9, 0.25), (0.35, 0.35), width=0.06, fill=GREY)


SPRITES = {
    draw.__name__: draw
    for draw in (
        ball, house, tree, car, boat, fish, bird, flower, star, mushroom,
        cup, kite, face, person, sign, clock, umbrella, apple, rocket, cat,
    )
}  # fmt: skip
