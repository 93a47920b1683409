"""The words of the captions: what things do, what their sorts are called, where they are, plurals and articles."""

DOING = {  # what the three shapes of a kind do
    "cat": ("sitting", "walking", "looking at us"),
    "dog": ("sitting", "standing", "looking at us"),
    "bird": ("resting", "flying", "resting"),
    "fish": ("swimming",) * 3,
    "butterfly": ("flying", "flying", "resting"),
    "horse": ("standing", "running", "looking ahead"),
    "face": ("smiling",) * 3,
    "person": ("waving", "standing", "walking"),
    "tree": ("growing",) * 3,
    "flower": ("growing",) * 3,
    "mushroom": ("growing",) * 3,
    "cactus": ("growing", "standing", "growing"),
    "apple": ("lying",) * 3,
    "house": ("standing",) * 3,
    "castle": ("standing",) * 3,
    "car": ("parked", "driving", "parked"),
    "boat": ("sailing", "floating", "floating"),
    "train": ("running", "running", "coming"),
    "balloon": ("floating", "flying", "flying"),
    "rocket": ("flying",) * 3,
    "umbrella": ("standing",) * 3,
    "cup": ("steaming", "standing", "standing"),
    "guitar": ("standing", "standing", "leaning"),
    "clock": ("ticking", "ringing", "ticking"),
}
MODELS = {  # what the three shapes of a kind are called by those who look closely
    "cat": ("cat", "house cat", "cat head"),
    "dog": ("puppy", "dog", "dog head"),
    "bird": ("song bird", "bird", "owl"),
    "fish": ("striped fish", "long fish", "angel fish"),
    "butterfly": ("butterfly",) * 3,
    "horse": ("horse", "wild horse", "horse head"),
    "face": ("face with hat", "woman", "man with beard"),
    "person": ("man", "woman", "hiker"),
    "tree": ("leafy tree", "fir tree", "palm tree"),
    "flower": ("daisy", "tulip", "rose"),
    "mushroom": ("spotted mushroom", "wild mushroom", "tall mushroom"),
    "cactus": ("tall cactus", "round cactus", "flat cactus"),
    "apple": ("fresh apple", "bitten apple", "cut apple"),
    "house": ("cottage", "town house", "barn"),
    "castle": ("fairy castle", "stone castle", "old castle"),
    "car": ("round car", "sports car", "truck"),
    "boat": ("sailing boat", "steam boat", "rowing boat"),
    "train": ("steam train", "fast train", "train"),
    "balloon": ("hot air balloon",) * 3,
    "rocket": ("space rocket",) * 3,
    "umbrella": ("open umbrella", "closed umbrella", "beach umbrella"),
    "cup": ("coffee mug", "tea cup", "paper cup"),
    "guitar": ("acoustic guitar", "electric guitar", "small guitar"),
    "clock": ("wall clock", "alarm clock", "tall clock"),
}
SHORT = {  # where, in fewer or other words than those of the places
    "meadow": "in a meadow",
    "beach": "on a beach",
    "sea": "on the sea",
    "lake": "by a lake",
    "desert": "in a desert",
    "snow": "in the snow",
    "mountains": "in the mountains",
    "forest": "in a forest",
    "jungle": "in a jungle",
    "city": "in a city",
    "street": "on a street",
    "room": "in a room",
    "kitchen": "in a kitchen",
    "night": "in the night",
    "space": "in space",
    "sunset": "at sunset",
    "farm": "on a farm",
    "garden": "in a garden",
    "park": "in a park",
    "underwater": "under the water",
}
ABOVE = {  # where, for what flies
    "meadow": "over a green meadow",
    "beach": "over a sandy beach",
    "sea": "over the open sea",
    "lake": "over a calm lake",
    "desert": "over a hot desert",
    "snow": "over the cold snow",
    "mountains": "over the high mountains",
    "forest": "through a dark forest",
    "jungle": "through a wild jungle",
    "city": "over a big city",
    "street": "over a quiet street",
    "farm": "over a farm",
    "garden": "over a flower garden",
    "park": "over a park",
}
WATERS = ("beach", "sea", "lake", "underwater")
PLURALS = {
    "fish": "fish",
    "person": "people",
    "man": "men",
    "woman": "women",
    "butterfly": "butterflies",
    "puppy": "puppies",
    "daisy": "daisies",
    "cactus": "cacti",
    "face with hat": "faces with hats",
    "man with beard": "men with beards",
}


def plural(noun):
    """Return the plural of a noun, the last word of which carries the ending."""
    if noun in PLURALS:
        return PLURALS[noun]
    *before, last = noun.split()
    return " ".join([*before, PLURALS.get(last, last + "s")])


def with_article(text):
    """Put "a" or "an" before a text."""
    return f"an {text}" if text[0] in "aeiou" else f"a {text}"
