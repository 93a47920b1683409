"""The published numbers: every score in its column, within what the score can be, and every file with its source."""

import pytest

from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.protocols import PROTOCOLS
from nsdlib.params import find_root
from nsdlib.study.published import TABLES, latent_errors, paper_table, stated, systems


@pytest.mark.parametrize(("number", "n_rows"), [(4, 5), (5, 6), (6, 6)])
def test_tables_hold_shares(number, n_rows):
    table = paper_table(number)
    assert list(table) == list(METRICS)
    assert len(table) == n_rows and table.stack().dropna().between(0, 1).all()
    assert (table.dropna()[["alexnet2", "alexnet5", "inception", "clip"]] > 0.75).all(axis=None)


def test_the_gru_has_the_smallest_error_of_latents():
    table = latent_errors()
    assert table.notna().sum().sum() == 13
    assert (table.idxmin() == "gru").all()
    assert table.loc["ridge", ("test", "mse")] == 0.0690
    assert paper_table(2).loc["gru", "test_mse"] == paper_table(3).loc["gru", "test_mse"]


def test_systems_agree_with_the_paper_where_both_have_them():
    table = systems()
    own = table[(table.source == "V5") & table.ssim.notna()][list(METRICS)]
    assert (own.to_numpy() == paper_table(5).loc["GRU"].to_numpy()).all()
    one = table[(table.source == "BD2") & (table.index == "Brain-Diffuser")][list(METRICS)]
    assert (one.to_numpy()[0] == paper_table(4).loc[("Ridge", 31)].to_numpy()).all()
    assert set(table.protocol) <= {*PROTOCOLS, "own"} and table.source.notna().all()
    assert table[list(METRICS)].stack().dropna().between(0, 1).all()


@pytest.mark.parametrize("name", [*(f"table_{number}" for number in TABLES), "stated", "systems"])
def test_each_file_says_where_it_comes_from(name):
    first = (find_root() / "book" / "data" / f"{name}.csv").read_text().splitlines()[0]
    assert first.startswith("# ")


def test_statements_have_a_section():
    assert stated().section.notna().all() and stated().index.is_unique


def test_another_number_is_refused():
    with pytest.raises(ValueError, match="2 to 6, got 1"):
        paper_table(1)
