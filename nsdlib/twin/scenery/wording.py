"""The words of the captions: verbs, names of varieties, places, plurals and articles."""

import re

from nsdlib.twin.scenery.places import PLACES

SORTS = {  # specific names of the three shapes of a kind, and what they do
    "cat": (("cat", "house cat", "cat head"), ("sitting", "walking", "looking at us")),
    "dog": (("puppy", "dog", "dog head"), ("sitting", "standing", "looking at us")),
    "bird": (("song bird", "bird", "owl"), ("resting", "flying", "resting")),
    "fish": (("striped fish", "long fish", "angel fish"), ("swimming",) * 3),
    "butterfly": (("butterfly",) * 3, ("flying", "flying", "resting")),
    "horse": (("horse", "wild horse", "horse head"), ("standing", "running", "looking ahead")),
    "face": (("face with hat", "woman", "man with beard"), ("smiling",) * 3),
    "person": (("man", "woman", "hiker"), ("waving", "standing", "walking")),
    "tree": (("leafy tree", "fir tree", "palm tree"), ("growing",) * 3),
    "flower": (("daisy", "tulip", "rose"), ("growing",) * 3),
    "mushroom": (("spotted mushroom", "wild mushroom", "tall mushroom"), ("growing",) * 3),
    "cactus": (("tall cactus", "round cactus", "flat cactus"), ("growing", "standing", "growing")),
    "apple": (("fresh apple", "bitten apple", "cut apple"), ("lying",) * 3),
    "house": (("cottage", "town house", "barn"), ("standing",) * 3),
    "castle": (("fairy castle", "stone castle", "old castle"), ("standing",) * 3),
    "car": (("round car", "sports car", "truck"), ("parked", "driving", "parked")),
    "boat": (("sailing boat", "steam boat", "rowing boat"), ("sailing", "floating", "floating")),
    "train": (("steam train", "fast train", "train"), ("running", "running", "coming")),
    "balloon": (("hot air balloon",) * 3, ("floating", "flying", "flying")),
    "rocket": (("space rocket",) * 3, ("flying",) * 3),
    "umbrella": (("open umbrella", "closed umbrella", "beach umbrella"), ("standing",) * 3),
    "cup": (("coffee mug", "tea cup", "paper cup"), ("steaming", "standing", "standing")),
    "guitar": (("acoustic guitar", "electric guitar", "small guitar"), ("standing", "standing", "leaning")),
    "clock": (("wall clock", "alarm clock", "tall clock"), ("ticking", "ringing", "ticking")),
}
# SHORT: the phrase of a place without its adjective; ABOVE (below): the phrase for flying things
SHORT = {name: re.sub(r"^(\w+ \w+) \w+ (\w+)$", r"\1 \2", phrase) for name, phrase in PLACES.items()}
SHORT |= {"night": "in the night", "space": "in space"}
NOT_FLOWN_OVER = ("room", "kitchen", "night", "space", "sunset", "underwater")
ABOVE = {name: f"over {phrase.split(' ', 1)[1]}" for name, phrase in PLACES.items() if name not in NOT_FLOWN_OVER}
ABOVE |= {name: ABOVE[name].replace("over", "through") for name in ("forest", "jungle")}
WATERS = ("beach", "sea", "lake", "underwater")
PLURALS = {
    "fish": "fish", "person": "people", "man": "men", "woman": "women", "butterfly": "butterflies", "puppy": "puppies",
    "daisy": "daisies", "cactus": "cacti", "face with hat": "faces with hats", "man with beard": "men with beards",
}  # fmt: skip


def plural(noun):
    """Return the plural of a noun; its last word takes the ending."""
    if noun in PLURALS:
        return PLURALS[noun]
    *before, last = noun.split()
    return " ".join([*before, PLURALS.get(last, last + "s")])


def with_article(text):
    """Put "a" or "an" before a text."""
    return f"an {text}" if text[0] in "aeiou" else f"a {text}"
