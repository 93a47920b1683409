"""Drawn scenes: reproducible from the seed, objects inside the image, masks inside their boxes, true captions."""

import re

import numpy as np
import pytest

from nsdlib.twin import captions, scenes
from nsdlib.twin.scenery import layout, places, wording


@pytest.fixture(scope="module")
def sampled():
    rng = np.random.default_rng(9)
    return [scenes.sample_scene(rng) for _ in range(3000)]


def test_same_seed_same_picture():
    first, second = (scenes.sample_scene(np.random.default_rng(4)) for _ in range(2))
    assert first == second
    image = scenes.draw(first)
    assert image.shape == (425, 425, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, scenes.draw(second))
    assert scenes.draw(first, 64).shape == (64, 64, 3)


@pytest.mark.parametrize("background", scenes.BACKGROUNDS)
def test_backgrounds_vary(background):
    pictures = []
    for variant in (0.0, 0.37, 0.9999):
        image = places.paint(background, variant, 128)
        assert image.size == (128, 128) and image.mode == "RGB"
        pictures.append(np.asarray(image, dtype=float))
    assert np.abs(pictures[0] - pictures[1]).mean() > 1


def test_kinds_and_backgrounds_can_be_told_apart():
    kinds = [scenes.draw(scenes.Scene("snow", (scenes.Thing(k, "red", 0.5, 0.5, 0.6),), 0.5), 64) for k in scenes.KINDS]
    backgrounds = [np.asarray(places.paint(b, 0.5, 64)) for b in scenes.BACKGROUNDS]
    for images in (kinds, backgrounds):
        assert min(np.abs(a.astype(int) - b).mean() for i, a in enumerate(images) for b in images[:i]) > 3


def test_things_stay_inside_and_apart(sampled):
    for scene in sampled:
        squares = [(thing.x, thing.y, thing.size) for thing in scene.things]
        for i, (x, y, size) in enumerate(squares):
            assert min(x, y) - size / 2 > -1e-9 and max(x, y) + size / 2 < 1 + 1e-9
            assert all(layout.overlap(squares[i], other) <= layout.MOST_OVERLAP for other in squares[:i])


def test_masks_lie_in_the_squares_of_their_things_and_show_each(sampled):
    for scene in sampled[:40]:
        masks = scenes.masks(scene, 128)
        assert masks.shape == (len(scene.things), 128, 128) and masks.sum(0).max() <= 1
        for thing, mask in zip(scene.things, masks, strict=True):
            assert mask.mean() > 0.004
            for pixels, centre in zip(np.nonzero(mask), (thing.y, thing.x), strict=True):
                assert np.abs(pixels + 0.5 - 128 * centre).max() <= 64 * thing.size + 2


def test_masks_cover_what_changes_with_the_colour():
    one, other = (scenes.Scene("park", (scenes.Thing("car", colour, 0.5, 0.7, 0.5),), 0.2) for colour in ("red", "blue"))
    changed = np.abs(scenes.draw(one, 128).astype(int) - scenes.draw(other, 128)).sum(-1) > 150
    assert changed.mean() > 0.02 and (scenes.masks(one, 128)[0] | ~changed).mean() > 0.995


def test_design_is_nearly_independent(sampled):
    main = [(scene.things[0].kind, scene.things[0].colour, scene.background) for scene in sampled]
    for values, names in zip(zip(*main, strict=True), (scenes.KINDS, tuple(scenes.COLOURS), scenes.BACKGROUNDS), strict=True):
        share = np.array([values.count(name) for name in names]) / len(sampled)
        assert np.abs(share * len(names) - 1).max() < 0.4
    table = np.array([scenes.attributes(scene) for scene in sampled])
    kinds = (table[:, : len(scenes.KINDS)] == 1).astype(float)
    colours = (table[:, len(scenes.KINDS) : len(scenes.KINDS) + 8] == 1).astype(float)
    correlation = np.corrcoef(kinds.T, colours.T)[: len(scenes.KINDS), len(scenes.KINDS) :]
    assert np.abs(correlation).max() < 0.08
    assert 0.2 < np.mean([scene.companion is not None for scene in sampled]) < 0.3
    assert 0.05 < np.mean([scenes.is_held_out(scene) for scene in sampled]) < 0.15


def test_attributes_are_those_of_the_scene(sampled):
    for scene in sampled[:200]:
        value = dict(zip(scenes.ATTRIBUTES, scenes.attributes(scene), strict=True))
        assert value[f"kind: {scene.things[0].kind}"] == 1 and value[f"background: {scene.background}"] == 1
        assert value[f"colour: {scene.things[0].colour}"] == 1
        assert value["number"] == (len(scene.main) - 1) / 2
        assert sum(value[f"kind: {kind}"] for kind in scenes.KINDS) == (1.5 if scene.companion else 1)


def test_captions_are_true_and_plain(sampled):
    rng, vocabulary = np.random.default_rng(0), set()
    for scene in sampled:
        five = captions.describe(scene, rng)
        first = scene.things[0]
        nouns = [first.kind, wording.plural(first.kind)]
        assert len(set(five)) == 5
        assert sum(any(noun in caption for noun in nouns) for caption in five) >= 4
        assert sum(re.search(rf"\b{first.colour}\b", caption) is not None for caption in five) >= 3
        named = {first.colour, *([scene.companion.colour] if scene.companion else [])}
        for caption in five:
            vocabulary.update(caption.split())
            assert re.fullmatch(r"[a-z]+( [a-z]+)*", caption) and len(caption.split()) <= 18
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption), caption
            said = {colour for colour in scenes.COLOURS if re.search(rf"\b{colour}\b", caption)}
            assert said - named <= ({"green"} if scene.background == "meadow" else set()), caption
    assert len(vocabulary) <= 350


def test_every_shape_has_words():
    assert set(wording.SORTS) == set(scenes.KINDS)
    assert all(len(words) == 3 for both in wording.SORTS.values() for words in both)
    assert set(wording.SHORT) == set(scenes.BACKGROUNDS) and set(wording.ABOVE) <= set(scenes.BACKGROUNDS)
