"""The paper's own numbers, to stand beside ours: Veronese et al. (2025), Tables 2 to 6, as printed.

They come from the published networks and real brains. Numbers of the demo zoo are not comparable with them, only their order.
"""

# Errors of 15 layers' latents, subject 1 (Tables 2 and 3): decoder -> validation MSE and MAE, test MSE and MAE. Of ridge
# (Brain-Diffuser) the text gives the MSE of the test set, and says that its MAE is lower than the GRU's.
LATENT_ERRORS = {
    "gru": (0.0685, 0.1390, 0.0681, 0.1388),
    "cnn": (0.0687, 0.1392, 0.0683, 0.1389),
    "transformer": (0.0690, 0.1392, 0.0685, 0.1389),
    "ridge": (None, None, 0.0690, None),
}

COLUMNS = ("ssim", "pixcorr", "alexnet2", "alexnet5", "inception", "clip", "effnet", "swav")

# Subject 1, refined images: (architecture, number of VDVAE layers) -> scores. "Ridge" is Brain-Diffuser (Ozcelik 2023).
TABLE_4 = {
    ("Ridge", 15): (0.358, 0.286, 0.935, 0.962, 0.881, 0.925, 0.772, 0.413),
    ("Ridge", 31): (0.367, 0.305, 0.967, 0.974, 0.878, 0.925, 0.768, 0.415),
    ("GRU, CLIP too", 15): (0.357, 0.230, 0.870, 0.922, 0.860, 0.916, 0.778, 0.437),
    ("GRU", 15): (0.370, 0.242, 0.904, 0.942, 0.868, 0.924, 0.779, 0.421),
    ("GRU", 31): (0.374, 0.207, 0.880, 0.929, 0.890, 0.958, 0.768, 0.416),
}

# Means of subjects 1, 2, 5, 7. The paper's rows of older systems stand in wrong columns and are left out.
TABLE_5 = {
    ("Ridge", 31): (0.356, 0.254, 0.942, 0.962, 0.872, 0.915, 0.775, 0.423),
    ("GRU", 15): (0.361, 0.202, 0.878, 0.931, 0.862, 0.914, 0.786, 0.434),
    ("GRU", 31): (0.360, 0.177, 0.864, 0.923, 0.869, 0.922, 0.785, 0.434),
}

# Noise on the rough image, said to be subject 1; the row without noise is Table 5's mean of four subjects.
TABLE_6 = {
    0: (0.361, 0.202, 0.878, 0.931, 0.862, 0.914, 0.786, 0.434),
    8: (0.311, 0.197, 0.907, 0.948, 0.879, 0.946, 0.767, 0.400),
    16: (0.287, 0.191, 0.903, 0.946, 0.870, 0.946, 0.773, 0.401),
    32: (0.256, 0.180, 0.894, 0.944, 0.866, 0.949, 0.759, 0.409),
    64: (0.207, 0.167, 0.864, 0.950, 0.877, 0.954, 0.755, 0.410),
    256: (0.140, 0.090, 0.783, 0.924, 0.907, 0.939, 0.766, 0.435),
}

# How many percent SSIM loses with each amplitude, as the text says (section 4.3); PixCorr with 256: 55.
STATED_LOSSES = {8: 14, 16: 20, 32: 30, 64: 42, 256: 65}

TABLES = {4: TABLE_4, 5: TABLE_5, 6: TABLE_6}


def latent_errors():
    """Tables 2 and 3 of the paper: errors of the latents, decoders by (split, measure); NaN where nothing is printed.

    Returns
    -------
    pandas.DataFrame
    """
    import pandas as pd

    columns = pd.MultiIndex.from_product([["validation", "test"], ["mse", "mae"]], names=["split", "measure"])
    table = pd.DataFrame.from_dict(LATENT_ERRORS, orient="index", columns=columns).astype(float)
    return table.rename_axis("paper")


def paper_table(number):
    """A table of the paper, scores in the columns of `nsdlib.metrics.METRICS`.

    Parameters
    ----------
    number : {4, 5, 6}

    Returns
    -------
    pandas.DataFrame
        Indexed by architecture and layers, or by noise amplitude (Table 6).

    Raises
    ------
    ValueError
        For another number.
    """
    import pandas as pd

    if number not in TABLES:
        raise ValueError(f"the tables of scores are 4, 5 and 6, got {number!r}.")
    table = pd.DataFrame.from_dict(TABLES[number], orient="index", columns=list(COLUMNS))
    if number == 6:
        return table.rename_axis("noise")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["paper", "layers"])
    return table
