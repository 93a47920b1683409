"""Splits: clusters of images planted by their captions are recovered, and each is held out as a whole."""

from types import SimpleNamespace

import numpy as np
import pytest

from nsdlib.data import splits

TOPICS = (
    "dog puppy leash fur",
    "train rail station track",
    "pizza cheese plate fork",
    "wave surf ocean beach",
    "clock tower dial hour",
)
N_EACH = 9  # images of a topic, each shown twice


def subject(captions):
    """A subject who saw images with captions in an order of its own, twice."""
    numbers = np.random.default_rng(3).permutation(np.repeat(np.arange(len(captions)), 2))
    return SimpleNamespace(name="planted", image_ids=numbers, captions=lambda ids: [captions[i] for i in ids])


def caption(topic, rng):
    """Two captions of three of a topic's words, between words that say nothing."""
    return [f"there is the {' and a '.join(rng.permutation(TOPICS[topic].split())[:3])}" for _ in range(2)]


def test_a_cluster_is_a_topic_of_the_captions():
    rng = np.random.default_rng(5)
    topic = np.arange(len(TOPICS)).repeat(N_EACH)
    planted = subject([caption(k, rng) for k in topic])
    held_out = []
    for seed in range(len(TOPICS)):
        is_test = splits.is_test(planted, "cluster", seed=seed)
        assert is_test.sum() == 2 * N_EACH  # all trials of all its images
        held_out.append(set(topic[planted.image_ids[is_test]]))
    assert sorted(held_out, key=min) == [{k} for k in range(len(TOPICS))]


def test_clusters_need_captions():
    planted = subject([["a dog"], ["a cat"], []])
    with pytest.raises(ValueError, match="1 of 3 images of planted have none, such as image 2"):
        splits.is_test(planted, "cluster")


@pytest.mark.parametrize("captions", [["of the", "and the"] * 5, ["a dog", "the dog"] * 5, ["dog", "cat", "dog and cat", "car"]])
def test_clusters_need_five_captions_that_differ_in_their_words(captions):
    planted = subject([[text] for text in captions])
    with pytest.raises(ValueError, match=r"captions of planted have [0134] different sets of words, wanted at least 5"):
        splits.is_test(planted, "cluster")


def test_five_captions_are_five_clusters_and_twice_the_same():
    planted = subject([["dog"], ["cat"], ["dog and cat"], ["car"], ["tree"]])
    found = [splits.is_test(planted, "cluster", seed=seed) for seed in (*range(5), 4)]
    assert np.array_equal(np.sum(found[:5], axis=0), np.ones(10)) and np.array_equal(found[4], found[5])
