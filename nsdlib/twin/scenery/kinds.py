"""The kinds of things in drawn scenes: their names, where they are at home, and how one is painted."""

from nsdlib.twin.scenery.drawings.apples import APPLES
from nsdlib.twin.scenery.drawings.buildings import BUILDINGS
from nsdlib.twin.scenery.drawings.flying import FLYING
from nsdlib.twin.scenery.drawings.objects import OBJECTS
from nsdlib.twin.scenery.drawings.people import PEOPLE
from nsdlib.twin.scenery.drawings.pets import PETS
from nsdlib.twin.scenery.drawings.plants import PLANTS
from nsdlib.twin.scenery.drawings.vehicles import VEHICLES
from nsdlib.twin.scenery.drawings.wings import WINGS
from nsdlib.twin.scenery.pen import Pen

DRAWINGS = {**APPLES, **BUILDINGS, **FLYING, **OBJECTS, **PEOPLE, **PETS, **PLANTS, **VEHICLES, **WINGS}
KINDS = (
    *("cat", "dog", "bird", "fish", "butterfly", "horse", "face", "person", "tree", "flower", "mushroom", "cactus"),
    *("apple", "house", "castle", "car", "boat", "train", "balloon", "rocket", "umbrella", "cup", "guitar", "clock"),
)
N_SHAPES = 3
STANDS = dict.fromkeys(KINDS, "ground") | {
    "bird": "air",
    "butterfly": "air",
    "balloon": "air",
    "rocket": "air",
    "fish": "water",
    "boat": "water",
    "apple": "any",
    "umbrella": "any",
    "clock": "any",
}


def paint(kind, shape, colour, side, *, flip=False):
    """Paint one thing.

    Parameters
    ----------
    kind : str
        One of KINDS.
    shape : int
        Which of its N_SHAPES drawings.
    colour : tuple of int
        Its dominating colour, red, green, blue of 255.
    side : int
        Side of the tile in pixels.
    flip : bool
        Whether it looks the other way; the light comes from the upper left all the same.

    Returns
    -------
    PIL.Image.Image
        RGBA, (side, side), transparent outside the thing; what stands on the ground touches the lower edge.

    Raises
    ------
    ValueError
        If there is no such kind or shape.
    """
    if kind not in DRAWINGS:
        raise ValueError(f"kind {kind!r} is not drawn; kinds are {', '.join(KINDS)}")
    if not 0 <= shape < N_SHAPES:
        raise ValueError(f"shape {shape} of {kind} is not drawn; shapes are 0 to {N_SHAPES - 1}")
    pen = Pen(colour)
    DRAWINGS[kind][shape](pen)
    return pen.paint(side, flip=flip, sits=STANDS[kind] in ("ground", "any"))
