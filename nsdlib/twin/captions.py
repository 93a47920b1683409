"""Captions of drawn scenes as different people would write them."""

from nsdlib.twin.scenery.places import PLACES
from nsdlib.twin.scenery.wording import ABOVE, SHORT, SORTS, WATERS, plural, with_article

NUMBERS = ("a", "two", "three")
_SCENERY = {  # noun phrase of a place, where it is not the short phrase without its preposition
    "sunset": "a sunset",
    "night": "a night sky",
    "space": "outer space",
    "underwater": "clear water",
    "mountains": "high mountains",
    "snow": "cold snow",
    "sea": "the open sea",
}


def describe(scene, rng):
    """Describe a scene as five different people would.

    Parameters
    ----------
    scene : nsdlib.twin.scenes.Scene
        The scene.
    rng : numpy.random.Generator
        Chooses the writers and their words.

    Returns
    -------
    list of str
        Five different captions in plain lower-case English, at most 18 words each.
    """
    words = _Words(scene, rng)
    texts = [f"{words.things()} {words.doing} {words.place(short=False)}"]
    for i in rng.permutation(len(_WRITERS)):
        caption = _WRITERS[i](words)
        if caption and caption not in texts:
            texts.append(caption)
        if len(texts) == 5:
            break
    return [texts[i] for i in rng.permutation(5)]


class _Words:
    """The words that suit a scene."""

    def __init__(self, scene, rng):
        self.scene, self.rng, self.first = scene, rng, scene.things[0]
        self.n, self.number = len(scene.main), NUMBERS[len(scene.main) - 1]
        self.are = "is" if self.n == 1 else "are"
        self.doing = self._doing()
        self.aloft = self.doing in ("flying", "floating") and self.first.kind != "boat" and scene.background in ABOVE

    def _doing(self):
        """The activity of the main things, such as "sitting"."""
        if self.scene.background == "space" and self.first.kind not in ("rocket", "face"):
            return "floating"
        if self.first.kind in ("fish", "boat") and self.scene.background not in WATERS:
            return "lying"
        return SORTS[self.first.kind][1][self.first.shape]

    def pick(self, *choices):
        """One of the choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def things(self, *, colour=True, variety=False, adjective="", number=None):
        """The main things with their number, such as "two red cats"."""
        noun = SORTS[self.first.kind][0][self.first.shape] if variety else self.first.kind
        noun = noun if self.n == 1 else plural(noun)
        text = " ".join(word for word in (adjective, self.first.colour if colour else "", noun) if word)
        number = number or self.number
        return with_article(text) if number == "a" else f"{number} {text}"

    def place(self, short=None):
        """The phrase for their place."""
        if self.aloft:
            return ABOVE[self.scene.background]
        short = self.rng.random() < 0.5 if short is None else short
        return (SHORT if short else PLACES)[self.scene.background]

    def size(self):
        """A word for the size of the main things, or nothing."""
        if self.n > 1:
            return ""
        if self.first.size > 0.57:
            return self.pick("big", "large")
        return self.pick("small", "little") if self.first.size < 0.5 else ""

    def side(self):
        """The side of the picture where a single thing is, or nothing."""
        if self.n > 1:
            return ""
        return "on the left" if self.first.x < 0.43 else "on the right" if self.first.x > 0.57 else "in the middle"

    def companion(self, *, colour=True):
        """The companion, or nothing."""
        thing = self.scene.companion
        return thing and with_article(f"{thing.colour} {thing.kind}" if colour else thing.kind)


def _terse(words):
    """Kind and place only."""
    also = f" and {words.companion(colour=False)}" if words.companion() else ""
    return f"{words.things(colour=False)}{also} {words.place()}"


def _picture(words):
    """Start with "a picture of" or the like."""
    return f"{words.pick('a picture of', 'a drawing of', 'a view of', 'an image of')} {words.things()} {words.place()}"


def _exists(words):
    """Start with "there is" or "there are"."""
    also = f" and {words.companion()}" if words.companion() else ""
    return f"there {words.are} {words.things()}{also} {words.place()}"


def _sized(words):
    """Things with their size, place and side."""
    where = words.side()
    return f"{words.things(adjective=words.size())} {words.place()} {where}".strip()


def _place_first(words):
    """The place, then the things."""
    place = _SCENERY.get(words.scene.background) or SHORT[words.scene.background].split(" ", 1)[1]
    also = f" and {words.companion()}" if words.companion() else ""
    return f"{place} with {words.things()}{also}"


def _sentence(words):
    """A whole sentence."""
    if words.n == 1:
        return f"the {words.first.colour} {words.first.kind} is {words.doing} {words.place()}"
    number = words.pick(words.number, "all" if words.n == 3 else "both")
    kind = plural(words.first.kind)
    if number in ("all", "both"):
        return f"{number} {kind} are {words.first.colour} and {words.doing} {words.place()}"
    return f"the {number} {words.first.colour} {kind} are {words.doing} {words.place()}"


def _company(words):
    """The main thing beside its companion."""
    if not words.companion():
        number = {1: "a single", 2: "a pair of"}.get(words.n, "a group of three")
        return f"{words.things(number=number)} {words.place()}"
    companion, beside = words.scene.companion, words.pick("next to", "near", "beside", "close to")
    return f"{words.things()} {beside} a {words.pick('small', 'little')} {companion.colour} {companion.kind}"


def _special(words):
    """The specific variety of the kind, such as its breed."""
    number = words.number if words.n != 2 else words.pick("two", "a couple of", "a pair of")
    return f"{words.things(colour=words.rng.random() < 0.7, variety=True, number=number)} {words.doing} {words.place()}"


_WRITERS = (_terse, _picture, _exists, _sized, _place_first, _sentence, _company, _special)
