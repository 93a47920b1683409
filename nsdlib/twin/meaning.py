"""Features that the simulated higher areas respond to: graded meaning, and picture features that no decoder has."""

import numpy as np

from nsdlib.twin.scenes import BACKGROUNDS, COLOURS, KINDS

WORLD_SEED = 1808  # of concept vectors and random features: the same for all subjects
FAMILIES = (
    ("face", "person", "cat", "dog", "horse", "bird", "fish", "butterfly"), ("tree", "flower", "mushroom", "cactus", "apple"),
    ("car", "boat", "train", "balloon", "rocket"), ("house", "castle"), ("cup", "umbrella", "guitar", "clock"),
    ("meadow", "farm", "garden", "park"), ("snow", "mountains", "desert"), ("beach", "sea", "lake", "underwater"),
    ("forest", "jungle"), ("city", "street"), ("room", "kitchen"), ("night", "sunset", "space"),
)  # fmt: skip
LIKENESS = 0.5  # correlation of two members of a family
WEIGHTS = {"kind": 1.6, "background": 0.8, "colour": 0.4, "number": 0.6, "size": 0.4, "place": 0.4}
N_FEATURES = 512  # number of random cosine features
CURVATURE = 0.35  # frequency of the random cosines (radians per unit distance): larger is less linear
PRIVATE_CURVATURE, PRIVATE_SIDE = 4.0, 8  # the same for private features; side of their coarse picture (pixels)


def embed(scenes, n_dimensions):
    """Embed scenes in a space of graded meaning whose dimensions have variances 1 / rank: (n_images, n_dimensions) float32.

    A scene's vector is the mean of its objects' concepts, each weighted by the square root of the object's size, together with
    background, colour, number, size and place. Concepts of a family are correlated. The dimensions are principal components of
    random cosines of these vectors, so they also depend on combinations such as kind and background; at most n_images of them.
    """
    rng = np.random.default_rng(WORLD_SEED)
    concepts = _concepts(rng)
    vectors = np.stack([_scene_vector(scene, concepts) for scene in scenes])  # (n_images, n_concept_dimensions)
    return _spectrum(_cosines(vectors - vectors.mean(axis=0), CURVATURE, rng), n_dimensions)


def private(maps, n_dimensions):
    """Compute features (n_images, n_dimensions) float32 of `brain.visual_maps` that no other features predict linearly."""
    rng, step = np.random.default_rng(WORLD_SEED + 1), maps.shape[-1] // PRIVATE_SIDE
    coarse = maps.reshape(*maps.shape[:2], PRIVATE_SIDE, step, PRIVATE_SIDE, step).mean(axis=(3, 5))
    coarse = coarse.reshape(len(maps), maps.shape[1], -1)
    coarse = (coarse - coarse.mean(axis=0)) / coarse.std(axis=(0, 2))[:, None]
    points = coarse.reshape(len(maps), -1) / np.sqrt(coarse[0].size)
    return _spectrum(_cosines(points, PRIVATE_CURVATURE, rng), n_dimensions)


def _concepts(rng):
    """Draw a vector for each kind, background and colour; vectors of a family have correlation `LIKENESS`."""
    concepts, size = {}, len(KINDS) + len(BACKGROUNDS)
    for family in (*FAMILIES, *((colour,) for colour in COLOURS)):
        shared = rng.standard_normal(size)
        for name in family:
            unique = rng.standard_normal(size)
            concepts[name] = (np.sqrt(LIKENESS) * shared + np.sqrt(1 - LIKENESS) * unique) / np.sqrt(size)
    return concepts


def _scene_vector(scene, concepts):
    """Vector of a scene in the space of concepts."""
    weights = np.sqrt([thing.size for thing in scene.things]) / len(scene.things)
    main_thing = scene.things[0]
    return np.concatenate([
        WEIGHTS["kind"] * sum(weight * concepts[thing.kind] for weight, thing in zip(weights, scene.things, strict=True)),
        WEIGHTS["colour"] * sum(weight * concepts[thing.colour] for weight, thing in zip(weights, scene.things, strict=True)),
        WEIGHTS["background"] * concepts[scene.background],
        WEIGHTS["number"] * np.array([len(scene.main) / 2]),
        WEIGHTS["size"] * np.array([5 * main_thing.size]),
        WEIGHTS["place"] * np.array([3 * main_thing.x, 3 * main_thing.y]),
    ])  # fmt: skip


def _cosines(points, curvature, rng):
    """Random cosines of points, scaled to a root-mean-square distance of 1 from their mean: (n_points, N_FEATURES)."""
    scale = curvature / np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=1).mean())
    directions = rng.standard_normal((points.shape[1], N_FEATURES))
    return np.cos(scale * points @ directions + rng.uniform(0, 2 * np.pi, N_FEATURES))


def _spectrum(features, n_dimensions):
    """Principal components of features, with variances 1 / rank: (n_images, n_dimensions) float32."""
    scores, _, axes = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    scores = scores * np.sign(axes[np.arange(len(axes)), abs(axes).argmax(axis=1)])  # signs are arbitrary
    rank = np.arange(1, n_dimensions + 1)
    return (np.sqrt(len(features) / rank) * scores[:, :n_dimensions]).astype(np.float32)
