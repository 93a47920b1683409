"""Generated pages: every table is where the template places it, and every number comes from the results."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import xarray as xr

from book._ext import pages, state
from nsdlib.core.scores.metrics import METRICS
from nsdlib.params import load_run
from nsdlib.sections import BetasFiles
from nsdlib.store.shipped import ship
from nsdlib.store.store import Store
from nsdlib.study.claims import CLAIMS, ready
from nsdlib.study.published import paper_table, systems


@pytest.fixture(scope="module")
def page(small_project, html):
    """The page as the book has it, and the run that it shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSDLIB_HOME", str(small_project))
        yield (small_project / "book" / "paper.md").read_text(), load_run("small")


def test_every_table_is_there(page):
    text, _ = page
    assert "{{" not in text and text.count("\n|:") == len(pages.TABLES) - 1  # two of them are lists, one is two tables
    for name in ("Brain-Diffuser", "MindEye2", "13,344", "does not say it", "best floor", "`small`, SSIM"):
        assert name in text


def test_our_scores_are_those_of_the_store(page):
    text, run = page
    with Store(run).load("scores") as scores:
        for name in METRICS:
            mean = float(scores.value.sel(system="refined", metric=name).mean())
            assert f"**{mean:.3f} [" in text


def test_printed_scores_are_those_of_the_files(page):
    text, _ = page
    line = next(line for line in text.splitlines() if "paper, subject 1: GRU, 31 layers" in line)
    assert re.findall(r"\d\.\d{3}", line) == [f"{value:.3f}" for value in paper_table(4).loc[("GRU", 31)]]
    line, more = (line for line in text.splitlines() if line.startswith("| MindEye2 "))
    printed = [f"{value:.3f}" for value in systems().loc["MindEye2", list(METRICS)]]
    assert re.findall(r"\d\.\d+", line + more) == [*printed, "0.9996", "0.9987"] and "| `mindeye2` " in more


def test_verdicts_of_a_simulated_subject_are_marked(page):
    text, _ = page
    verdicts = re.findall(r"\| (not decidable[^|]*|[^|]*, on the twin) *\|", text)
    assert len(verdicts) == len(CLAIMS)


def test_the_page_is_left_alone_when_nothing_changed(page, small_project):
    file = small_project / "book" / "paper.md"
    before = file.stat().st_mtime_ns
    pages.write(small_project)
    assert file.stat().st_mtime_ns == before


def test_a_laboratorys_subject_is_not_presented_as_nsds_and_comes_last():
    section = BetasFiles(kind="laion", images="pictures")
    labs = load_run("demo").model_copy(update={"subject": None, "simulation": None, "betas_files": section})
    scores = xr.Dataset(coords={"test_image": range(7)})
    shown = pages._who({"mine": SimpleNamespace(run=labs, load=lambda _: scores)})
    assert shown.startswith("- `mine`: subject, 7 test images")
    assert sorted([labs, load_run("demo"), load_run("subj01")], key=pages._rank)[-1] is labs


def test_a_template_without_a_table_is_refused():
    with pytest.raises(ValueError, match="must contain each of who, claims"):
        pages.fill("{{who}}", pages.TABLES, {})


def test_finished_networks_that_are_shipped_stand_beside_the_quick_ones_and_decide(small_project, tmp_path, monkeypatch):
    for name in ("params", "notebooks", "store", "book/data"):
        shutil.copytree(small_project / name, tmp_path / name)
    (tmp_path / "zoo").symlink_to(small_project / "zoo")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))

    def shown():
        stores = ready(load_run("small"))
        return "\n".join(pages.TABLES[name](stores) for name in ("who", "claims", "latents", "layers"))

    quick = shown()
    assert "cut off before they had finished" in quick and "shipped beside" not in quick

    (tmp_path / "params" / "longer.yaml").write_text("like: small\nmax_epochs: 3\n")
    small, longer = (load_run(name) for name in ("small", "longer"))
    for name in ("ablation", "controls"):
        with Store(small).load(name) as made:
            made = made.assign(finished=made.finished | True) if name == "ablation" else made
            Store(longer).save(name, made.load())
    ship(longer, machine="a machine")
    text = shown()
    assert "cut off before they had finished" not in text and "- shipped beside `small`: longer: networks" in text
    networks, controls = (len(re.findall(sign, text)) for sign in (r"`longer`, MSE", r"`longer`: gru, "))
    assert (networks, controls) == (1, 1)
    assert len(re.findall(r"\] longer ", text)) == sum(bool(claim.networks) for claim in CLAIMS)
    (gru,) = re.findall(r"^\| gru .*$", text, re.MULTILINE)
    assert gru.count("(cut off)") == 2  # both errors of the quick run


def test_the_state_of_every_run(tmp_path):
    versions = {"python": "3.11", "nsdlib": "0.1.0", "torch": "2.15.0", "numpy": "2.4"}
    done = {"state": "done", "seconds": 83.2, "memory": 3 * 2**29, "versions": versions, "cause": None}
    records = {
        ("demo", "00_a"): done | {"started": "2026-01-01T10:00:00+00:00"},
        ("demo", "01_b"): done | {"started": "2026-01-02T10:00:00+00:00", "memory": None},
        ("sim02", "01_b"): done | {"started": "2026-01-03T10:00:00+00:00", "state": "failed", "cause": "its kernel died"},
    }
    for (run, name), record in records.items():
        (tmp_path / "runs" / run).mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / run / f"{name}.json").write_text(json.dumps(record))
    lines = {line.split("|")[1].strip(): line for line in state.state_page(tmp_path).splitlines() if line.startswith("|")}
    cells = [cell.strip() for cell in lines["00_a"].split("|")[2:4]]
    assert cells == ["1:23, 1.5 GiB", "not run"]
    assert [cell.strip() for cell in lines["01_b"].split("|")[2:4]] == ["1:23", "**failed** after 1:23, 1.5 GiB"]
    (tmp_path / "runs" / "sim02" / "02_c.json").write_text("{")  # cut off by a full disk
    assert "- `sim02`, 01_b: its kernel died" in state.state_page(tmp_path)
    assert "2026-01-02" in lines["`demo`"] and "2.15.0" in lines["`demo`"]


def test_without_results_there_is_no_page(tmp_path, monkeypatch):
    import shutil

    from nsdlib.params import find_root

    for name in ("params", "notebooks"):
        shutil.copytree(find_root() / name, tmp_path / name)
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run `make demo` first"):
        pages.write(tmp_path)
