"""What others printed, to stand beside what is measured here: the paper's tables and statements, and other systems' scores.

The numbers lie in `book/data/`, one file a table, each with its source on top. They come from the published networks and real
brains: numbers of the demo zoo are not comparable with them, only their order.
"""

from nsdlib.params import find_root

TABLES = {2: ["decoder"], 3: ["decoder"], 4: ["system", "layers"], 5: ["system", "layers"], 6: ["noise"]}  # their index


def paper_table(number):
    """A table of Veronese et al. (2025), every cell as printed.

    Parameters
    ----------
    number : {2, 3, 4, 5, 6}

    Returns
    -------
    pandas.DataFrame
        Errors by decoder (2, 3); scores, in the columns of `nsdlib.core.scores.metrics.METRICS`, by system and layers (4, 5) or
        by amplitude of the noise (6). NaN where nothing is printed.

    Raises
    ------
    ValueError
        For another number.
    """
    if number not in TABLES:
        raise ValueError(f"the paper's tables of results are 2 to 6, got {number!r}.")
    return _read(f"table_{number}").set_index(TABLES[number])


def latent_errors():
    """Tables 2 and 3 of the paper in one: errors of the latents, decoders by (split, measure); NaN where nothing is printed.

    Returns
    -------
    pandas.DataFrame
    """
    import pandas as pd

    networks, ridge = paper_table(2), paper_table(3).loc[["ridge"]]
    table = pd.concat([networks.loc[["gru", "cnn", "transformer"]], ridge])
    table.columns = pd.MultiIndex.from_tuples([name.split("_") for name in table], names=["split", "measure"])
    return table.rename_axis("paper")


def stated():
    """Numbers that stand in the paper's text: columns value and section, by what they are (pandas.DataFrame)."""
    return _read("stated").set_index("what")


def systems():
    """Published systems that decode images from NSD, by name.

    Returns
    -------
    pandas.DataFrame
        year, subjects, n_test, protocol, the eight scores (NaN where none was printed) and source, as the file explains.
    """
    return _read("systems", dtype={"subjects": str, "n_test": "Int64"}).set_index("system")


def sources():
    """What the letters in `systems().source` stand for: a list of str, from the head of the file."""
    lines = (find_root() / "book" / "data" / "systems.csv").read_text().splitlines()
    head = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    return head.partition("Sources: ")[2].split("; ")


def _read(name, **options):
    import pandas as pd

    return pd.read_csv(find_root() / "book" / "data" / f"{name}.csv", comment="#", **options)
