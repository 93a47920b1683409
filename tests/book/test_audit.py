"""Every line of the audit is recomputed: by hand from the printed digits, and from first principles for the sizes."""

import pytest

from book._ext.audit import audit

TOP_DOWN = (
    (1, 2),
    (4, 4),
    (8, 8),
    (16, 16),
    (32, 32),
    (64, 13),
)  # resolution, stochastic layers (Child 2021, hps.py, imagenet64)
N_VOXELS, N_HIDDEN = 15_724, 100


def width(n_layers):
    """Latents of the first layers: 16 channels at each place."""
    resolutions = [resolution for resolution, n in TOP_DOWN for _ in range(n)]
    return sum(16 * resolution**2 for resolution in resolutions[:n_layers])


def gru_parameters():
    """Table 1 by hand: two bidirectional GRUs, two layer normalisations, two dense layers, one batch normalisation."""

    def gru(n_in):
        return 2 * 3 * (N_HIDDEN * n_in + N_HIDDEN * N_HIDDEN + 2 * N_HIDDEN)

    both = 2 * N_HIDDEN
    return gru(N_VOXELS) + gru(both) + 3 * 2 * both + both * (both + 1) + width(15) * (both + 1)


BY_HAND = {
    "latents of 15 layers": (width(15), 13_334),
    "latents of 31 layers": (width(31), 91_168),
    "parameters of the GRU": (gru_parameters(), 12_400_344),
    "layers of the VDVAE's decoder": (sum(n for _, n in TOP_DOWN), 75),
    "layers of the VDVAE's decoder, again": (sum(n for _, n in TOP_DOWN), 77),
}
PERCENT = {
    "training share %": (100 * 8859 / 9841, 90),
    "SSIM lost at noise amplitude 8, %": (100 * (0.361 - 0.311) / 0.361, 14),
    "SSIM lost at noise amplitude 16, %": (100 * (0.361 - 0.287) / 0.361, 20),
    "SSIM lost at noise amplitude 32, %": (100 * (0.361 - 0.256) / 0.361, 30),
    "SSIM lost at noise amplitude 64, %": (100 * (0.361 - 0.207) / 0.361, 42),
    "SSIM lost at noise amplitude 256, %": (100 * (0.361 - 0.140) / 0.361, 65),
    "PixCorr lost at noise amplitude 256, %": (100 * (0.202 - 0.090) / 0.202, 55),
    "SSIM gained over ridge %, subject 1, 31 layers each": (100 * (0.374 - 0.367) / 0.367, 2),
    "SSIM gained over ridge %, subject 1, 15 layers each": (100 * (0.370 - 0.358) / 0.358, 2),
    "SSIM gained over ridge %, subject 1, 15 against ridge's 31": (100 * (0.370 - 0.367) / 0.367, 2),
    "SSIM gained over ridge %, four subjects, 31 layers each": (100 * (0.360 - 0.356) / 0.356, 2),
    "CLIP gained over ridge %, subject 1, 31 layers each": (100 * (0.958 - 0.925) / 0.925, 4),
    "CLIP gained over ridge %, subject 1, 15 layers each": (100 * (0.924 - 0.925) / 0.925, 4),
    "CLIP gained over ridge %, subject 1, 15 against ridge's 31": (100 * (0.924 - 0.925) / 0.925, 4),
    "CLIP gained over ridge %, four subjects, 31 layers each": (100 * (0.922 - 0.915) / 0.915, 4),
}
IN_WORDS = {
    "z-score of the betas": "the mean subtracted",
    "statistics of the z-score": "of the training images (here, and in the paper's public code)",
    "row without noise": "the mean of four subjects, number by number",
    "noise at which CLIP is highest": "64",
    "SSIM and PixCorr of Gu": "0.325 and 0.150",
}


@pytest.fixture(scope="module")
def table():
    return audit()


def test_every_line_is_computed_again(table):
    assert set(table.index) == {*BY_HAND, *PERCENT, *IN_WORDS}


@pytest.mark.parametrize("what", BY_HAND)
def test_sizes(table, what):
    found, said = BY_HAND[what]
    assert table.loc[what, ["printed", "recomputed", "agrees"]].tolist() == [f"{said:,}", f"{found:,}", found == said]


@pytest.mark.parametrize("what", PERCENT)
def test_percentages(table, what):
    found, said = PERCENT[what]
    line = table.loc[what]
    assert float(line.recomputed) == pytest.approx(found, abs=0.051) and float(line.printed) == said
    assert line.agrees == (abs(found - said) <= 0.5)


@pytest.mark.parametrize("what", IN_WORDS)
def test_words(table, what):
    assert table.loc[what, "recomputed"] == IN_WORDS[what] and not table.loc[what, "agrees"]
