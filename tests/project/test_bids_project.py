"""From events and preprocessed BOLD of a BIDS data set to refined images, by running the cells of the notebooks."""

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from conftest import ROOT

from nsdlib.data.subject import open_subject
from nsdlib.params import load_run
from nsdlib.store.store import Store
from nsdlib.twin.simulate import simulate

NOTEBOOKS = ("01_hrf_glmsingle", "02_roi_betas", "03_decoder_ablation", "05_two_stage_reconstruction")


@pytest.mark.slow
def test_a_bids_subject_is_run_to_refined_images(project, house_style, capsys):
    for name in ("zoo", "book"):
        (project / name).symlink_to(ROOT / name)
    file = project / "params" / "bids.yaml"
    file.write_text(file.read_text().replace("n_test: 20", "n_test: 6"))
    run = load_run("bids")
    simulate(run, progress=False)
    for name in NOTEBOOKS:
        cells(project / "notebooks" / f"{name}.ipynb")
    assert "(n_images, n_rows, n_columns, n_colours) = (6, " in capsys.readouterr().out
    subject = open_subject(run)
    with Store(run).load("reconstruction") as found:
        refined = found.refined.values  # (n_test, rows, columns, 3)
        images = found.test_image.values
    assert refined.dtype == np.uint8 and refined.shape[0] == len(np.unique(images)) == run.n_test == 6
    assert np.isin(images, subject.image_ids[subject.is_test]).all()
    assert (refined.std(axis=(1, 2, 3)) > 5).all() and (refined.std(axis=0).mean() > 5)  # none is blank, and they differ
    with Store(run).load("scores") as scores:
        assert np.isfinite(scores.value.sel(system="refined")).all()


def cells(notebook):
    """Run the code cells of a notebook in this process, on the BIDS subject; nothing is shown."""
    names = {"display": lambda *shown: None}
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            plt.close("all")
        if "parameters" in cell.metadata.get("tags", ()):
            names["run"] = "bids"
