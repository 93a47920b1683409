"""Each protocol against the libraries that the published code called, with every option written out."""

from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from test_metrics import demo_run  # noqa: F401
from torchvision.transforms import v2

from nsdlib.core.images import resample, resize
from nsdlib.core.scores import similarity
from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.protocols import PROTOCOLS
from nsdlib.params import Run
from nsdlib.store import zoo

pytestmark = pytest.mark.numerical

SETTINGS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


@pytest.fixture(scope="module")
def pair():
    """Three smooth stimuli of 425 pixels, and reconstructions of 512."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (3, 9, 9, 3), dtype=np.uint8)
    made = np.clip(coarse + rng.normal(0, 40, coarse.shape), 0, 255).astype(np.uint8)
    return tuple(resize(images, side, "pil bicubic") for images, side in ((coarse, 425), (made, 512)))


def grey(images):
    return [rgb2gray(image) for image in images]


def test_brain_diffuser_compares_grey_columns_after_pillows_bicubic(pair):
    truth, made = pair
    small = [np.asarray(Image.fromarray(image).resize((425, 425), Image.BICUBIC)) for image in made]
    pairs = zip(grey(truth / 255), grey(np.stack(small) / 255), strict=True)
    wanted = [structural_similarity(a, b, channel_axis=-1, **SETTINGS) for a, b in pairs]
    protocol = PROTOCOLS["brain_diffuser"]
    got = similarity.ssim(truth, made, preprocess=protocol.for_structure, columns=True)
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    wanted = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(truth, small, strict=True)]
    np.testing.assert_allclose(similarity.pixcorr(truth, made, preprocess=protocol.for_structure), wanted, atol=1e-6)


def through(*sides):
    """torchvision's resizing of float tensors without antialiasing, one size after the other."""
    steps = [v2.Resize((side, side), v2.InterpolationMode.BILINEAR, antialias=False) for side in sides]
    return v2.Compose([v2.ToDtype(torch.float32, scale=True), *steps])


def test_mindeye_compares_tensors_that_went_through_256_pixels(pair):
    truth, made = (through(256, 425)(torch.from_numpy(images).permute(0, 3, 1, 2)) for images in pair)
    pairs = zip(*(grey(images.permute(0, 2, 3, 1).numpy()) for images in (truth, made)), strict=True)
    wanted = [structural_similarity(a, b, **SETTINGS) for a, b in pairs]
    got = similarity.ssim(*pair, preprocess=PROTOCOLS["mindeye2"].for_structure)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize(("network", "side"), [("alexnet", 256), ("inception", 342), ("effnet", 255), ("swav", 224)])
def test_networks_see_the_sizes_of_each_protocol(pair, network, side):
    wanted = through(256, side)(torch.from_numpy(pair[1]).permute(0, 3, 1, 2))
    torch.testing.assert_close(PROTOCOLS["mindeye1"].for_network(pair[1], network, 224), wanted, atol=1e-5, rtol=0)
    images = [np.asarray(Image.fromarray(image).resize((224, 224), Image.BILINEAR)) for image in pair[1]]
    wanted = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(PROTOCOLS["brain_diffuser"].for_network(pair[1], network, 224), wanted)
    assert PROTOCOLS["mindeye1"].for_network(pair[1], network, 64).shape[-1] == round(side * 64 / 224)


def test_one_set_of_images_has_other_scores_under_each_protocol(demo_run, pair):  # noqa: F811
    scores = {name: zoo.load_scorer(demo_run, protocol=name).score(*pair) for name in PROTOCOLS}
    means = {name: of_images.mean("test_image") for name, of_images in scores.items()}
    assert all(array.protocol == name and np.isfinite(array).all() for name, array in scores.items())
    assert means["brain_diffuser"].sel(metric="ssim") != pytest.approx(means["mindeye1"].sel(metric="ssim").item(), abs=1e-3)
    # these differ in the number of test images alone; networks may add in another order where memory lies otherwise
    np.testing.assert_allclose(scores["mindeye1"], scores["mindeye2"], atol=1e-5)
    for name in PROTOCOLS:
        itself = zoo.load_scorer(demo_run, protocol=name).score(pair[0], pair[0])
        best = [1.0 if metric.higher_is_better else 0.0 for metric in METRICS.values()]
        np.testing.assert_allclose(itself.mean("test_image"), best, atol=1e-5)


def test_parameters_name_the_protocols_there_are():
    assert get_args(Run.model_fields["protocol"].annotation) == tuple(PROTOCOLS)
    with pytest.raises(ValueError, match=r"must be .* uint8"):
        resample(torch.zeros(1, 3, 8, 8), 4, "pil bilinear")
    with pytest.raises(ValueError, match="one of antialiased, plain, pil bilinear, pil bicubic, got 'nearest'"):
        resample(torch.zeros(1, 3, 8, 8), 4, "nearest")
