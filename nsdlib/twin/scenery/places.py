"""The twenty backgrounds of the drawn scenes: their phrases for captions, painters and light tints."""

from nsdlib.twin.scenery.backdrops import indoors, nature, settled, sky
from nsdlib.twin.scenery.backdrops.canvas import Canvas

PLACES = {
    "meadow": "in a green meadow", "beach": "on a sandy beach", "sea": "on the open sea", "lake": "by a calm lake",
    "desert": "in a hot desert", "snow": "in the cold snow", "mountains": "in the high mountains", "forest": "in a dark forest",
    "jungle": "in a wild jungle", "city": "in a big city", "street": "on a quiet street", "room": "in a cozy room",
    "kitchen": "in a clean kitchen", "night": "under a night sky", "space": "in outer space", "sunset": "at sunset",
    "farm": "on a farm", "garden": "in a flower garden", "park": "in a park", "underwater": "under the water",
}  # fmt: skip
BACKGROUNDS = tuple(PLACES)
TINTS = {  # colour of the light on the things, and its weight
    "night": ((70, 90, 190), 0.2),
    "sunset": ((255, 120, 70), 0.16),
    "underwater": ((40, 150, 200), 0.16),
    "space": ((110, 80, 190), 0.1),
    "forest": ((190, 210, 110), 0.08),
    "jungle": ((120, 210, 150), 0.08),
}
_NATURE = ("meadow", "desert", "snow", "mountains", "forest", "jungle", "beach", "sea", "lake", "underwater")
_PAINTERS = {
    name: getattr(family, name)
    for family, names in (
        (nature, _NATURE),
        (settled, ("city", "street", "farm", "garden", "park")),
        (indoors, ("room", "kitchen")),
        (sky, ("night", "space", "sunset")),
    )
    for name in names
}


def paint(background, variant, size):
    """Paint one of `BACKGROUNDS`, `size` pixels a side (RGB); `variant` in [0, 1) sets horizon, hour and details."""
    canvas = Canvas(size, variant)
    _PAINTERS[background](canvas)
    return canvas.image
