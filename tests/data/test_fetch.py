"""Downloads: files, terms and folders are listed, checked and recorded; and the command line."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from s3 import BIG, QUICK, SESSIONS, SMALL, TABLE, files, is_whole, sha256_of

from nsdlib.cli import main
from nsdlib.data import fetch
from nsdlib.data.nsd import bucket as nsd_bucket
from nsdlib.data.nsd import layout as nsd
from nsdlib.params import load_run
from nsdlib.store import zoo
from nsdlib.store.record import Record


def test_everything_comes_once_and_is_remembered(world, capsys):
    fetch.fetch(files(world), world.data, patience=QUICK)
    said = capsys.readouterr().out
    assert is_whole(world) and f"All {len(world.contents)} files are in {world.data}" in said
    assert "nsddata_timeseries, BOLD and onsets (01): 24 files, 3.60 MB; still to come 3.60 MB" in said
    record = json.loads((world.data / "fetched.json").read_text())
    assert record.keys() == world.contents.keys() and all(len(entry["sha256"]) == 64 for entry in record.values())
    assert not list(world.data.rglob("*.part"))
    world.proxy.seen.clear()
    fetch.fetch(files(world), world.data, patience=QUICK)
    assert world.proxy.seen == [] and "still to come 0 B" in capsys.readouterr().out


def test_the_list_is_the_doctors_and_what_the_notebooks_show(world):
    layout = nsd.Layout(world.data, 1)
    needed = layout.needed(2, version=SESSIONS["version"], glm_sessions=1)
    wanted = {file.path: file for file in files(world)}
    extra = {layout.stim_info, layout.responses, layout.volume("mean")}
    assert wanted.keys() == {path for path, _ in needed} | extra
    assert wanted[layout.stimuli].about == 73_000 * 425 * 425 * 3
    assert wanted[layout.betas(SESSIONS["version"], 2, "hdf5")].about == 81 * 104 * 83 * 750 * 2
    assert [file.stage.partition(",")[0] for file in files(world)] == sorted(
        (file.stage.partition(",")[0] for file in files(world)), key=list(nsd_bucket.STAGES).index
    )
    assert not wanted[layout.captions].md5_etag and wanted[layout.expdesign].md5_etag


@pytest.mark.parametrize(
    ("subject", "sessions", "message"),
    [
        (9, (1, 1), "subject=9: NSD has subjects 1 to 8"),
        (4, (31, 1), "subject 4 has sessions 1 to 30"),
        (1, (0, 0), "subject 1 has sessions 1 to 40"),
        (1, (1, 41), "0 of|41 of time series"),
    ],
)
def test_what_nsd_does_not_have_is_refused(tmp_path, subject, sessions, message):
    with pytest.raises(ValueError, match=message):
        nsd_bucket.subject_files(tmp_path, subject, n_sessions=sessions[0], glm_sessions=sessions[1], version="betas_assumehrf")


def test_a_dry_run_lists_and_changes_nothing(world, capsys):
    fetch.fetch(files(world), world.data, dry_run=True, patience=QUICK)
    said = capsys.readouterr().out
    assert f"150.00 kB  missing     {SMALL}: which voxels are brain" in said and "~" not in said
    assert f"5.54 MB  missing     {BIG}: the images" in said
    assert "(from huggingface.co, not part of NSD)" in said
    assert said.splitlines()[-1] == f"all: {len(world.contents)} files, 11.39 MB; still to come 11.39 MB"
    assert not world.data.exists() and not world.proxy.gets("")


def test_a_dry_run_estimates_where_the_server_is_silent(world, capsys):
    world.proxy.faults = {"HEAD ": ["slammed", ...]}
    (world.data / TABLE).parent.mkdir(parents=True)
    (world.data / "fetched.json").write_text(json.dumps({TABLE: {"size": 150_000, "sha256": "0" * 64}}))
    fetch.fetch(files(world, ".hdf5", "mean.nii.gz", TABLE), world.data, dry_run=True, patience=QUICK)
    said = capsys.readouterr().out
    assert "~39.56 GB  missing" in said and "?  missing     nsddata/ppdata/subj01/func1pt8mm/mean.nii.gz" in said
    assert f"~150.00 kB  missing     {TABLE}" in said  # fetched once, and removed
    assert said.splitlines()[-1].startswith("The server did not answer for 5 files: ~ is the size on record")


def test_a_dry_run_tells_a_refusal_from_silence(world):
    world.proxy.faults = {f"HEAD {SMALL}": [403, ...]}
    with pytest.raises(RuntimeError, match=r"1 of 1 files could not be obtained:\n.*refuses it"):
        fetch.fetch(files(world, SMALL), world.data, dry_run=True, patience=QUICK)


def test_a_file_of_another_size_is_fetched_again(world):
    fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    (world.data / SMALL).write_bytes(world.contents[SMALL][:-1])
    world.proxy.seen.clear()
    fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    assert is_whole(world, SMALL) and not world.proxy.gets(TABLE)
    assert not list(world.data.rglob("*.replaced"))


def test_other_bytes_of_the_same_size_are_found_by_verify(world, capsys):
    fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    (world.data / SMALL).write_bytes(bytes(150_000))
    fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    assert not is_whole(world, SMALL)
    capsys.readouterr()
    fetch.fetch(files(world, SMALL, TABLE), world.data, dry_run=True, verify=True, patience=QUICK)
    assert f"damaged     {SMALL}" in capsys.readouterr().out
    fetch.fetch(files(world, SMALL, TABLE), world.data, verify=True, patience=QUICK)
    assert is_whole(world, SMALL, TABLE) and f"{SMALL}: 150.00 kB" in capsys.readouterr().out


def test_files_that_were_there_are_taken_over_when_they_are_right(world):
    for key in (SMALL, TABLE, BIG):
        (world.data / key).parent.mkdir(parents=True, exist_ok=True)
    (world.data / SMALL).write_bytes(world.contents[SMALL])
    (world.data / TABLE).write_bytes(bytes(150_000))
    (world.data / BIG).write_bytes(world.contents[BIG][:-1])
    fetch.fetch(files(world, SMALL, TABLE, BIG), world.data, patience=QUICK)
    assert is_whole(world, SMALL, TABLE, BIG) and not world.proxy.gets(SMALL)
    assert (world.data / f"{TABLE}.replaced").read_bytes() == bytes(150_000)
    assert set(Record(world.data)[files(world, SMALL)[0]]) == {"address", "etag", "sha256", "size"}


def test_a_full_disk_is_said_before_anything_comes(world, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=299_999))
    with pytest.raises(
        RuntimeError, match=r"300.00 kB are still to be downloaded, but the disk of .* has 300.00 kB free: free some"
    ):
        fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    assert world.proxy.gets("") == []
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000))
    fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    assert is_whole(world, SMALL, TABLE)


def test_a_folder_that_cannot_be_written_is_named(world, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(fetch.errno.EACCES, "Permission denied", "/somewhere")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RuntimeError, match="/somewhere cannot be written: name another folder"):
        fetch.fetch(files(world, SMALL), world.data, patience=QUICK)


def test_two_downloads_into_one_folder_are_refused(world):
    with fetch.locked(world.data), pytest.raises(RuntimeError, match="Another download is running in"):
        fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    fetch.fetch(files(world, SMALL), world.data, patience=QUICK)


@pytest.fixture
def project(world, tmp_path, monkeypatch):
    """A project with the shipped parameter files, whose data lie in the world's folder."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    common = tmp_path / "params" / "_common.yaml"
    common.write_text(common.read_text().replace("data: data/nsd", "data: nsd"))
    monkeypatch.setenv("NSDLIB_HOME", str(tmp_path))
    return tmp_path


NSD = ["fetch", "nsd", "--subject", "1", "--sessions", "2", "--glm-sessions", "1"]


def test_the_command_wants_the_terms_accepted_once(project, world, capsys):
    assert main(NSD) == 1
    said = capsys.readouterr()
    assert "hand neither the data nor parts of them on" in said.out and "repeat with --accept-terms" in said.err
    assert not world.data.exists() and world.proxy.seen == []
    assert main([*NSD, "--accept-terms"]) == 0
    assert is_whole(world) and nsd_bucket.TERMS_PAGE in (world.data / "terms_accepted.json").read_text()
    capsys.readouterr()
    assert main(NSD) == 0 and "hand neither" not in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "status"), [("yes\n", 0), ("  YES \n", 0), ("y\n", 1), ("\n", 1), ("", 1)])
def test_a_person_at_a_terminal_is_asked(project, world, monkeypatch, capsys, answer, status):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(NSD) == status
    assert "Do you accept them?" in capsys.readouterr().out
    assert (world.data / "terms_accepted.json").exists() == (status == 0)


def test_the_commands_dry_run_needs_no_acceptance(project, world, capsys):
    assert main([*NSD, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(nsd_bucket.TERMS) and f"missing     {SMALL}" in said and not world.data.exists()


def test_the_command_takes_sessions_from_the_run(project, world, monkeypatch):
    asked = []
    monkeypatch.setattr(fetch, "fetch", lambda files, *_, **options: asked.append((len(files), options)))
    for arguments in (["--subject", "7"], ["--sessions", "1"], ["--glm-sessions", "0"], ["--verify"]):
        assert main(["fetch", "nsd", *arguments, "--accept-terms"]) == 0
    numbers = [number for number, _ in asked]
    assert numbers == [14 + 37 + 2 * 24, 14 + 1 + 24, 14 + 37, 14 + 37 + 2 * 24]
    assert [options["verify"] for _, options in asked] == [False, False, False, True]


@pytest.mark.parametrize("arguments", [["brains"], ["nsd", "--subject", "9"], ["nsd", "--sessions", "many"]])
def test_wrong_requests_are_refused(project, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(["fetch", *arguments])


def test_too_many_sessions_are_a_sentence(project, capsys):
    assert main(["fetch", "nsd", "--subject", "4", "--sessions", "31"]) == 2
    assert "subject 4 has sessions 1 to 30" in capsys.readouterr().err


def test_a_run_of_another_laboratory_has_nothing_at_nsd(project, capsys):
    (project / "params" / "ours.yaml").write_text(
        "data: raw\nn_sessions: 2\nbetas: glm\nsplit: random\ntext_weight: 0\n"
        "bids: {derivatives: prep, label: '01', task: see, images: pictures}\n"
    )
    assert main(["fetch", "nsd", "--run", "ours"]) == 2
    assert "ours is no subject of NSD: get its data for the folders that its section bids" in capsys.readouterr().err


def test_the_command_fetches_weights(project, world, monkeypatch, capsys):
    sha256 = sha256_of(world.contents[SMALL])
    address = world.proxy.address
    entries = {
        "one": zoo.Weights(f"features/one-{sha256[:8]}.pth", "here", "MIT", f"{address}/{SMALL}", 150_000, sha256[:8]),
    }
    folder = zoo.Weights(
        "folder", "here", "CC BY-NC 4.0", f"{address}/nsddata", parts=(("experiments/nsd/nsd_expdesign.mat", 1),)
    )
    monkeypatch.setitem(zoo.ZOOS, "paper", entries)
    monkeypatch.setattr(zoo, "extra_models", lambda run: {"stable_diffusion": folder})  # as a recipe of the run would
    assert main(["fetch", "weights"]) == 0
    said = capsys.readouterr().out
    assert "one (licence MIT): 1 files" in said and "stable_diffusion (licence CC BY-NC 4.0)" in said
    assert zoo.missing(load_run("subj01")) == []
    assert zoo.path(load_run("subj01"), "one").read_bytes() == world.contents[SMALL]
    assert len(json.loads((project / "weights" / "paper" / "fetched.json").read_text())) == 2


def test_weights_that_do_not_have_the_hash_in_their_name_are_refused(project, world, monkeypatch, capsys):
    entry = zoo.Weights("features/one-00000000.pth", "here", "MIT", f"{world.proxy.address}/{SMALL}", 0, "00000000")
    monkeypatch.setitem(zoo.ZOOS, "paper", {"one": entry})
    monkeypatch.setattr(zoo, "extra_models", lambda run: {})
    monkeypatch.setattr(fetch, "Patience", lambda **_: QUICK)
    assert main(["fetch", "weights"]) == 1
    assert "the hash in its name is 00000000" in capsys.readouterr().err
    assert not list((project / "weights").rglob("*.pth"))


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (2.5e6, "2.50 MB"), (39.557e9, "39.56 GB")]
)
def test_amounts_are_readable(n_bytes, text):
    assert fetch.amount(n_bytes) == text
