"""The kinds of things in drawn scenes: their names, where they belong, and how to paint them."""

from nsdlib.twin.scenery.drawings.animals import ANIMALS
from nsdlib.twin.scenery.drawings.buildings import BUILDINGS
from nsdlib.twin.scenery.drawings.objects import OBJECTS
from nsdlib.twin.scenery.drawings.people import PEOPLE
from nsdlib.twin.scenery.drawings.plants import PLANTS
from nsdlib.twin.scenery.drawings.vehicles import VEHICLES
from nsdlib.twin.scenery.pen import Pen

DRAWINGS = ANIMALS | BUILDINGS | OBJECTS | PEOPLE | PLANTS | VEHICLES
KINDS = (
    *("cat", "dog", "bird", "fish", "butterfly", "horse", "face", "person", "tree", "flower", "mushroom", "cactus"),
    *("apple", "house", "castle", "car", "boat", "train", "balloon", "rocket", "umbrella", "cup", "guitar", "clock"),
)
N_SHAPES = 3
STANDS = dict.fromkeys(KINDS, "ground") | {
    "bird": "air", "butterfly": "air", "balloon": "air", "rocket": "air", "fish": "water", "boat": "water", "apple": "any",
    "umbrella": "any", "clock": "any",
}  # fmt: skip


def paint(kind, shape, colour, side, *, flip=False):
    """Paint drawing `shape` of a kind: RGBA, (side, side), transparent outside the thing; standing things touch the lower edge.

    The main `colour` is RGB, 0 to 255. With `flip` the thing is mirrored, under the same light.
    """
    pen = Pen(colour)
    DRAWINGS[kind][shape](pen)
    return pen.paint(side, flip=flip, sits=STANDS[kind] in ("ground", "any"))
