"""The paper's own arithmetic, done again: what its text says against its tables and against the models it names."""

from nsdlib.study.published import paper_table, stated, systems

NOISE = (8, 16, 32, 64, 256)


def audit():
    """Each statement of the paper that can be recomputed, and what comes out.

    Returns
    -------
    pandas.DataFrame
        Indexed by what is stated: section, printed, recomputed (both text), agrees (bool), how. A percentage agrees when it
        rounds to the printed one.
    """
    import pandas as pd

    rows = [*_sizes(), *_scaling(), *_noise(), *_gains(), *_tables()]
    return pd.DataFrame(rows, columns=["what", "section", "printed", "recomputed", "agrees", "how"]).set_index("what")


def _sizes():
    """Counts that follow from the models and the data."""
    import torch

    from nsdlib.core.networks import count_parameters
    from nsdlib.core.vdvae import VDVAE, Hyperparameters

    with torch.device("meta"):
        model = VDVAE(Hyperparameters())
    n_blocks = len(model.latent_shapes)
    for n_layers in (15, 31):
        how = f"widths of the first {n_layers} stochastic layers of the published ImageNet-64 model, added up"
        yield _count(f"latents of {n_layers} layers", model.n_latents(n_layers), how)
    yield _count(
        "parameters of the GRU", count_parameters("gru", 15_724, 13_344), "Table 1 built and counted, with 13,344"
    )
    for what in ("layers of the VDVAE's decoder", "layers of the VDVAE's decoder, again"):
        yield _count(what, n_blocks, "stochastic layers of the published model")
    share = 100 * 8_859 / (8_859 + 982)
    yield _percent(
        "training share %", share, "8,859 images of subject 1 alone and 982 shared ones in 37 sessions of NSD"
    )


def _scaling():
    """The z-score as the text has it."""
    said = "betas multiplied by their mean, divided by their standard deviation"
    yield (
        "z-score of the betas",
        "3.2",
        said,
        "the mean subtracted",
        False,
        "what is called a z-score has mean 0; a product with the mean has not",
    )
    yield (
        "statistics of the z-score",
        "3.2",
        "of the entire dataset",
        "of the training images (here)",
        False,
        "with the test images in them each prediction depends on the others: transductive (notebook 09 shows the price)",
    )


def _noise():
    """The losses under noise, from Table 6."""
    table = paper_table(6)
    for amplitude in NOISE:
        loss = 100 * (1 - table.loc[amplitude, "ssim"] / table.loc[0, "ssim"])
        yield _percent(f"SSIM lost at noise amplitude {amplitude}, %", loss, "Table 6 against its row without noise")
    loss = 100 * (1 - table.loc[256, "pixcorr"] / table.loc[0, "pixcorr"])
    yield _percent("PixCorr lost at noise amplitude 256, %", loss, "Table 6 against its row without noise")
    same = (table.loc[0] == paper_table(5).loc[("GRU", 15)]).all()
    own = paper_table(4).loc[("GRU", 15), "ssim"]
    found = "the mean of four subjects, number by number" if same else "not the mean of four subjects"
    yield (
        "row without noise",
        "Table 6",
        "subject 1",
        found,
        not same,
        f"Table 5, GRU with 15 layers; subject 1 alone has an SSIM of {own:.3f} (Table 4)",
    )
    best = table["clip"].drop(0).idxmax()
    worst = table["clip"].drop(0).idxmin()
    how = f"Table 6; of the rows with noise, {worst} has the lowest"
    yield ("noise at which CLIP is highest", "4.3", "256, the strongest", f"{best}", best == 256, how)


def _gains():
    """The gains over ridge, from Tables 4 and 5."""
    for score, what in (("ssim", "SSIM gained over ridge %"), ("clip", "CLIP gained over ridge %")):
        one, four = paper_table(4)[score], paper_table(5)[score]
        pairs = {
            "subject 1, 31 layers each": (one["GRU", 31], one["Ridge", 31]),
            "subject 1, 15 layers each": (one["GRU", 15], one["Ridge", 15]),
            "subject 1, 15 against ridge's 31": (one["GRU", 15], one["Ridge", 31]),
            "four subjects, 31 layers each": (four["GRU", 31], four["Ridge", 31]),
        }
        for pair, (ours, ridge) in pairs.items():
            said, section = stated().loc[what, ["value", "section"]]
            gain = 100 * (ours / ridge - 1)
            found = f"{gain:+.1f}"
            yield (f"{what}, {pair}", section, f"{said:g}", found, abs(gain - said) <= 0.5, "Tables 4 and 5")


def _tables():
    """Cells that cannot stand where they stand."""
    cells, source = paper_table(5).loc["Gu"].iloc[0], systems().loc["Gu"]
    swapped = cells.ssim == source.pixcorr and cells.pixcorr == source.ssim
    yield (
        "SSIM and PixCorr of Gu",
        "Table 5",
        f"{cells.ssim:.3f} and {cells.pixcorr:.3f}",
        f"{source.ssim:.3f} and {source.pixcorr:.3f}",
        not swapped,
        "Table 1 of Ozcelik & VanRullen (2023), where PixCorr is the first column",
    )


def _count(what, found, how):
    said, section = stated().loc[what, ["value", "section"]]
    return (what, section, f"{said:,.0f}", f"{found:,}", said == found, how)


def _percent(what, found, how):
    said, section = stated().loc[what, ["value", "section"]]
    return (what, section, f"{said:g}", f"{found:.1f}", abs(found - said) <= 0.5, how)
