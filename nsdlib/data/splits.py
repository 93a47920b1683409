"""Train-test splits. Every split is by image: no test image was shown in a training trial."""

import numpy as np

SHARE = 0.2  # of the images or concepts, drawn for the test set
N_CLUSTERS, N_TOPICS = 5, 50  # clusters of images, and dimensions in which their captions are clustered


def is_test(subject, split, *, seed=0):
    """Say whether each trial's image is in the test set of a split, one of `SPLITS`: (n_trials,) bool.

    official: the data set's own test set. random: a fifth of the images. concept: a fifth of the concepts with all their images.
    cluster: one of five clusters of images by their captions (Shirakawa et al. 2024, arXiv 2405.10078). last_session: images that
    only the last session showed. repeated: images shown more often than the median. `seed` controls random draws and selects the
    cluster; the same trials give the same split. Raises a ValueError for an unknown split, one that the data do not allow, and an
    empty training or test set.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown. Known: {', '.join(SPLITS)}.")
    if (test := SPLITS[split](subject, seed)) is None:
        raise ValueError(f"{subject.name} has no test set of its own: set split to random, or another.")
    if test.all() or not test.any():
        raise ValueError(
            f"split {split}: {test.sum()} of {len(test)} trials of {subject.name} showed test images, wanted some but not all. "
            f"Use more sessions, or another split: {', '.join(name for name in SPLITS if name != split)}."
        )
    return test


def count(is_test, image_ids):
    """Count trials and distinct images of a split: a dict, trials_train, trials_test, images_train and images_test."""
    counts = {}
    for name, part in (("train", ~is_test), ("test", is_test)):
        counts |= {f"trials_{name}": int(part.sum()), f"images_{name}": len(np.unique(image_ids[part]))}
    return counts


def draw(values, n_values=None, *, seed):
    """Draw `n_values` of distinct values at random, by default the fraction `SHARE`; all if there are fewer."""
    n_values = max(1, round(SHARE * len(values))) if n_values is None else n_values
    return np.random.default_rng(seed).permutation(values)[:n_values]


def _concept(subject, seed):
    images, image_of_trial = np.unique(subject.image_ids, return_inverse=True)
    concepts = np.array(subject.concepts(images))
    return np.isin(concepts, draw(np.unique(concepts), seed=seed))[image_of_trial]


def _cluster(subject, seed):
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    images, image_of_trial = np.unique(subject.image_ids, return_inverse=True)
    texts = [" ".join(captions) for captions in subject.captions(images)]
    if without := [number for number, text in zip(images.tolist(), texts, strict=True) if not text]:
        raise ValueError(
            f"split cluster compares captions, and {len(without)} of {len(images)} images of {subject.name} have none, such as "
            f"image {without[0]}: give captions, or take another split, such as random."
        )
    vectors = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    n_distinct = len({frozenset(words) for words in map(vectors.build_analyzer(), texts)} - {frozenset()})
    if n_distinct < N_CLUSTERS:
        raise ValueError(
            f"split cluster: captions of {subject.name} have {n_distinct} different sets of words, wanted at least "
            f"{N_CLUSTERS}: take another split, such as random."
        )
    words = vectors.fit_transform(texts)
    topics = normalize(TruncatedSVD(min(N_TOPICS, *words.shape), random_state=0).fit_transform(words))
    cluster = KMeans(N_CLUSTERS, n_init=10, random_state=0).fit_predict(topics)
    return (cluster == seed % N_CLUSTERS)[image_of_trial]


def _last_session(subject, seed):
    ids, in_last = subject.image_ids, subject.session == subject.session.max()
    return in_last & ~np.isin(ids, ids[~in_last])


def _repeated(subject, seed):
    _, image_of_trial, counts = np.unique(subject.image_ids, return_inverse=True, return_counts=True)
    return (counts > np.median(counts))[image_of_trial]


SPLITS = {
    "official": lambda subject, seed: subject.official_test,
    "random": lambda subject, seed: np.isin(subject.image_ids, draw(np.unique(subject.image_ids), seed=seed)),
    "concept": _concept,
    "cluster": _cluster,
    "last_session": _last_session,
    "repeated": _repeated,
}
