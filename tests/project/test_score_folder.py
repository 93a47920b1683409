"""Scoring of a folder of reconstructions: every file format gives the Scorer's numbers, and doubtful cases give a note."""

import json
import pickle
import re
import shutil
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from nsdlib import cli
from nsdlib.arguments import ALLOWED
from nsdlib.core.images import resize
from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.protocols import PROTOCOLS
from nsdlib.data.formats.images import read
from nsdlib.data.formats.pairs import pair
from nsdlib.params import load_run
from nsdlib.plots.scored import page
from nsdlib.run.scored import STAND_INS, score_folder
from nsdlib.store import zoo
from nsdlib.twin.scenes import draw, sample_scene

N, FEW, SIDE = 12, 5, 48


@pytest.fixture(scope="module")
def seen():
    """Drawn scenes, (12, 48, 48, 3) uint8."""
    rng = np.random.default_rng(3)
    return np.stack([draw(sample_scene(rng), SIDE) for _ in range(N)])


@pytest.fixture(scope="module")
def made(seen):
    """The same with noise, (12, 48, 48, 3) uint8."""
    noise = np.random.default_rng(4).normal(0, 50, seen.shape)
    return (seen + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def run():
    return load_run("demo", device="cpu").model_copy(update={"n_bootstrap": 100})


def folder(path, images, name="{:03d}.png", **settings):
    """Write images as a folder of pictures."""
    path.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(path / name.format(number), **settings)
    return path


def written(path, values, inside=None):
    """Write an array into a file of the kind that the path's ending says."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, **{inside: values, "other": np.zeros(3)})
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset(inside, data=values, compression="gzip")
            file["other"] = np.zeros(3)
    else:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        torch.save({inside: tensor, "other": tensor[:1]} if inside else tensor, path)
    return f"{path}:{inside}" if inside else path


def first(images):
    return images.transpose(0, 3, 1, 2)


UNIT = np.float32(255)
SAVED = {  # name of the file, array inside, and what is saved of uint8 images
    "npy": ("x.npy", None, lambda x: x),
    "channels first": ("x.npy", None, first),
    "long integers": ("x.npy", None, lambda x: x.astype(np.int64)),
    "big-endian floats": ("x.npy", None, lambda x: x.astype(">f8")),
    "16 bits": ("x.npy", None, lambda x: x.astype(np.uint16) * 257),
    "opaque": ("x.npy", None, lambda x: np.concatenate([x, np.full_like(x[..., :1], 255)], axis=-1)),
    "npz": ("x.npz", "images", lambda x: x / UNIT),
    "hdf5": ("x.h5", "group/images", lambda x: first(x) / UNIT),
    "pt": ("x.pt", None, lambda x: first(x) / UNIT),
    "pt, a dictionary": ("x.pt", "images", lambda x: first(x) / UNIT * 2 - 1),
    "pt, rounded beyond 1": ("x.pt", None, lambda x: first(x) / UNIT * 1.0000002),
}


@pytest.mark.parametrize("kind", SAVED)
def test_an_array_is_read_as_what_was_saved(tmp_path, seen, kind):
    name, inside, change = SAVED[kind]
    assert np.array_equal(read(written(tmp_path / name, change(seen), inside)).pixels, seen)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_are_those_of_the_scorer(tmp_path, run, seen, made, protocol):
    seen, made = seen[:FEW], made[:FEW]
    truth = folder(tmp_path / "seen", seen)
    scorer = zoo.load_scorer(run, protocol=protocol)
    direct, other = scorer.score(seen, made), scorer.score(seen, np.roll(seen, 1, axis=0))
    mean = np.repeat(seen.mean(axis=0, keepdims=True).round().astype(np.uint8), FEW, axis=0)
    if protocol in ("native", "mindeye1"):
        place = folder(tmp_path / "made", made, "recon_{}.png")
    else:
        place = written(tmp_path / "made.pt", first(made) / UNIT)
    scored = score_folder(place, truth, run=run, protocols=[protocol])
    for name, wanted in (("reconstructions", direct), ("another image", other), ("mean image", scorer.score(seen, mean))):
        np.testing.assert_allclose(scored.values[protocol].sel(system=name), wanted, rtol=0, atol=1e-12)
    assert scored.names == [f"{k:03d}" for k in range(FEW)]
    assert scored.about["zoo"] == "demo" and STAND_INS.format("six") in scored.notes
    n_test = PROTOCOLS[protocol].n_test
    assert n_test is None or f"{protocol}: published tables use {n_test} images, this set has {FEW}." in scored.notes


def test_equal_folders_score_best(tmp_path, run, seen):
    truth = folder(tmp_path / "seen", seen)
    same = score_folder(truth, truth, run=run, protocols=["native"])
    own = same.values["native"].sel(system="reconstructions").mean("test_image").to_series()
    for name, metric in METRICS.items():
        assert own[name] == pytest.approx(float(metric.higher_is_better), abs=1e-6)


def test_strangers_score_by_chance(tmp_path, run, seen):
    """Each image in the place of each other one: two-way scores are (n - 2) / (2 (n - 1)), and no floor is surely passed."""
    for shift in range(1, N):
        folder(tmp_path / str(shift), np.roll(seen, shift, axis=0), f"{{}}_{100 + shift}.png")
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for path in tmp_path.rglob("*.png"):
        path.rename(strangers / path.name)
    scored = score_folder(strangers, folder(tmp_path / "seen", seen), run=run, protocols=["native"])
    means, gains = scored.means["native"]["mean"].sel(system="reconstructions"), scored.gains["native"]
    for name, metric in METRICS.items():
        assert metric.chance is None or float(means.sel(metric=name)) == pytest.approx((N - 2) / (2 * (N - 1)), abs=1e-9)
    assert len(scored.made) == N - 1 and (gains["low"] <= 0).all()


def test_differences_are_from_the_better_floor(tmp_path, run, seen, made):
    scored = score_folder(folder(tmp_path / "made", made), folder(tmp_path / "seen", seen), run=run, protocols=["native"])
    means, gains = scored.means["native"]["mean"], scored.gains["native"].droplevel(0)
    for name, metric in METRICS.items():
        own, *bounds = (float(means.sel(metric=name, system=s)) for s in ("reconstructions", "mean image", "another image"))
        wanted = own - max(bounds) if metric.higher_is_better else min(bounds) - own
        assert gains.loc[metric.label, "mean"] == pytest.approx(wanted, abs=1e-12)


def test_samples_of_an_image_are_averaged_score_by_score(tmp_path, run, seen, made):
    truth = folder(tmp_path / "seen", seen, "nsd{:05d}.png")
    other = np.roll(made, 1, axis=2)
    for sample, images in enumerate((made, other)):
        for number, image in enumerate(images):
            (tmp_path / "made").mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / "made" / f"subj01_{number}_sample{sample + 7}.png")
    scored = score_folder(tmp_path / "made", truth, run=run, protocols=["native"])
    scorer = zoo.load_scorer(run)
    wanted = (scorer.score(seen, made) + scorer.score(seen, other)) / 2
    np.testing.assert_allclose(scored.values["native"].sel(system="reconstructions"), wanted, atol=1e-12)
    assert "Each image has 2 samples: its scores are their mean, and none is selected." in scored.notes
    assert np.array_equal(scored.made, [made, other])


def test_names_pair_before_numbers_and_numbers_are_not_words(tmp_path, seen):
    names = ["cat_2", "cat_10", "dog_2"]
    for side, images in (("seen", seen[:3]), ("made", seen[3:6])):
        (tmp_path / side).mkdir()
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image).save(tmp_path / side / f"{name}.{'png' if side == 'seen' else 'bmp'}")
    paired, truth, made, notes = pair(read(tmp_path / "seen"), read(tmp_path / "made"))
    assert paired == names and notes == []
    assert np.array_equal(truth, seen[:3]) and np.array_equal(made, seen[None, 3:6])


def test_zeros_in_front_of_a_number_do_not_count(tmp_path, seen, made):
    """Where both folders number alike, but one with zeros, 10 and 11 have the same name in both, and 1 has not."""
    truth, place = folder(tmp_path / "seen", seen, "{:02d}.png"), folder(tmp_path / "made", made, "{}.png")
    _, true, paired, _ = pair(read(truth), read(place))
    assert np.array_equal(true, seen) and np.array_equal(paired[0], made)


def test_rows_are_paired_with_pictures_in_the_order_of_numbers(tmp_path, seen, made):
    truth = folder(tmp_path / "seen", seen, "{}.png")  # 10 and 11 before 2 in the folder
    names, true, paired, notes = pair(read(truth), read(written(tmp_path / "made.npy", made)))
    assert np.array_equal(true, seen) and np.array_equal(paired[0], made) and names == [str(k) for k in range(N)]
    assert notes == [f"Rows of the array are paired with {truth} in the order of its numbers, 0 to 11."]
    names, true, paired, notes = pair(read(written(tmp_path / "seen.npy", seen)), read(tmp_path / "made.npy"))
    assert np.array_equal(true, seen) and np.array_equal(paired[0], made) and names[-1] == "row 11" and notes == []


def png_of_16_bits(path, colour):
    """Write a picture of one colour of 16 bits, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + struct.pack(">3H", *colour) * 16) * 16
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_pictures_of_every_kind_become_8_bit_colour(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    clear = np.dstack([grey] * 3 + [np.zeros_like(grey)])
    for name, values in {"0": grey, "1": grey.astype(np.uint16) * 257, "2": clear}.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    png_of_16_bits(tmp_path / "3.png", (0x12FF, 0x8000, 0xFFFF))
    pixels = read(tmp_path).pixels
    assert np.array_equal(pixels[0], np.dstack([grey] * 3)) and np.array_equal(pixels[1], pixels[0])
    assert (pixels[2] == 127).all() and (pixels[3] == (0x12, 0x80, 0xFF)).all()
    half = np.full((2, 16, 16, 4), 255, np.uint8)
    half[..., 3] = 51  # a fifth
    assert (read(written(tmp_path / "half.npy", half)).pixels == round(255 / 5 + 127 * 4 / 5)).all()
    assert (read(written(tmp_path / "grey.npy", half[..., 3])).pixels == 51).all()


def test_of_what_is_not_square_the_middle_is_taken_and_sides_are_made_alike(tmp_path, seen):
    wide = np.pad(seen[0], [(0, 0), (8, 8), (0, 0)])
    folder(tmp_path / "x", [wide, resize(seen[1:2], 96)[0]])
    images = read(tmp_path / "x")
    assert np.array_equal(images.pixels[0], seen[0])
    assert np.array_equal(images.pixels[1:], resize(resize(seen[1:2], 96), SIDE))
    assert images.notes == [
        f"1 of 2 images of {tmp_path / 'x'} are not square: they were cropped to their centre.",
        f"Images of {tmp_path / 'x'} have 48 to 96 pixels a side: all were resized to 48.",
    ]


BAD = {
    "a little below 0": (np.linspace(-0.1, 1, 600), "holds float64 from -0.1 to 1, which is none of the known ranges"),
    "a little above 1": (np.linspace(0, 1.3, 600), "holds float64 from 0 to 1.3"),
    "beyond 255": (np.linspace(0, 300, 600), "holds float64 from 0 to 300"),
    "12 bits": (np.arange(600, dtype=np.uint16), "holds uint16 from 0 to 599"),
    "a mask": (np.arange(600) % 2, "holds int64 from 0 to 1"),
    "truth values": (np.arange(600) % 2 > 0, "holds bool from 0 to 1"),
    "NaN": (np.full(600, np.nan), "values that are not finite numbers, in rows 0, 1"),
    "complex": (np.full(600, 1j), "must be an array of real numbers, got complex128"),
}


@pytest.mark.parametrize("kind", BAD)
def test_numbers_that_can_be_read_in_two_ways_are_refused(tmp_path, kind):
    values, message = BAD[kind]
    with pytest.raises(ValueError, match=f"x.npy.*{re.escape(message)}"):
        read(written(tmp_path / "x.npy", values.reshape(2, 10, 10, 3)))


@pytest.mark.parametrize("shape", [(20, 20), (3, 20, 20), (20, 20, 3), (4, 3, 20, 3), (4, 2, 20, 20), (2, 4, 20, 20, 3)])
def test_layouts_that_leave_it_open_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=re.escape(f"x.npy holds an array {shape}: wanted (n_images, rows, columns)")):
        read(written(tmp_path / "x.npy", np.zeros(shape, np.uint8)))


def test_what_cannot_be_read_is_named(tmp_path, seen):
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        read(tmp_path / "nowhere")
    (tmp_path / "x.txt").write_text("no")
    with pytest.raises(ValueError, match=r"x.txt is no folder of pictures, nor a file of arrays"):
        read(tmp_path / "x.txt")
    (tmp_path / "empty" / "below").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"empty holds no pictures .*; folders in it: below"):
        read(tmp_path / "empty")
    bad = folder(tmp_path / "bad", seen)
    (bad / "004.png").write_bytes(b"no picture")
    (bad / "007.png").write_bytes((bad / "007.png").read_bytes()[:200])
    (bad / "009.png").write_bytes(b"")
    Image.fromarray(np.zeros((20, 20), np.float32)).save(bad / "012.tif")
    with pytest.raises(ValueError, match=r"4 of 13 pictures cannot be read: .*004.png.*007.png.*009.png.*012.tif.*holds floats"):
        read(bad)
    twice = folder(tmp_path / "twice", seen[:2])
    Image.fromarray(seen[0]).save(twice / "000.jpg")
    with pytest.raises(ValueError, match=r"000.jpg and .*000.png have the same name: keep one of them"):
        read(twice)
    for ending in (".npy", ".npz", ".h5", ".pt"):
        (tmp_path / f"x{ending}").write_bytes(b"no array")
        with pytest.raises(ValueError, match=rf"x{ending} cannot be read \(\w+: .*\); nothing in it was run"):
            read(tmp_path / f"x{ending}")
    np.save(tmp_path / "cut.npy", seen)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut.npy cannot be read"):
        read(tmp_path / "cut.npy")


@pytest.mark.parametrize("ending", [".npz", ".h5", ".pt"])
def test_one_of_several_arrays_must_be_named(tmp_path, seen, ending):
    place = written(tmp_path / f"x{ending}", seen, "images")
    assert len(read(place).pixels) == N
    with pytest.raises(ValueError, match=rf"x{ending} holds the arrays .*images.*: say which as .*x{ending}:name"):
        read(tmp_path / f"x{ending}")
    with pytest.raises(ValueError, match=rf"say which as .*x{ending}:name, got image"):
        read(f"{tmp_path / f'x{ending}'}:image")


def test_a_file_of_hdf5_sends_nobody_elsewhere(tmp_path, seen):
    written(tmp_path / "private.h5", seen, "images")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = h5py.ExternalLink("private.h5", "images")
        file.create_virtual_dataset("virtual", h5py.VirtualLayout(seen.shape, np.uint8))
    for name in ("images", "virtual"):
        with pytest.raises(ValueError, match=r"x\.h5"):
            read(f"{tmp_path / 'x.h5'}:{name}")


class Trap:
    """What makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("ending", [".pt", ".npy", ".npz"])
def test_nothing_in_a_file_is_run(tmp_path, ending):
    sprung, path = tmp_path / "sprung", tmp_path / f"x{ending}"
    trap = np.array([Trap(sprung)], dtype=object)
    {".pt": torch.save, ".npy": lambda x, p: np.save(p, x), ".npz": lambda x, p: np.savez(p, x=x)}[ending](
        Trap(sprung) if ending == ".pt" else trap, path
    )
    with pytest.raises(ValueError, match=rf"x{ending} cannot be read .*; nothing in it was run") as refused:
        read(path)
    assert "weights_only" not in str(refused.value)
    assert ending != ".pt" or "pickled objects, which could run code: save the arrays alone" in str(refused.value)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()  # it would have been


UNPAIRED = {  # names of true images, of reconstructions, and what is said
    "one is missing": (["1", "2", "3"], ["1", "3"], "1 of 3 images of .*seen have no partner in .*made: 2"),
    "one is too many": (["1", "2"], ["1", "2", "9"], "1 of 3 images of .*made have no partner in .*seen: 9"),
    "a number is missing": (["a1", "a2", "a3"], ["b1", "b3"], "1 of 3 images of .*seen have no partner in .*made: a2"),
    "no numbers": (["cat", "dog"], ["cat_made", "dog_made"], "names in .*seen are not those of their partners, .*: cat, dog"),
    "a name without its number": (["a1", "a2"], ["b1", "b"], "names in .*made are not those of their partners, .*: b"),
    "a number twice": (
        ["cat_1", "dog_1"],
        ["made_1", "made_2"],
        "Images of .*seen have the same name or number, .*: cat_1, dog_1",
    ),
    "zeros in front": (["01", "1", "2"], ["1", "2"], "Images of .*seen have the same name or number, .*: 01, 1"),
    "two numbers": (["1_1", "1_2", "2_1"], ["a1", "a2", "a3"], "no one number tells 1_1, 1_2, 2_1 apart"),
    "image or sample": (["a0", "a1"], ["b0_0", "b0_1", "b1_0", "b1_1"], "Several numbers .* can be the image's, such as in b0_0"),
    "fewer samples": (["a0", "a5"], ["b0_1", "b0_2", "b5_1"], "has 2 samples of some images and fewer of 1: b5_1"),
    "one sample twice": (["a0", "a5"], ["b0", "c0", "b5"], "b0 and c0 of .*made have the same numbers: keep one"),
    "one image": (["a0"], ["b0"], "seen holds one image, a0, and scores compare it with others: wanted two or more"),
}


@pytest.mark.parametrize("kind", UNPAIRED)
def test_pairs_that_are_in_doubt_are_refused_by_name(tmp_path, seen, kind):
    *sides, message = UNPAIRED[kind]
    for side, names in zip(("seen", "made"), sides, strict=True):
        (tmp_path / side).mkdir()
        for name, image in zip(names, seen, strict=False):
            Image.fromarray(image).save(tmp_path / side / f"{name}.png")
    with pytest.raises(ValueError, match=message):
        pair(read(tmp_path / "seen"), read(tmp_path / "made"))


def test_arrays_of_another_length_are_refused(tmp_path, seen):
    truth, made = written(tmp_path / "seen.npy", seen), written(tmp_path / "made.npy", seen[:-1])
    with pytest.raises(ValueError, match=r"1 of 12 images of .*seen.npy have no partner in .*made.npy: row 11\."):
        pair(read(truth), read(made))


def test_equal_true_images_are_named(tmp_path, run, seen):
    seen = seen.copy()
    seen[4] = seen[2]
    place = folder(tmp_path / "seen", seen)
    notes = score_folder(place, place, run=run, protocols=["native"]).notes
    assert "True images are equal, and two-way scores count a tie as a failure: 002 and 004." in notes


def everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_command_prints_and_writes_what_was_asked_for_and_nothing_else(tmp_path, monkeypatch, capsys, seen, made):
    seen, made = seen[:FEW], made[:FEW]
    truth, place = folder(tmp_path / "seen", seen), folder(tmp_path / "made", made)
    (tmp_path / "out").mkdir()
    before, project = (
        everything(tmp_path),
        sorted(ROOT.glob("[!.]*")) + sorted(ROOT.glob("store/*")) + sorted(ROOT.glob("runs/*")),
    )
    monkeypatch.setenv("NSDLIB_HOME", str(ROOT))
    monkeypatch.chdir(tmp_path / "out")
    asked = ["score", str(place), "--truth", str(truth), "--device", "cpu"]
    assert cli.main(asked) == 0
    printed = capsys.readouterr().out
    assert everything(tmp_path) == before
    assert cli.main([*asked, "--protocol", "all", "--json", "x.json", "--page", "x.html"]) == 0
    after = everything(tmp_path)
    assert {path.name for path in after if path not in before} == {"x.json", "x.html"} and before.items() <= after.items()
    now = sorted(ROOT.glob("[!.]*")) + sorted(ROOT.glob("store/*")) + sorted(ROOT.glob("runs/*"))
    assert now == project

    found = json.loads((tmp_path / "out" / "x.json").read_text())
    assert list(found["scores"]) == list(PROTOCOLS) and found["n_images"] == FEW and found["zoo"] == "demo"
    run = load_run("demo", device="cpu")
    direct = zoo.load_scorer(run).score(seen, made)
    for name, metric in METRICS.items():
        own = found["scores"]["native"][name]["reconstructions"]
        assert own["mean"] == pytest.approx(float(direct.sel(metric=name).mean()), abs=1e-12)
        assert own["low"] <= own["mean"] + 1e-12 and own["mean"] <= own["high"] + 1e-12
        assert found["images"]["003"]["native"][name] == pytest.approx(float(direct.sel(metric=name)[3]), abs=1e-12)
        cell = f"{own['mean']:.3f} [{own['low']:.3f}, {own['high']:.3f}]"
        (row,) = re.findall(rf"^\| {re.escape(metric.label)} .*", printed, re.MULTILINE)
        assert cell in row
    text = (tmp_path / "out" / "x.html").read_text()
    assert cell in text and text.count("<table") == len(PROTOCOLS) and text.count("<img") == 2 * FEW
    assert STAND_INS.split(":")[0] in text and STAND_INS.format("six") in printed
    assert not re.search(r"(?:src|href)=\"(?!data:)|https?://|@import|url\(", text)  # asks for nothing


def test_the_page_fits_a_phone_and_follows_dark_mode(tmp_path, browser, run, seen, made):
    scored = score_folder(folder(tmp_path / "made", made[:3]), folder(tmp_path / "seen", seen[:3]), run=run, protocols=["native"])
    (tmp_path / "x.html").write_text(page(scored))
    tab = browser.new_page(viewport={"width": 360, "height": 700}, color_scheme="dark")
    tab.goto((tmp_path / "x.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == 360  # wide tables scroll by themselves
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--json", "x.txt"], "argument --json: wanted a file name that ends in .json, in an existing folder, got 'x.txt'"),
        (["--page", "no/x.html"], "argument --page: wanted a file name that ends in .html"),
        (["--protocol", "mine"], "argument --protocol: invalid choice: 'mine'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_read(capsys, more, message):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["score", "made", "--truth", "seen", *more])
    assert message in capsys.readouterr().err


def test_missing_weights_and_folders_are_a_sentence(tmp_path, monkeypatch, capsys, seen):
    monkeypatch.setenv("NSDLIB_HOME", str(ROOT))
    place = str(folder(tmp_path / "seen", seen))
    assert cli.main(["score", place, "--truth", place, "--zoo", "paper", "--weights", str(tmp_path)]) == 2
    assert f"are not at {tmp_path / 'paper' / 'features' / 'alexnet-owt-7be5be79.pth'}" in capsys.readouterr().err
    assert cli.main(["score", place, "--truth", place, "--weights", str(tmp_path)]) == 2
    assert "published networks are used with --zoo paper only" in capsys.readouterr().err
    assert cli.main(["score", place, "--truth", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not there" in capsys.readouterr().err
    assert cli.main(["score", place, "--truth", place, "--clip", str(tmp_path)]) == 2
    assert f"no config.json in {tmp_path}" in capsys.readouterr().err


def test_another_clip_judges_in_place_of_the_zoos(tmp_path, monkeypatch, capsys, seen):
    """The stand-in's own files in another folder give its scores, and both outputs name the folder."""
    monkeypatch.setenv("NSDLIB_HOME", str(ROOT))
    judge = shutil.copytree(zoo.path(load_run("demo"), "clip"), tmp_path / "judge")
    truth, made = (str(folder(tmp_path / name, images)) for name, images in (("seen", seen), ("made", seen[::-1])))
    rows = []
    for more in ([], ["--clip", str(judge)]):
        assert cli.main(["score", made, "--truth", truth, "--json", str(tmp_path / "x.json"), *more]) == 0
        found = json.loads((tmp_path / "x.json").read_text())
        rows.append(found["scores"]["native"]["clip"])
        notes = [STAND_INS.format("five"), f"CLIP is that of {judge}."] if more else [STAND_INS.format("six")]
        printed = capsys.readouterr().out
        assert found["notes"][-len(notes) :] == notes and all(note in printed for note in notes)
        assert found["clip"] == (str(judge) if more else None)
    assert rows[0] == rows[1]


def test_the_protocols_that_can_be_asked_for_are_all_there_are():
    assert ALLOWED["protocol"] == tuple(PROTOCOLS) and ALLOWED["zoo"] == tuple(zoo.ZOOS)


def test_the_pages_example_prints_what_the_page_shows(tmp_path, monkeypatch, capsys):
    page = (ROOT / "book" / "score_your_images.md").read_text()
    (lines,), (shown,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "text"))
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "score_your_images.md", "exec"), {})
    monkeypatch.setenv("NSDLIB_HOME", str(ROOT))
    command = re.findall(r"```bash\nnsdlib (.*)\n", page)[0]
    assert cli.main([*command.split(), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    number = r"[+-]?\d+\.\d+"
    words = [re.sub(r"[ :|-]+", " ", re.sub(number, "", text)).strip() for text in (printed, shown)]
    assert words[0] == words[1]
    numbers = [[float(value) for value in re.findall(number, text)] for text in (printed, shown)]
    np.testing.assert_allclose(*numbers, atol=0.011)  # another order of additions can move an image past another
