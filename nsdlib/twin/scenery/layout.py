"""Placement of things in a scene: on the ground in perspective, in the air or on the water, with little overlap."""

from itertools import combinations

# range of a thing's width, as a fraction of the picture, by the number of things; then that of a companion
SIZES = {1: (0.44, 0.68), 2: (0.34, 0.46), 3: (0.28, 0.36)}
COMPANION_SIZE = (0.2, 0.28)
MARGIN = 0.02  # free border at the picture's edges
MOST_OVERLAP = 0.25  # of the smaller one's square
# upper limit of feet on the ground, and upper and lower limits on or in water, as fractions of the height from the top
GROUND = {"sea": 0.6, "lake": 0.84, "underwater": 0.86, "night": 0.72, "city": 0.74, "kitchen": 0.76, "sunset": 0.74}
WATER = {"sea": (0.56, 0.96), "lake": (0.56, 0.78), "beach": (0.5, 0.6), "underwater": (0.3, 0.8)}


def overlap(first, second):
    """Return the fraction of the smaller of two squares (x, y, size) that lies in the other."""
    sides = [max(0.0, (first[2] + second[2]) / 2 - abs(first[axis] - second[axis])) for axis in (0, 1)]
    smaller = min(first[2], second[2])
    return min(sides[0], smaller) * min(sides[1], smaller) / smaller**2


def place(sizes, homes, background, rng):
    """Place things in a scene.

    Parameters
    ----------
    sizes : list of float
        Widths, fractions of the picture's side.
    homes : list of str
        Where each belongs: "ground", "air", "water" or "any".
    background : str
        Name of the background.
    rng : numpy.random.Generator

    Returns
    -------
    list of tuple of float
        Centre x, centre y and width of each; of things of one size, nearer (lower) ones are larger.
    """
    best, smallest = None, 9.0
    for attempt in range(60):
        shrink = max(0.0, attempt / 60 - 0.3)
        spots = [_spot(size * (1 - 0.25 * shrink), home, background, rng) for size, home in zip(sizes, homes, strict=True)]
        largest = max((overlap(one, other) for one, other in combinations(spots, 2)), default=0.0)
        if largest < smallest:
            best, smallest = spots, largest
        if smallest < 0.08 + 0.17 * attempt / 60:
            return best
    return best if smallest <= MOST_OVERLAP else _side_by_side(best)


def _side_by_side(spots):
    """Put things in a row from left to right, keeping the height of their feet; shrink them if they do not fit."""
    shrink = min(1.0, (1 - 2 * MARGIN) / sum(size for _, _, size in spots))
    sizes = [size * shrink for _, _, size in spots]
    free = (1 - 2 * MARGIN - sum(sizes)) / max(1, len(spots) - 1)
    row, left = [], MARGIN
    for (_, y, old), size in zip(spots, sizes, strict=True):
        row.append((left + size / 2, y + (old - size) / 2, size))
        left += size + free
    return row


def _spot(size, home, background, rng):
    """Draw a random position of a thing: centre x, centre y, size."""
    x_fraction, y_fraction = rng.random(), rng.random()
    if background == "space" or home == "air" or (home == "water" and background == "underwater"):
        low, high = MARGIN, (0.98 if background in ("space", "underwater") else 0.86) - size
        top = low + max(0.0, high - low) * y_fraction
    else:
        top_limit, bottom_limit = GROUND.get(background, 0.68), 1 - MARGIN
        if home == "water" and background in WATER:
            top_limit, bottom_limit = WATER[background]
        feet = top_limit + (bottom_limit - top_limit) * (0.25 + 0.75 * y_fraction if size > 0.4 else y_fraction)
        size *= 0.94 + 0.1 * (feet - top_limit) / (bottom_limit - top_limit)
        top = max(MARGIN, feet - size)
    x = MARGIN + size / 2 + (1 - 2 * MARGIN - size) * x_fraction
    return x, top + size / 2, size


def stands(home, background):
    """Return what a thing rests on: "ground", "water", or None if it floats."""
    if background == "space" or home == "air":
        return None
    if background == "sea":
        return "water"
    if home == "water":
        return {"lake": "water", "beach": "water", "underwater": None}.get(background, "ground")
    return "ground"
