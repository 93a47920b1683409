"""Scenes: drawn as described, the same from the same seed, things inside the picture and apart."""

import numpy as np
import pytest

from nsdlib.twin import scenes


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(9)
    return [scenes.sample_scene(rng) for _ in range(150)]


def test_same_seed_same_picture():
    first, second = (scenes.sample_scene(np.random.default_rng(4)) for _ in range(2))
    assert first == second
    image = scenes.draw(first)
    assert image.shape == (425, 425, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, scenes.draw(second))


@pytest.mark.parametrize("kind", scenes.KINDS)
def test_every_kind_shows_its_colour_where_it_stands(kind):
    thing = scenes.Thing(kind, "purple", 0.3, 0.6, 0.5)
    without = scenes.draw(scenes.Scene("snow", (scenes.Thing(kind, "purple", 5, 5, 0.1),), 0.5)).astype(int)
    changed = np.abs(scenes.draw(scenes.Scene("snow", (thing,), 0.5)) - without).sum(-1) > 0
    rows, columns = np.nonzero(changed)
    assert changed.mean() > 0.03
    assert rows.min() >= 0.35 * 425 - 3 and rows.max() <= 0.85 * 425 + 3
    assert columns.min() >= 0.05 * 425 - 3 and columns.max() <= 0.55 * 425 + 3
    purple = (scenes.draw(scenes.Scene("snow", (thing,), 0.5)) == scenes.COLOURS["purple"]).all(-1)
    assert (purple & changed).sum() > 0.1 * changed.sum()


def test_kinds_and_backgrounds_can_be_told_apart():
    kinds = [scenes.draw(scenes.Scene("snow", (scenes.Thing(k, "red", 0.5, 0.5, 0.6),), 0.5), 64) for k in scenes.KINDS]
    places = [scenes.draw(scenes.Scene(b, (scenes.Thing("ball", "red", 0.5, 0.5, 0.2),), 0.5), 64) for b in scenes.BACKGROUNDS]
    for images in (kinds, places):
        differ = [np.abs(a.astype(int) - b).mean() for i, a in enumerate(images) for b in images[:i]]
        assert min(differ) > 3


def test_things_stay_inside_and_apart(drawn):
    for scene in drawn:
        for i, one in enumerate(scene.things):
            assert one.size / 2 <= one.x <= 1 - one.size / 2 and one.size / 2 <= one.y <= 1 - one.size / 2
            for other in scene.things[:i]:
                assert np.hypot(one.x - other.x, one.y - other.y) > 0.6 * (one.size + other.size) / 2


def test_captions_say_what_is_there(drawn):
    rng = np.random.default_rng(0)
    for scene in drawn:
        captions = scenes.describe(scene, rng)
        assert len(captions) == 5
        singular = scene.things[0].kind
        assert all(singular in caption or scenes.PLURALS.get(singular, "") in caption for caption in captions)
        assert sum(scene.things[0].colour in caption for caption in captions) >= 4
        assert sum(scenes.PLACES[scene.background] in caption for caption in captions) == 4


def test_attributes_are_those_of_the_scene(drawn):
    for scene in drawn:
        value = dict(zip(scenes.ATTRIBUTES, scenes.attributes(scene), strict=True))
        assert value[f"kind: {scene.things[0].kind}"] == 1 and value[f"background: {scene.background}"] == 1
        assert value["number"] == (len(scene.main) - 1) / 2
        kinds = sum(value[f"kind: {kind}"] for kind in scenes.KINDS)
        assert kinds == (1.5 if scene.companion else 1)
