"""Pages that do not agree are detected: parameters that differ from the file's, or results that differ from another page's."""

import json
import shutil

from book._ext.agreement import disagreements, variants
from nsdlib.params import load_run
from nsdlib.run import publish
from nsdlib.store.store import Store
from nsdlib.store.variants import differing, name_of

RECONSTRUCTION, NOISE, FIGURES = "05_two_stage_reconstruction", "06_noise_sensitivity", "07_qualitative_figures"
BETAS = "02_roi_betas"


def made(project, name, run="demo", **parameters):
    """An executed page as the runner leaves it, without its cells."""
    used = load_run(run, **parameters)
    note = publish.note(used, project / "notebooks" / f"{name}.ipynb", differing(used))
    file = project / "runs" / run / f"{name_of(name, differing(used))}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"metadata": {"nsdlib": note}, "cells": []}))
    return file


def edit(file, old, new):
    """Change one place of a text file."""
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_pages_of_the_run_as_it_is_agree(project):
    assert disagreements([made(project, name) for name in (BETAS, RECONSTRUCTION, NOISE, FIGURES)]) == []


def test_pages_made_before_the_parameter_file_was_edited_are_found(project):
    early = [made(project, name) for name in (RECONSTRUCTION, NOISE)]
    edit(project / "params" / "demo.yaml", "decoder: ridge", "decoder: gru")
    assert disagreements([*early, made(project, FIGURES)]) == [
        f"decoder was 'ridge', is 'gru' (pages made before: {RECONSTRUCTION}, {NOISE})"
    ]


def test_pages_made_from_other_results_are_found(project):
    """A notebook is edited, one page is made anew, and the next are still those of the earlier results."""
    early = [made(project, name) for name in (BETAS, NOISE, FIGURES)]
    edit(project / "notebooks" / f"{RECONSTRUCTION}.ipynb", "stages.draw(latents", "stages.draw(1 * latents")
    (problem, *more) = disagreements([*early, made(project, RECONSTRUCTION)])
    assert "demo/reconstruction is " in problem and f"in {NOISE}, {FIGURES}, but " in problem and RECONSTRUCTION in problem
    assert all(name in line for name, line in zip(("demo/scores",), more, strict=True))


def test_pages_older_than_the_results_that_the_tables_show_are_found(project):
    pages = [made(project, name) for name in (RECONSTRUCTION, FIGURES)]
    edit(project / "notebooks" / f"{RECONSTRUCTION}.ipynb", "stages.draw(latents", "stages.draw(1 * latents")
    assert disagreements(pages) == []  # nothing has been made by the present code
    folder = Store(load_run("demo")).path("scores")
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    (problem,) = disagreements(pages)
    assert "demo/scores is " in problem and f"but {folder.name[-12:]} in the store for the present code" in problem


def test_a_variant_may_differ_in_what_its_parameters_bring_about_and_in_nothing_else(project):
    pages = [made(project, name) for name in (BETAS, RECONSTRUCTION, NOISE)]
    variant = made(project, RECONSTRUCTION, decoder="gru")
    assert disagreements([*pages, variant]) == [] and variants(pages[1]) == {variant: {"decoder": "gru"}}
    edit(project / "params" / "demo.yaml", "n_sessions: 4 ", "n_sessions: 5 ")
    later = [made(project, name) for name in (BETAS, RECONSTRUCTION, NOISE)]
    assert disagreements(later) == []
    assert disagreements([*later, variant]) == [f"n_sessions was 4, is 5 (pages made before: {variant.stem})"]


def test_half_run_variants_and_other_notebooks_are_no_variants(project):
    page, variant = made(project, RECONSTRUCTION), made(project, RECONSTRUCTION, strength=0.9)
    shutil.copy(variant, variant.with_suffix(".partial.ipynb"))
    shutil.copy(page, page.with_name(f"{RECONSTRUCTION}__mine.ipynb"))  # of a notebook of that name
    assert list(variants(page)) == [variant]


def test_a_page_that_says_nothing_and_a_run_without_a_file_are_found(project):
    page = made(project, RECONSTRUCTION)
    (project / "params" / "demo.yaml").unlink()
    assert "There is no run 'demo'" in disagreements([page])[0]
    page.write_text(json.dumps({"metadata": {}, "cells": []}))
    assert disagreements([page]) == [f"{RECONSTRUCTION}: no record of parameters and results"]
