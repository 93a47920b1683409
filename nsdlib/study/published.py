"""Published numbers to compare with those measured here: the paper's tables and statements, and other systems' scores.

The numbers are in `book/data/`, one file per table, with the source in its header. They come from the published networks and real
brains: only their order is comparable with numbers from the demo zoo.
"""

import pandas as pd

from nsdlib.params import find_root

TABLES = {2: ["decoder"], 3: ["decoder"], 4: ["system", "layers"], 5: ["system", "layers"], 6: ["noise"]}  # index columns

RETRIEVAL = {"image_retrieval": "image retrieval of 300 ↑", "brain_retrieval": "brain retrieval of 300 ↑"}  # columns, labels


def paper_table(number):
    """Load a table of Veronese et al. (2025), with every cell as printed and NaN for empty cells (pandas.DataFrame).

    Parameters
    ----------
    number : {2, 3, 4, 5, 6}
        Errors by decoder (2, 3); scores, in the columns of `METRICS`, by system and layers (4, 5) or by noise amplitude (6).
    """
    if number not in TABLES:
        raise ValueError(f"the paper's tables of results are 2 to 6, got {number!r}.")
    return _read(f"table_{number}").set_index(TABLES[number])


def latent_errors():
    """Load Tables 2 and 3 of the paper as one: errors of the latents, decoder by (split, measure) (pandas.DataFrame)."""
    networks, ridge = paper_table(2), paper_table(3).loc[["ridge"]]
    table = pd.concat([networks.loc[["gru", "cnn", "transformer"]], ridge])
    table.columns = pd.MultiIndex.from_tuples([name.split("_") for name in table], names=["split", "measure"])
    return table.rename_axis("paper")


def stated():
    """Load the numbers stated in the paper's text: columns value and section, indexed by a description (pandas.DataFrame)."""
    return _read("stated").set_index("what")


def systems():
    """Load the published systems that decode images from NSD, indexed by name (pandas.DataFrame).

    Columns are recipe (its name here, "" if there is none), year, subjects, n_test, protocol, the eight scores and those of
    `RETRIEVAL` (fractions; NaN where none was printed) and source. The file explains them.
    """
    return _read("systems", dtype={"subjects": str, "n_test": "Int64"}).fillna({"recipe": ""}).set_index("system")


def sources():
    """Load the meaning of the letters in `systems().source` from the header of the file (list of str)."""
    lines = (find_root() / "book" / "data" / "systems.csv").read_text().splitlines()
    head = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    return head.partition("Sources: ")[2].split("; ")


def _read(name, **options):
    """Read a table of `book/data/`."""
    return pd.read_csv(find_root() / "book" / "data" / f"{name}.csv", comment="#", **options)
