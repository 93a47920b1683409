"""No code from outside is executed, and no name leads out of its folder."""

import ast
import json
import os
import pickle
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from conftest import ROOT

from nsdlib.cli import main
from nsdlib.core import vdvae
from nsdlib.core.scores import features
from nsdlib.core.weights import read_folder, read_tensors
from nsdlib.data.nsd.files import DamagedFile, read_beta_columns, read_captions
from nsdlib.data.nsd.layout import Layout
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.params import load_run, run_names
from nsdlib.store.artifact import machine_id
from nsdlib.store.store import Store
from nsdlib.store.zoo import path as weights_path

CODE = sorted([*(ROOT / "nsdlib").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")])
NEEDED = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}
FORBIDDEN_MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "eval", "exec", "__import__", "os.system", "os.popen", "torch.hub.load", "pandas.read_pickle", "pandas.read_hdf",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip
FORBIDDEN_OPTIONS = {("shell", True), ("allow_pickle", True), ("trust_remote_code", True), ("weights_only", False)}
OUTSIDE = ["../../etc/passwd", "/etc/passwd", "demo/../../x", "..", ".", "", "a\0b", "demo\n", "a b", "x; id", "$(id)", "-x"]


def source(path):
    """The Python of a module, or of all code cells of a notebook."""
    if path.suffix == ".py":
        return path.read_text()
    return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")


def imported_names(tree):
    """What the names that a file imports stand for, such as np for numpy."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def full_name(node, names):
    """A called function's name with its module, or nothing for what is no plain name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([names.get(node.id, node.id), *reversed(parts)]) if isinstance(node, ast.Name) else ""


def dangers(text):
    """What in a file could run something from outside."""
    tree = ast.parse(text)
    names = imported_names(tree)
    found = [name for name in names.values() if name.partition(".")[0] in FORBIDDEN_MODULES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\.(pkl|pickle)$", node.value):
            found.append(node.value)
        if not isinstance(node, ast.Call):
            continue
        name = full_name(node.func, names)
        options = {option.arg: getattr(option.value, "value", None) for option in node.keywords}
        wanted, value = NEEDED.get(name, (None, None))
        found += [name] * (name in FORBIDDEN_CALLS or (wanted is not None and options.get(wanted) is not value))
        found += [name for option in options.items() if option in FORBIDDEN_OPTIONS]
    return found


def test_no_code_runs_what_comes_from_outside():
    assert {path: found for path in CODE if (found := dangers(source(path)))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load(x)", "from torch import load\nload(x)", "import torch\ntorch.load(x, weights_only=False)",
        "import torch as t\nt.load(x, weights_only=safe)", "import numpy as np\nnp.load(x, mmap_mode='r')",
        "import numpy as np\nnp.load(x, allow_pickle=True)", "import pickle", "from joblib import load", "def f():\n import dill",
        "import yaml\nyaml.load(x, yaml.Loader)", "eval(x)", "exec(x)", "import os\nos.system(x)",
        "from os import system\nsystem(x)",
        "import subprocess\nsubprocess.run(x, shell=True)", "import pandas as pd\npd.read_pickle(x)", "path = 'stim_info.pkl'",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
    ],
)  # fmt: skip
def test_what_is_dangerous_is_found(text):
    assert dangers(text)


def test_what_only_looks_dangerous_is_left_alone():
    text = "import torch, yaml\nmodel.eval()\nnet.compile()\ntorch.load(x, weights_only=True)\nyaml.safe_load(x)\njson.load(x)"
    assert dangers(text) == []


class Malicious:
    """An object whose unpickling makes a folder."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def trap(tmp_path):
    """The mark of a pickle that was run, and a function that writes one to a file, as torch does or plainly."""
    mark = tmp_path / "executed"

    def write(path, how):
        path.parent.mkdir(parents=True, exist_ok=True)
        bad = {"a": torch.zeros(1), "b": Malicious(mark)}
        if how == "plain":
            path.write_bytes(pickle.dumps(bad))
        elif how == "array":
            with path.open("wb") as file:
                np.save(file, np.array([Malicious(mark)] * 5, dtype=object), allow_pickle=True)
        else:
            torch.save(bad, path, _use_new_zipfile_serialization=how == "zip")
        return path

    return mark, write


def test_the_trap_snaps(trap):
    mark, write = trap
    pickle.loads(write(mark.with_name("bad"), "plain").read_bytes())
    assert mark.is_dir()


@pytest.mark.parametrize("how", ["zip", "legacy", "plain"])
@pytest.mark.parametrize("ending", ["th", "safetensors"])
def test_a_malicious_weight_file_is_refused_unexecuted(trap, how, ending):
    mark, write = trap
    path = write(mark.with_name(f"model.{ending}"), how)
    with pytest.raises(ValueError, match=rf"{path} cannot be read as weights .*nothing in it was run; get it again"):
        read_tensors(path)
    assert not mark.exists()


def test_no_model_executes_its_file(trap):
    mark, write = trap
    with torch.device("meta"), pytest.raises((ValueError, pickle.UnpicklingError)):
        vdvae.load(write(mark.with_name("model.th"), "zip"))
    with torch.device("meta"), pytest.raises((ValueError, pickle.UnpicklingError)):
        features.published("effnet", write(mark.with_name("model.pth"), "legacy"), "cpu")
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        read_folder(write(mark.with_name("unet") / "diffusion_pytorch_model.bin", "zip").parent)
    assert not mark.exists()


@pytest.mark.parametrize("how", ["array", "plain", "zip"])
def test_malicious_captions_are_refused_unexecuted(trap, how):
    mark, write = trap
    path = write(mark.with_name("captions.npy"), how)
    with pytest.raises(DamagedFile, match=rf"{path} .* get it again"):
        read_captions(path, [0])
    assert not mark.exists()


def test_the_pickled_twin_of_the_table_of_images_is_never_read(trap):
    mark, write = trap
    subject = NSDSubject(mark.parent, 1)
    write(subject.paths.stim_info.with_suffix(".pkl"), "plain")
    with pytest.raises(FileNotFoundError, match=r"nsd_stim_info_merged\.csv"):
        subject.stim_info()
    assert not mark.exists()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder of its own with the shipped parameter files, and a run that lies outside its `params`."""
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / "project" / name)
    shutil.copy(ROOT / "params" / "small.yaml", tmp_path / "outside.yaml")
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path / "project"))
    return tmp_path / "project"


@pytest.mark.parametrize("name", [*OUTSIDE, "../../outside", 5, None])
def test_a_run_is_a_plain_word(project, name):
    with pytest.raises(ValueError, match=r"run .*: wanted a name of letters, digits, '_' and '-', such as 'subj01'"):
        load_run(name)


@pytest.mark.parametrize("command", ["simulate", "doctor", "rehearse", "run", "export"])
def test_the_command_line_refuses_other_names(project, command, capsys):
    assert main([command, "../../outside", *["out"] * (command == "export")]) == 2
    assert "run '../../outside': wanted a name of letters" in capsys.readouterr().err


def test_a_parameter_file_with_another_name_is_no_run(project):
    shutil.copy(project / "params" / "small.yaml", project / "params" / "x; id.yaml")
    assert "small" in run_names(project) and "x; id" not in run_names(project)


def test_members_of_a_group_are_runs(project):
    with pytest.raises(ValueError, match=r"run '\.\./\.\./outside': wanted a name"):
        Store(load_run("small", group=("small", "../../outside"))).path("group")


@pytest.mark.parametrize("field", ["data", "weights", "store"])
def test_folders_hold_no_nul(project, field):
    with pytest.raises(ValueError, match=rf"{field}: a path must not contain a NUL byte, got 'a\\x00b'"):
        load_run("small", **{field: "a\0b"})


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_from_parameters_stay_in_their_folders(project, name):
    subject, layout = NSDSubject(project / "data", 1), Layout(project / "data", 1)
    with pytest.raises(ValueError, match=r"betas_version: Input should be 'betas_assumehrf', "):
        load_run("small", betas_version=name)
    for read in (subject.ncsnr, lambda version: subject.missing_files(version=version)):
        with pytest.raises(ValueError, match=r"version .* is unknown\. Known: betas_assumehrf"):
            read(name)
    for place in (subject.roi, layout.roi, layout.roi_names):
        with pytest.raises(ValueError, match=r"roi .* is unknown\. Known: nsdgeneral"):
            place(name)
    with pytest.raises(ValueError, match=r"map .*: wanted the name of a file without folder and ending, such as 'mean'"):
        subject.volume(name)
    with pytest.raises(ValueError, match=r"is no artifact.* Artifacts: glm, betas"):
        Store(load_run("small")).path(name)
    with pytest.raises(ValueError, match=r"no model .* in the demo zoo; it has vdvae"):
        weights_path(load_run("small"), name)


def test_saving_follows_no_link_out_of_the_store(project):
    import xarray as xr

    store, elsewhere = Store(load_run("small")), project / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    store.run.store.mkdir(parents=True)
    folder = store.path("glm").name
    partial = f".partial-{machine_id()}-{os.getpid()}-{folder}"
    for name in (partial, f".scratch-small-{folder}"):
        (store.run.store / name).symlink_to(elsewhere)
    with pytest.raises(FileExistsError):
        store.save("glm", xr.Dataset({"a": ("i", np.arange(3))}))
    (store.run.store / partial).unlink()
    store.save("glm", xr.Dataset({"a": ("i", np.arange(3))})).close()
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]


def test_a_file_of_betas_sends_the_reader_nowhere_else(tmp_path):
    mask, values = np.ones((2, 2, 2), bool), np.ones((750, 2, 2, 2), np.int16)
    with h5py.File(tmp_path / "true.hdf5", "w") as file:
        file["betas"] = values
    assert (read_beta_columns(tmp_path / "true.hdf5", mask) == 1).all()
    (tmp_path / "secret").write_bytes(values.tobytes())
    link, secret = h5py.ExternalLink(tmp_path / "true.hdf5", "betas"), [(tmp_path / "secret", 0, values.nbytes)]
    whole = h5py.VirtualLayout(values.shape, np.int16)
    whole[:] = h5py.VirtualSource(tmp_path / "true.hdf5", "betas", values.shape)
    for fill, message in (
        (lambda file: file.__setitem__("betas", link), "no dataset 'betas' of its own"),
        (lambda file: file.create_virtual_dataset("betas", whole), "keeps betas in other files"),
        (lambda file: file.create_dataset("betas", values.shape, np.int16, external=secret), "keeps betas in other files"),
    ):
        with h5py.File(tmp_path / "bad.hdf5", "w") as file:
            fill(file)
        with pytest.raises(DamagedFile, match=message):
            read_beta_columns(tmp_path / "bad.hdf5", mask)


SHOW_SETTINGS = """
import json, os, sys
from jupyterlab.labapp import LabApp
server = LabApp.initialize_server(sys.argv[1:])
names = ("ip", "allow_root", "allow_remote_access", "allow_origin", "allow_origin_pat", "disable_check_xsrf", "password")
found = {name: getattr(server, name) for name in names}
found |= {"token": server.identity_provider.token, "asks": server.identity_provider.auth_enabled}
print(json.dumps(found), flush=True)
os._exit(0)
"""


def lab_settings(tmp_path):
    """The settings with which the Makefile's JupyterLab would listen, in a home without settings of its own."""
    [line] = [line for line in (ROOT / "Makefile").read_text().splitlines() if "jupyter lab" in line]
    arguments = line.partition("jupyter lab")[2].replace("$(LAB)", "").split()
    [default] = re.findall(r"^LAB \?=(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert default.strip() == ""
    (tmp_path / "notebooks").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "JPY"))}
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW_SETTINGS, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=kept | folders | {"JUPYTER_PREFER_ENV_PATH": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def test_the_lab_listens_to_this_machine_alone_and_wants_a_token(tmp_path):
    found = lab_settings(tmp_path)
    assert found["ip"] in ("localhost", "127.0.0.1") and len(found["token"]) >= 32 and found["asks"]
    assert not any(found[name] for name in ("allow_root", "allow_remote_access", "disable_check_xsrf"))
    assert (found["allow_origin"], found["allow_origin_pat"]) == ("", "")
