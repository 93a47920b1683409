"""Recompute the paper's arithmetic: compare its text with its tables and with the models it names."""

import pandas as pd
import torch

from nsdlib.core.networks import count_parameters
from nsdlib.core.vdvae import VDVAE, Hyperparameters
from nsdlib.study.published import paper_table, stated, systems

NOISE = (8, 16, 32, 64, 256)
COLUMNS = ["what", "section", "printed", "recomputed", "agrees", "how"]


def audit():
    """Recompute each statement of the paper that can be recomputed: a DataFrame of `COLUMNS`, indexed by the first.

    The columns printed and recomputed are text; a percentage agrees if it rounds to the printed one.
    """
    rows = [*_sizes(), *_scaling(), *_noise(), *_gains(), _swapped_cells()]
    return pd.DataFrame(rows, columns=COLUMNS).set_index("what")


def _sizes():
    """Counts that follow from the models and the data."""
    with torch.device("meta"):
        model = VDVAE(Hyperparameters())
    for n_layers in (15, 31):
        how = f"widths of the first {n_layers} stochastic layers of the published ImageNet-64 model, added up"
        yield _count(f"latents of {n_layers} layers", model.n_latents(n_layers), how)
    yield _count("parameters of the GRU", count_parameters("gru", 15_724, 13_344), "Table 1 built and counted, with 13,344")
    for what in ("layers of the VDVAE's decoder", "layers of the VDVAE's decoder, again"):
        yield _count(what, len(model.latent_shapes), "stochastic layers of the published model")
    how = "8,859 images of subject 1 alone and 982 shared ones in 37 sessions of NSD"
    yield _percent("training share %", 100 * 8_859 / (8_859 + 982), how)


def _scaling():
    """The z-score as described in the text."""
    printed = "betas multiplied by their mean, divided by their standard deviation"
    how = "what is called a z-score has mean 0; a product with the mean has not"
    yield "z-score of the betas", "3.2", printed, "the mean subtracted", False, how
    recomputed = "of the training images (here, and in the paper's public code)"
    how = "with the test images in them each prediction depends on the others: transductive (notebook 09 shows the price)"
    yield "statistics of the z-score", "3.2", "of the entire dataset", recomputed, False, how


def _noise():
    """The losses under noise, from Table 6."""
    table = paper_table(6)
    losses = [("SSIM", amplitude) for amplitude in NOISE] + [("PixCorr", 256)]
    for score, amplitude in losses:
        loss = 100 * (1 - table.loc[amplitude, score.lower()] / table.loc[0, score.lower()])
        yield _percent(f"{score} lost at noise amplitude {amplitude}, %", loss, "Table 6 against its row without noise")
    is_mean = (table.loc[0] == paper_table(5).loc[("GRU", 15)]).all()
    own, clip = paper_table(4).loc[("GRU", 15)], table["clip"]
    recomputed = "the mean of four subjects, number by number" if is_mean else "not the mean of four subjects"
    how = (
        f"Table 5, GRU with 15 layers; subject 1 alone has an SSIM of {own['ssim']:.3f} and a CLIP of {own['clip']:.3f} "
        f"(Table 4): of CLIP's rise from {clip[0]:.3f} to {clip[8]:.3f} a part is the step from four subjects to one"
    )
    yield "row without noise", "Table 6", "subject 1", recomputed, not is_mean, how
    noisy = table["clip"].drop(0)
    how = f"Table 6; of the rows with noise, {noisy.idxmin()} has the lowest"
    best = noisy.idxmax()
    yield "noise at which CLIP is highest", "4.3", "256, the strongest", f"{best}", best == 256, how


def _gains():
    """The gains over ridge, from Tables 4 and 5."""
    for score in ("SSIM", "CLIP"):
        what = f"{score} gained over ridge %"
        printed, section = stated().loc[what, ["value", "section"]]
        subject, group = paper_table(4)[score.lower()], paper_table(5)[score.lower()]
        pairs = {
            "subject 1, 31 layers each": (subject["GRU", 31], subject["Ridge", 31]),
            "subject 1, 15 layers each": (subject["GRU", 15], subject["Ridge", 15]),
            "subject 1, 15 against ridge's 31": (subject["GRU", 15], subject["Ridge", 31]),
            "four subjects, 31 layers each": (group["GRU", 31], group["Ridge", 31]),
        }
        for pair, (gru, ridge) in pairs.items():
            gain = 100 * (gru / ridge - 1)
            agrees = abs(gain - printed) <= 0.5
            yield f"{what}, {pair}", section, f"{printed:g}", f"{gain:+.1f}", agrees, "Tables 4 and 5"


def _swapped_cells():
    """The two cells of Table 5 that are swapped."""
    cells, source = paper_table(5).loc["Gu"].iloc[0], systems().loc["Gu"]
    is_swapped = cells.ssim == source.pixcorr and cells.pixcorr == source.ssim
    printed, recomputed = (f"{scores.ssim:.3f} and {scores.pixcorr:.3f}" for scores in (cells, source))
    how = "Table 1 of Ozcelik & VanRullen (2023), where PixCorr is the first column"
    return "SSIM and PixCorr of Gu", "Table 5", printed, recomputed, not is_swapped, how


def _count(what, recomputed, how):
    """A row for a stated count."""
    printed, section = stated().loc[what, ["value", "section"]]
    return what, section, f"{printed:,.0f}", f"{recomputed:,}", printed == recomputed, how


def _percent(what, recomputed, how):
    """A row for a stated percentage."""
    printed, section = stated().loc[what, ["value", "section"]]
    return what, section, f"{printed:g}", f"{recomputed:.1f}", abs(recomputed - printed) <= 0.5, how
