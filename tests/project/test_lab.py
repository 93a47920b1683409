"""JupyterLab as started by `make lab`, in a browser without a network, on the small run."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from conftest import ROOT, needs_browser

from nsdlib.params import load_run
from nsdlib.run.engine import HOUSE, SPIN, kernel_environment
from nsdlib.run.runner import notebook_names
from nsdlib.store.store import Store

START = (ROOT / "notebooks" / "README.md").read_text()
SETTINGS = ROOT / "profiles" / "lab"
RUN = "05_two_stage_reconstruction"
CHANGES = {
    RUN: {'run = "demo"': 'run = "small"', "strength = None": "strength = 0.25"},
    "explore": {'run = "demo"': 'run = "small"'},
}
PICTURES = "cell => [...cell.querySelectorAll('img')].map(image => image.src).join()"


def questions():
    """Title and question of each notebook, from its first cell."""
    for name in notebook_names(ROOT):
        lines = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells[0].source.splitlines()
        yield name, lines[0].removeprefix("# "), lines[2]


def test_the_start_page_names_the_notebooks_in_order_each_with_its_question():
    rows = re.findall(r"^\| \[(\d\d) (.+?)\]\((\w+)\.ipynb\) \| (.+?) \| .*\d+ s.* \|$", START, re.MULTILINE)
    assert [(name, title, question) for _, title, name, question in rows] == list(questions())
    assert [number for number, *_ in rows] == [name[:2] for name in notebook_names(ROOT)]


def test_the_kernel_is_named_after_the_library_and_as_quiet_as_in_unattended_runs():
    kernel = json.loads((SETTINGS / "kernels" / "python3" / "kernel.json").read_text())
    assert kernel["display_name"] == "nsdlib" and kernel["env"] == HOUSE
    assert kernel["argv"][0] == "python"  # Jupyter puts its own interpreter there


def test_threads_wait_as_the_user_says_and_else_not_for_long(monkeypatch):
    ((name, limit),) = SPIN.items()
    (setting,) = re.findall(rf"{name}=\$\$(\S+)", (ROOT / "Makefile").read_text())
    for own, wanted in ((None, limit), ("7", "7")):
        monkeypatch.delenv(name, raising=False)
        if own:
            monkeypatch.setenv(name, own)
        assert kernel_environment(ROOT)[name] == wanted
        assert subprocess.run(["sh", "-c", f"echo ${setting}"], capture_output=True, text=True).stdout.strip() == wanted


@pytest.fixture(scope="module")
def folder(small_project, tmp_path_factory):
    """A project with the small run's data and results; the first cells of its notebook 05 and of the explorers are changed."""
    place = tmp_path_factory.mktemp("lab")
    for name in ("params", "data", "zoo", "profiles", "book"):
        (place / name).symlink_to(small_project / name)
    shutil.copytree(small_project / "store", place / "store")
    shutil.copytree(ROOT / "notebooks", place / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name, changes in CHANGES.items():
        path = place / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        for old, new in changes.items():
            assert old in parameters.source
            parameters.source = parameters.source.replace(old, new)
        nbformat.write(notebook, path)
    return place


@pytest.fixture(scope="module")
def lab(folder):
    """Address and token of a JupyterLab, started by the line of the Makefile, in a home without settings of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    more = f"--no-browser --allow-root --ServerApp.port={port} --ServerApp.port_retries=0 --IdentityProvider.token={token}"
    said = subprocess.run(["make", "--dry-run", "lab", f"LAB={more}"], cwd=ROOT, capture_output=True, text=True, check=True)
    [line] = [line for line in said.stdout.splitlines() if "jupyter lab" in line]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "JPY"))}
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = kept | {"HOME": str(folder), "PATH": programs, "PYTHONPATH": str(ROOT)}
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            line.replace(str(ROOT), str(folder)), shell=True, cwd=folder, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://localhost:{port}"
        until(lambda: answers(f"{address}/api/status?token={token}") == 200, what=folder / "lab.log")
        yield SimpleNamespace(address=address, token=token)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def answers(url):
    """The status with which a server answers, or None when nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def until(true, *, what, seconds=120):
    """Wait until something is true; else fail with the text of a log."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what.read_text()[-3000:]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def page(browser, lab):
    """A tab at the address that `make lab` opens; all that goes wrong in it is noted in `page.troubles`."""
    tab, troubles = browser.new_page(viewport={"width": 1300, "height": 900}), []
    ours = (lab.address, lab.address.replace("http", "ws", 1), "data:", "blob:")

    def only_here(route):
        if route.request.url.startswith(ours):
            route.continue_()
        else:
            troubles.append(f"asked for {route.request.url}")
            route.abort()

    tab.route("**/*", only_here)
    tab.on("console", lambda message: message.type == "error" and troubles.append(message.text))
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.troubles = troubles
    tab.set_default_timeout(60_000)
    tab.goto(f"{lab.address}/?token={lab.token}")
    yield tab
    tab.close()


@pytest.mark.slow
@needs_browser
def test_without_the_token_nothing_is_shown(lab):
    assert answers(f"{lab.address}/api/contents") == 403
    assert answers(f"{lab.address}/api/contents?token={lab.token}") == 200


@pytest.mark.slow
@needs_browser
def test_the_lab_opens_at_its_start_page_and_asks_nobody_else(page):
    page.locator(".jp-MarkdownViewer h1").wait_for()
    links = page.locator(".jp-MarkdownViewer table a").all_inner_texts()
    assert [link[:2] for link in links] == [name[:2] for name in notebook_names(ROOT)]
    assert page.locator('.jp-MarkdownViewer a[href*="explore.ipynb"]').count() >= 1
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0  # no question before one can begin
    assert page.troubles == []


def run_all(tab):
    """Run the open notebook from top to bottom; its view comes back."""
    tab.get_by_text("nsdlib | Idle").wait_for()
    tab.get_by_role("menuitem", name="Run", exact=True).click()
    tab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    view = tab.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    failed = view.locator('[data-mime-type="application/vnd.jupyter.error"]')
    done = view.locator(".jp-CodeCell").last.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[\d+\]"))
    done.or_(failed).first.wait_for(state="attached", timeout=900_000)
    assert failed.all_text_contents() == []
    return view


@pytest.fixture(scope="module")
def notebook(page):
    """Notebook 05, opened from the start page and run from top to bottom."""
    page.locator(f'.jp-MarkdownViewer a[href*="{RUN}"]').click()
    return run_all(page)


@pytest.mark.slow
@needs_browser
def test_notebook_05_runs_from_top_to_bottom(page, notebook):
    prompts = notebook.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents()
    assert prompts == [f"[{k}]:" for k in range(1, len(prompts) + 1)]
    assert notebook.locator(".jp-RenderedImage img").count() >= 2
    assert page.troubles == []


@pytest.mark.slow
@needs_browser
def test_what_was_changed_in_the_first_cell_lies_beside_what_was(folder, notebook, monkeypatch):
    assert notebook.locator("tr", has_text="strength").first.locator("td").all_text_contents() == ["strength", "0.25"]
    monkeypatch.setenv("NSDLIB_HOME", str(folder))
    usual, changed = (Store(load_run("small", strength=strength)) for strength in (None, 0.25))
    for name in ("reconstruction", "scores"):
        assert usual.has(name) and changed.has(name) and usual.path(name) != changed.path(name)
    with usual.load("reconstruction") as before, changed.load("reconstruction") as now:
        assert (before.rough == now.rough).all() and (before.refined != now.refined).any()


@pytest.mark.slow
@needs_browser
def test_the_slider_of_a_wipe_moves_the_picture(notebook):
    wipe = notebook.locator(".nsd-compare").first
    wipe.scroll_into_view_if_needed()
    before = wipe.locator(".nsd-cards").screenshot()
    slider = wipe.locator("input[type=range]")
    slider.press("End")
    assert slider.input_value() == "2" and wipe.locator(".nsd-cards").screenshot() != before


@pytest.fixture(scope="module")
def explorers(page):
    """The cell of each explorer of explore.ipynb, opened from the start page, by the explorer's name, all drawn."""
    page.locator(".lm-TabBar-tab", has_text="README.md").click()
    page.locator('.jp-MarkdownViewer a[href*="explore.ipynb"]').first.click()
    page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) h1", has_text="Explore").wait_for()
    view, cells = run_all(page), {}
    for name in ("systems_explorer", "hrf_explorer", "roi_explorer", "reconstruction_explorer", "what_if"):
        cells[name] = view.locator(".jp-CodeCell", has_text=f"{name}(run)")
        cells[name].locator('img[src^="data:image/png"]').first.wait_for(state="attached")
    return SimpleNamespace(tab=page, **cells)


def changes(tab, cell, act):
    """Act, and wait until a cell shows other pictures; those that it showed before come back."""
    before = cell.evaluate(PICTURES)
    act()
    tab.wait_for_function(f"([cell, before]) => ({PICTURES})(cell) !== before", arg=[cell.element_handle(), before])
    assert cell.get_by_text("Not drawn").count() == 0 and tab.troubles == []
    return before


@pytest.mark.slow
@needs_browser
def test_thumbnails_choose_by_click_and_key_and_reset_brings_the_first_back(explorers):
    tab, cell = explorers.tab, explorers.systems_explorer
    buttons = cell.locator(".widget-radio-box label")
    names = buttons.all_text_contents()
    first = changes(tab, cell, buttons.nth(3).click)
    assert cell.locator("p", has_text=names[3].replace(": ", ": “")).count() == 1  # the caption of the one that is shown
    changes(tab, cell, lambda: tab.keyboard.press("ArrowRight"))
    assert cell.locator("label:has(:checked)").all_text_contents() == [names[4]]
    changes(tab, cell, cell.get_by_role("button", name="Reset").click)
    assert cell.locator("label:has(:checked)").all_text_contents() == [names[0]] and cell.evaluate(PICTURES) == first


@pytest.mark.slow
@needs_browser
def test_a_click_on_the_brain_chooses_that_voxel(explorers):
    tab, cell = explorers.tab, explorers.hrf_explorer
    voxels = cell.locator(".widget-radio-box label:not(:has(:checked))")
    name = voxels.nth(5).text_content()
    changes(tab, cell, voxels.nth(5).click)
    assert cell.locator("p", has_text=name.replace("voxel", "Voxel")).count() == 1
    slider = cell.locator(".widget-slider", has_text="slice z").locator(".noUi-handle")
    changes(tab, cell, lambda: slider.press("Home"))
    assert name not in cell.locator(".widget-radio-box label").all_text_contents()  # it lies on another slice


@pytest.mark.slow
@needs_browser
def test_a_figure_is_saved_where_the_explorer_says(folder, explorers):
    cell = explorers.roi_explorer
    cell.get_by_role("button", name="Save as PNG").click()
    said = cell.get_by_role("status").text_content()
    assert (folder / said.removeprefix("Saved as ")).read_bytes()[:4] == b"\x89PNG" and explorers.tab.troubles == []


@pytest.mark.slow
@needs_browser
def test_sliders_compute_other_pictures(explorers):
    for name, label in (("reconstruction_explorer", "decoded layers"), ("what_if", "gain")):
        cell = getattr(explorers, name)
        handle = cell.locator(".widget-slider", has_text=label).locator(".noUi-handle")
        changes(explorers.tab, cell, lambda handle=handle: handle.press("Home"))
