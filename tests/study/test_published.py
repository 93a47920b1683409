"""Published numbers: every score is in its column and in its valid range, and every file names its source."""

import pytest

from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.protocols import PROTOCOLS
from nsdlib.params import find_root
from nsdlib.study.published import RETRIEVAL, TABLES, latent_errors, paper_table, sources, stated, systems

RECIPES = {"veronese", "veronese_31", "gru_clip", "brain_diffuser", "takagi", "mindeye", "mindeye2", "mindreader", "gu"}


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
    of_one = table[table.source == "V4"][list(METRICS)]
    fourth = paper_table(4).loc[[("Ridge", 15), ("GRU", 15), ("GRU", 31), ("GRU, CLIP too", 15)]]
    assert (of_one.to_numpy() == fourth.to_numpy()).all()
    assert set(table.protocol) <= {*PROTOCOLS, "own"} and table.source.notna().all()
    assert table[list(METRICS)].stack().dropna().between(0, 1).all()


def test_the_two_cells_of_gu_that_the_paper_exchanges_are_in_their_places():
    """Brain-Diffuser's table, which the paper quotes, has PixCorr first."""
    gu, cells = systems().loc["Gu"], paper_table(5).loc["Gu"].iloc[0]
    assert (gu.pixcorr, gu.ssim) == (0.150, 0.325) == (cells.ssim, cells.pixcorr)
    assert (gu.effnet, gu.swav, gu.n_test) == (0.862, 0.465, 1000) and gu.isna().sum() == 6


def test_retrieval_is_of_the_two_systems_that_kept_it():
    table = systems()
    found = table.loc[table[list(RETRIEVAL)].notna().all(axis=1), [*RETRIEVAL, "subjects", "n_test", "protocol"]]
    assert found.to_dict("index") == {
        "MindEye": dict(zip(found, (0.971, 0.948, "1", 982, "mindeye1"), strict=True)),
        "MindEye2": dict(zip(found, (0.9996, 0.9987, "1", 1000, "mindeye2"), strict=True)),
    }
    assert table[list(RETRIEVAL)].notna().sum().sum() == 4


def test_every_recipe_with_printed_scores_is_named_and_no_other():
    table = systems()
    assert set(table.recipe) == RECIPES | {""} and table.notna().subjects.sum() == len(table) - 1  # Lin's are not verified
    assert not table.reset_index().duplicated(["system", "subjects"]).any()


def test_every_letter_of_a_source_is_spelled_out():
    letters = {letter for text in systems().source for letter in text.split(", ")}
    spelled = {letter for text in sources() for letter in text.partition(" =")[0].split(", ")}
    assert letters == spelled


@pytest.mark.parametrize("name", [*(f"table_{number}" for number in TABLES), "stated", "systems"])
def test_each_file_says_where_it_comes_from(name):
    first = (find_root() / "book" / "data" / f"{name}.csv").read_text().splitlines()[0]
    assert first.startswith("# ")


def test_statements_have_a_section():
    assert stated().section.notna().all() and stated().index.is_unique


def test_another_number_is_refused():
    with pytest.raises(ValueError, match="2 to 6, got 1"):
        paper_table(1)
