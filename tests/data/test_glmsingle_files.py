"""GLMsingle's result files: those that version 1.2 wrote under two versions of numpy, and the same in MATLAB's formats."""

import io
import os
import pickle
import shutil
import warnings

import h5py
import numpy as np
import pytest
from conftest import DATA
from scipy.io import savemat

from nsdlib.data.formats.glmsingle import GLMsingleResults
from nsdlib.data.formats.guards import DamagedFile
from nsdlib.data.formats.pickled import read_dictionary

STORED = DATA / "glmsingle"
TYPED, TYPEB, DESIGN = "TYPED_FITHRF_GLMDENOISE_RR", "TYPEB_FITHRF", "DESIGNINFO"
SHAPE, N_TRIALS = (4, 3, 2), 20
ALL = np.arange(24)


def unpickled(path):
    """What numpy itself makes of a file that is known to be harmless."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2 has renamed its modules
        return np.load(path, allow_pickle=True).item()


def assert_same(found, wanted):
    """Compare values with those that numpy unpickles, types too."""
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted


@pytest.mark.parametrize("path", sorted(STORED.rglob("*.npy")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_files_of_both_numpys_hold_what_numpy_reads(path):
    assert_same(read_dictionary(path), unpickled(path))


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_of_every_order_and_kind_are_read(tmp_path, protocol):
    wanted = {"a": np.arange(12.0).reshape(3, 4).T, "b": [np.float32(3), np.int64(-5), True, None, "ä" * 300, 2**70], "c": {}}
    wanted |= {"big endian": np.arange(5, dtype=">i2"), "empty": np.zeros((0, 3), np.float32), "many": list(range(3000))}
    stream = pickle.dumps(np.array(wanted, dtype=object), protocol=protocol)
    assert_same(read_dictionary(a_file(tmp_path, stream)), wanted)


class Evil:
    """An object whose unpickling makes a folder."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_a_malicious_pickle_is_refused_unexecuted(tmp_path, protocol):
    mark, path = tmp_path / "executed", tmp_path / f"{TYPED}.npy"
    np.save(path, np.array({}, dtype=object))
    head = path.read_bytes()[:128]
    bad = {"betasmd": np.zeros((2, 2)), "x": Evil(mark)}
    path.write_bytes(head + pickle.dumps(bad, protocol=protocol))
    with pytest.raises(DamagedFile, match=rf"{path.name} .*get it again"):
        read_dictionary(path)
    with pytest.raises(DamagedFile):
        GLMsingleResults(tmp_path)
    assert not mark.exists()
    pickle.loads(path.read_bytes()[128:])
    assert mark.is_dir()  # the trap snaps


def a_file(tmp_path, stream):
    """A `.npy` file of an object with a pickle of our own."""
    path = tmp_path / "x.npy"
    np.save(path, np.array({}, dtype=object))
    path.write_bytes(path.read_bytes()[:128] + stream)
    return path


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"cnumpy\nload\n.", r"asks for 'numpy\.load', which no array needs; nothing in it was run"),
        (b"cos\nsystem\n(S'x'\ntR.", r"asks for 'os\.system'"),
        (b"\x8e" + (2**40).to_bytes(8, "little") + b"x.", "promises 1099511627776 bytes more than it has"),
        (b"}", "cannot be read"),
        (b".", "IndexError"),
        (b"(lp0\nI5\na.", "asks for LIST, which arrays do not need"),
        (b"]q\x00h\x00a.", "holds no pickled dictionary with keys of type str"),
        (b"}q\x00K\x01K\x02s.", "with keys of type str"),
        (b"cnumpy\ndtype\nX\x02\x00\x00\x00V8\x85R.", "calls dtype with"),
        (b"cnumpy\nndarray\n(tR.", "calls ndarray with"),
        (b"\x82\x01.", "asks for EXT1"),
        (b"X\x01\x00\x00\x00aQ.", "asks for BINPERSID"),
    ],
)
def test_what_no_array_needs_is_refused(tmp_path, stream, message):
    with pytest.raises(DamagedFile, match=message):
        read_dictionary(a_file(tmp_path, stream))


def test_an_array_cannot_claim_more_than_its_bytes(tmp_path):
    for protocol in (3, 4):
        stream = pickle.dumps(np.array({"a": np.zeros(300, np.float32)}, dtype=object), protocol=protocol)
        assert stream.count(b"M,\x01\x85") == 1
        with pytest.raises(DamagedFile, match="cannot reshape"):
            read_dictionary(a_file(tmp_path, stream.replace(b"M,\x01\x85", b"M\xff\xff\x85")))


def test_other_arrays_and_what_is_cut_off_are_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(DamagedFile, match="holds no pickled dictionary"):
        read_dictionary(path)
    whole = (STORED / "numpy2" / f"{TYPED}.npy").read_bytes()
    for n_bytes in (0, 5, 100, 128, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(DamagedFile):
            read_dictionary(path)
    with pytest.raises(FileNotFoundError):
        read_dictionary(tmp_path / "y.npy")


def as_matlab(folder, source, *, version, percent=(0.0,)):
    """Write GLMsingle's results as its MATLAB program does, under MATLAB's names and with its numbers; `percent=()` is []."""
    folder.mkdir(exist_ok=True)
    results, design = (unpickled(source / f"{name}.npy") for name in (TYPED, DESIGN))
    arrays = {"modelmd": results["betasmd"], "R2": results["R2"], "HRFindex": results["HRFindex"] + 1.0}
    arrays |= {"meanvol": results["meanvol"], "noisepool": results["noisepool"].astype(np.uint8)}
    rows = {"stimorder": np.array(design["stimorder"]) + 1.0, "numtrialrun": np.array(design["numtrialrun"], float)}
    rows |= {"condcounts": np.array(design["condcounts"], float), "tr": np.array([1.5]), "stimdur": np.array([1.0])}
    if version == 5:
        savemat(folder / f"{TYPED}.mat", arrays, do_compression=True)
        savemat(folder / f"{DESIGN}.mat", rows | {"opt": {"wantpercentbold": np.array(percent)}})
        return
    for name, values in ((TYPED, arrays), (DESIGN, rows)):
        with h5py.File(folder / f"{name}.mat", "w", userblock_size=512) as file:
            for key, array in values.items():
                file[key] = np.atleast_2d(array).T
            empty = file.create_dataset("rrbadness", data=np.array([0, 0], np.uint64))
            empty.attrs["MATLAB_empty"] = np.uint8(1)
            if name == DESIGN:
                file["opt/wantpercentbold"] = np.array([percent]) if percent else np.array([0, 0], np.uint64)
                file["opt/wantpercentbold"].attrs["MATLAB_empty"] = np.uint8(not percent)
        with (folder / f"{name}.mat").open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))


@pytest.fixture(params=["numpy1", "numpy2", "hdf5", "mat 7.3", "mat 5"])
def results(request, tmp_path):
    """The results of one call in every container, and what numpy reads of them."""
    name = request.param
    if name.startswith("mat"):
        as_matlab(tmp_path / "results", STORED / "numpy2", version=5 if name == "mat 5" else 7.3)
        return GLMsingleResults(tmp_path / "results"), unpickled(STORED / "numpy2" / f"{TYPED}.npy")
    return GLMsingleResults(STORED / name), unpickled(STORED / ("numpy2" if name == "hdf5" else name) / f"{TYPED}.npy")


def test_betas_of_every_container_have_pythons_axes(results):
    found, wanted = results
    assert (found.kind, found.shape, found.n_trials) == ("D", SHAPE, N_TRIALS)
    assert "type D, shape (4, 3, 2), 20 trials" in repr(found)
    index = np.array([5, 0, 23, 11, 12])
    betas = found.betas(index)
    assert betas.dtype == np.float32
    np.testing.assert_allclose(betas, wanted["betasmd"].reshape(-1, N_TRIALS)[index].T, rtol=1e-5)
    assert found.betas(index[:0]).shape == (N_TRIALS, 0)
    np.testing.assert_array_equal(found.map("HRFindex"), wanted["HRFindex"])
    np.testing.assert_allclose(found.map("meanvol"), wanted["meanvol"])
    assert found.map("rrbadness") is None or found.map("rrbadness").shape == (*SHAPE, 3)
    assert found.map("FitHRFR2") is None  # type B has it


def test_the_design_of_every_container_counts_from_0(results):
    found, _ = results
    wanted = unpickled(STORED / "numpy1" / f"{DESIGN}.npy")  # GLMsingle was given the same design
    shown = np.concatenate([np.argmax(run[run.any(axis=1)], axis=1) for run in wanted["design"]])
    np.testing.assert_array_equal(found.design["condition"], shown)
    assert found.design["run"].tolist() == [1] * 10 + [2] * 10
    assert (found.design["tr"], found.design["duration"]) == (1.5, 1.0)
    assert found.design["unit"] == ("scanner units" if found.ending == "mat" else "percent signal change")


@pytest.mark.parametrize("version", [5, 7.3])
def test_an_empty_option_of_matlab_is_glmsingles_default(tmp_path, version):
    as_matlab(tmp_path / "results", STORED / "numpy2", version=version, percent=())
    assert GLMsingleResults(tmp_path / "results").design["unit"] == "percent signal change"


def test_a_batch_smaller_than_the_volume_changes_nothing(monkeypatch):
    found = GLMsingleResults(STORED / "hdf5")
    whole = found.betas(ALL)
    monkeypatch.setattr("nsdlib.data.formats.glmsingle.BATCH", 1)
    np.testing.assert_array_equal(found.betas(ALL[::-1]), whole[:, ::-1])


def test_the_best_type_that_is_there_is_taken(tmp_path):
    shutil.copytree(STORED / "numpy1", tmp_path / "results")
    (tmp_path / "results" / f"{TYPED}.npy").unlink()
    found = GLMsingleResults(tmp_path / "results")
    assert (found.kind, found.path.name) == ("B", f"{TYPEB}.npy") and found.map("FitHRFR2").shape == (*SHAPE, 20)
    (tmp_path / "results" / f"{TYPEB}.npy").unlink()  # type A alone: no single trials
    with pytest.raises(FileNotFoundError, match=r"holds none of TYPED_FITHRF_GLMDENOISE_RR\.npy, .*wanted the outputdir"):
        GLMsingleResults(tmp_path / "results")


def test_a_design_that_does_not_fit_is_refused(tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(STORED / "numpy1", folder)
    design = unpickled(folder / f"{DESIGN}.npy")
    for changes, message in (
        ({"stimorder": [number + 1 for number in design["stimorder"]]}, "numbers its conditions differently than GLMsingle"),
        ({"stimorder": design["stimorder"][:-1]}, r"describes 19 trials, and TYPED.* has betas of 20"),
        ({"numtrialrun": [10, 9]}, "describes 20 trials"),
    ):
        np.save(folder / f"{DESIGN}.npy", np.array(design | changes, dtype=object))
        with pytest.raises(DamagedFile, match=message):
            _ = GLMsingleResults(folder).design
    np.save(folder / f"{DESIGN}.npy", np.array({"tr": 1.0}, dtype=object))
    with pytest.raises(DamagedFile, match="lacks stimorder, numtrialrun, stimdur"):
        _ = GLMsingleResults(folder).design
    (folder / f"{DESIGN}.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no DESIGNINFO\.npy or \.mat, which says what each trial showed"):
        _ = GLMsingleResults(folder).design


def test_hdf5_that_is_damaged_or_leads_elsewhere_is_refused(tmp_path):
    path = tmp_path / f"{TYPED}.hdf5"
    for fill, message in (
        (lambda file: file.__setitem__("betasmd", h5py.ExternalLink("/etc/passwd", "x")), "no dataset 'betasmd' of its own"),
        (lambda file: file.__setitem__("betasmd", np.zeros((3, 4))), r"has betas of shape \(3, 4\), wanted X, Y, Z and trials"),
        (lambda file: file.__setitem__("other", np.zeros(3)), "no dataset 'betasmd'"),
    ):
        with h5py.File(path, "w") as file:
            fill(file)
        with pytest.raises(DamagedFile, match=message):
            GLMsingleResults(tmp_path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DamagedFile, match="cannot be read"):
        GLMsingleResults(tmp_path)


def test_nothing_is_unpickled_by_the_reader(monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "Unpickler", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    assert "betasmd" in read_dictionary(STORED / "numpy1" / f"{TYPED}.npy")
    with pytest.raises(AssertionError, match="unpickled"):
        np.load(io.BytesIO((STORED / "numpy2" / f"{TYPED}.npy").read_bytes()), allow_pickle=True)
