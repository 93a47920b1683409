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
    rng : numpy.random.Generator
        Chooses the writers and their words.

    Returns
    -------
    list of str
        Five different captions in plain lower-case English, at most 18 words each.
    """
    writer = _Writer(scene, rng)
    texts = [f"{writer.things()} {writer.doing} {writer.place(short=False)}"]
    for i in rng.permutation(len(_SENTENCE_FORMS)):
        caption = _SENTENCE_FORMS[i](writer)
        if caption not in texts:
            texts.append(caption)
        if len(texts) == 5:
            break
    return [texts[i] for i in rng.permutation(5)]


class _Writer:
    """Writer of captions of a scene: chooses words that suit it, and puts them together in eight sentence forms."""

    def __init__(self, scene, rng):
        self.scene, self.rng, self.first = scene, rng, scene.things[0]
        self.n, self.number = len(scene.main), NUMBERS[len(scene.main) - 1]
        self.doing = SORTS[self.first.kind][1][self.first.shape]  # activity of the main things, such as "sitting"
        if scene.background == "space" and self.first.kind not in ("rocket", "face"):
            self.doing = "floating"
        elif self.first.kind in ("fish", "boat") and scene.background not in WATERS:
            self.doing = "lying"
        self.aloft = self.doing in ("flying", "floating") and self.first.kind != "boat" and scene.background in ABOVE

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

    def and_companion(self, *, colour=True):
        """The companion after "and", or nothing."""
        companion = self.scene.companion
        if not companion:
            return ""
        noun = f"{companion.colour} {companion.kind}" if colour else companion.kind
        return f" and {with_article(noun)}"

    def terse(self):
        """Kind and place only."""
        return f"{self.things(colour=False)}{self.and_companion(colour=False)} {self.place()}"

    def picture(self):
        """Start with "a picture of" or the like."""
        return f"{self.pick('a picture of', 'a drawing of', 'a view of', 'an image of')} {self.things()} {self.place()}"

    def exists(self):
        """Start with "there is" or "there are"."""
        return f"there {'is' if self.n == 1 else 'are'} {self.things()}{self.and_companion()} {self.place()}"

    def sized(self):
        """Things with their place; a single thing also with its size and side."""
        if self.n > 1:
            return f"{self.things()} {self.place()}"
        size = ""
        if self.first.size > 0.57:
            size = self.pick("big", "large")
        elif self.first.size < 0.5:
            size = self.pick("small", "little")
        side = "on the left" if self.first.x < 0.43 else "on the right" if self.first.x > 0.57 else "in the middle"
        return f"{self.things(adjective=size)} {self.place()} {side}"

    def place_first(self):
        """The place, then the things."""
        place = _SCENERY.get(self.scene.background) or SHORT[self.scene.background].split(" ", 1)[1]
        return f"{place} with {self.things()}{self.and_companion()}"

    def sentence(self):
        """A whole sentence."""
        colour, kind = self.first.colour, self.first.kind
        if self.n == 1:
            return f"the {colour} {kind} is {self.doing} {self.place()}"
        number = self.pick(self.number, "all" if self.n == 3 else "both")
        if number in ("all", "both"):
            return f"{number} {plural(kind)} are {colour} and {self.doing} {self.place()}"
        return f"the {number} {colour} {plural(kind)} are {self.doing} {self.place()}"

    def company(self):
        """The main thing beside its companion, or the group."""
        companion = self.scene.companion
        if not companion:
            number = {1: "a single", 2: "a pair of"}.get(self.n, "a group of three")
            return f"{self.things(number=number)} {self.place()}"
        beside = self.pick("next to", "near", "beside", "close to")
        return f"{self.things()} {beside} a {self.pick('small', 'little')} {companion.colour} {companion.kind}"

    def special(self):
        """The variety of the kind, such as its breed."""
        number = self.number if self.n != 2 else self.pick("two", "a couple of", "a pair of")
        return f"{self.things(colour=self.rng.random() < 0.7, variety=True, number=number)} {self.doing} {self.place()}"


_SENTENCE_FORMS = (
    _Writer.terse,
    _Writer.picture,
    _Writer.exists,
    _Writer.sized,
    _Writer.place_first,
    _Writer.sentence,
    _Writer.company,
    _Writer.special,
)
