"""Download of one file: truncated, corrupted, refused, stalled, redirected, killed; complete in the end, or an error."""

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from conftest import ROOT
from s3 import BIG, NAME, QUICK, SMALL, TABLE, files, is_whole, sha256_of

from nsdlib.data import fetch
from nsdlib.store.download import GO_ON, Patience, Server
from nsdlib.store.record import File, Record


def test_a_host_that_never_answers_is_not_asked_for_every_file(world):
    world.proxy.faults = {"HEAD ": ["slammed", ...]}
    patience = Patience(tries=3, backoff=0, n_threads=1)
    with pytest.raises(RuntimeError, match=rf"(?s)40 of 40 files.*{GO_ON}"):
        fetch.fetch(files(world), world.data, patience=patience)
    assert len(world.proxy.seen) == patience.tries


@pytest.mark.parametrize("key", [SMALL, BIG])
def test_a_cut_connection_goes_on_where_it_ended(world, key):
    world.proxy.faults = {key: ["cut", "cut"]}
    fetch.fetch(files(world, key), world.data, patience=QUICK)
    first, *later = world.proxy.gets(key)
    assert is_whole(world, key) and first is None and len(later) == 2
    assert all(asked.startswith("bytes=") for asked in later) and later == sorted(later, key=lambda a: int(a[6:-1]))


def test_progress_makes_failures_forgotten(world):
    world.proxy.faults = {BIG: ["slammed", "slammed", "cut", "slammed"]}
    fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    assert is_whole(world, BIG)


def test_a_connection_that_is_always_cut_ends_in_a_sentence_and_the_next_call_goes_on(world):
    world.proxy.faults = {SMALL: ["cut", "slammed", ...]}
    with pytest.raises(RuntimeError, match=rf"func1pt8mm/brainmask.nii.gz: .*\(attempt 3 of 3\).*{GO_ON}"):
        fetch.fetch(files(world, SMALL, TABLE)[::-1], world.data, patience=Patience(tries=3, backoff=0, n_threads=1))
    part = world.data / f"{SMALL}.part"
    assert is_whole(world, TABLE) and not (world.data / SMALL).exists() and 0 < part.stat().st_size < 150_000
    world.proxy.faults, size = {}, part.stat().st_size
    fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    assert is_whole(world, SMALL, TABLE) and world.proxy.gets(SMALL)[-1] == f"bytes={size}-"


def test_a_server_that_cannot_go_on_begins_again(world):
    world.proxy.faults = {SMALL: ["cut", "whole"]}
    fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert is_whole(world, SMALL) and len(world.proxy.gets(SMALL)) == 2


def test_a_server_that_goes_on_elsewhere_is_not_believed(world):
    elsewhere = {"status": 206, "content-range": "bytes 7-149999/150000"}
    world.proxy.faults = {SMALL: ["cut", elsewhere]}
    fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert is_whole(world, SMALL) and world.proxy.gets(SMALL)[-1] is None


def test_a_short_answer_without_a_length_is_a_cut(world):
    world.proxy.faults = {BIG: ["short"]}
    fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    assert is_whole(world, BIG) and len(world.proxy.gets(BIG)) == 2


def test_more_bytes_than_announced_are_wrong(world):
    world.proxy.faults = {f"HEAD {BIG}": [{"content-length": "100000"}, ...]}
    with pytest.raises(RuntimeError, match=r"wrong bytes received \(5,542,880 of them, wanted 100,000\)"):
        fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    assert not list(world.data.rglob("nsd_stimuli*"))


def test_a_whole_part_of_unknown_size_is_begun_again(world, monkeypatch):
    world.proxy.faults = {f"HEAD {BIG}": ["unmeasured", ...]}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetch, "put_in_place", interrupt)
        fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    assert is_whole(world, BIG) and world.proxy.gets(BIG) == [None, f"bytes={len(world.contents[BIG])}-", None]


def test_a_part_of_another_file_is_thrown_away(world):
    (world.data / SMALL).parent.mkdir(parents=True)
    (world.data / f"{SMALL}.part").write_bytes(b"of something else")
    fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert is_whole(world, SMALL) and world.proxy.gets(SMALL) == [None]


def test_a_part_that_is_too_long_is_thrown_away(world):
    (file,) = files(world, SMALL)
    world.proxy.faults = {SMALL: ["slammed", ...]}
    with pytest.raises(RuntimeError):
        fetch.fetch([file], world.data, patience=QUICK)
    file.part.write_bytes(bytes(200_000))
    world.proxy.faults = {}
    fetch.fetch([file], world.data, patience=QUICK)
    assert is_whole(world, SMALL)


def test_wrong_bytes_are_found_by_the_servers_md5(world):
    world.proxy.faults = {SMALL: ["spoiled"]}
    fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert is_whole(world, SMALL) and world.proxy.gets(SMALL) == [None, None]


def test_bytes_that_stay_wrong_never_get_the_name(world):
    world.proxy.faults = {SMALL: ["spoiled", ...]}
    with pytest.raises(RuntimeError, match=r"wrong bytes received \(the server's md5 is .*attempt 3 of 3.*fetched.json"):
        fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert not list(world.data.rglob("brainmask*")) and len(world.proxy.gets(SMALL)) == 3


def test_the_first_hash_is_checked_ever_after(world):
    fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    (world.data / BIG).unlink()
    world.proxy.faults = {BIG: ["spoiled"]}
    fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    assert is_whole(world, BIG)
    (world.data / BIG).unlink()
    world.proxy.faults = {BIG: ["spoiled", ...]}
    with pytest.raises(RuntimeError, match="the sha256 of the first download"):
        fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    assert not (world.data / BIG).exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (403, r"refuses it \(403 Forbidden\); open http://.*in a browser"),
        (404, r"does not have it \(404 Not Found\)"),
        (418, r"refuses it \(418"),
    ],
)
def test_a_refusal_is_final_and_the_others_go_on(world, fault, message):
    world.proxy.faults = {SMALL: [fault, ...]}
    with pytest.raises(RuntimeError, match=f"1 of 2 files could not be obtained:\n  func1pt8mm/brainmask.nii.gz: .*{message}"):
        fetch.fetch(files(world, SMALL, TABLE), world.data, patience=QUICK)
    assert is_whole(world, TABLE) and len(world.proxy.gets(SMALL)) == 1


@pytest.mark.parametrize("fault", [500, 503, 429, 408])
def test_a_server_in_trouble_is_asked_again(world, fault):
    world.proxy.faults = {f"HEAD {SMALL}": [fault], SMALL: [fault]}
    fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert is_whole(world, SMALL)
    world.proxy.faults = {TABLE: [fault, ...]}
    with pytest.raises(RuntimeError, match=rf"cannot serve it now \({fault} .*try later: {GO_ON}"):
        fetch.fetch(files(world, TABLE), world.data, patience=QUICK)


def test_the_real_server_refuses_and_lacks_too(world):
    for key, message in (("private", "403"), ("absent", "404")):
        file = File(path=world.data / key, address=f"{world.proxy.address}/{key}", what="", stage="")
        with pytest.raises(RuntimeError, match=message):
            fetch.fetch([file], world.data, patience=QUICK)


def test_silence_ends_in_a_sentence(world):
    world.proxy.faults = {TABLE: ["silent", ...]}
    patience = Patience(timeout=0.5, tries=2, backoff=0)
    with pytest.raises(RuntimeError, match=r"responses.tsv: 127.0.0.1:\d+ does not answer: ReadTimeout \(attempt 2 of 2\)"):
        fetch.fetch(files(world, TABLE), world.data, patience=patience)


def test_silence_in_mid_file_is_a_cut(world):
    world.proxy.faults = {TABLE: ["held", ...]}
    plans = fetch.survey(files(world, TABLE), world.data, patience=QUICK)
    world.data.mkdir()
    (problem,) = fetch.download(plans, world.data, patience=Patience(timeout=2, tries=1))
    assert problem.startswith("behav/responses.tsv: the connection was cut or went silent at byte")


def test_a_login_page_is_no_file(world):
    world.proxy.faults = {f"HEAD {SMALL}": [{"content-type": "text/html"}, ...]}
    with pytest.raises(RuntimeError, match=r"sent a web page instead .*log in to the network"):
        fetch.fetch(files(world, SMALL), world.data, patience=QUICK)


def test_a_file_without_a_stated_size_comes_whole(world):
    world.proxy.faults = {f"HEAD {SMALL}": ["unmeasured"], SMALL: ["unmeasured"]}
    fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert is_whole(world, SMALL)


def test_redirections_are_followed_and_the_hub_tells_sha256(world):
    sha256 = sha256_of(world.contents[SMALL])
    linked = {"status": 302, "location": f"/{NAME}/{SMALL}", "x-linked-size": "150000", "x-linked-etag": f'"{sha256}"'}
    file = File(path=world.data / "model.bin", address=f"{world.proxy.address}/{TABLE}", what="", stage="")
    with Server(QUICK) as server:
        world.proxy.faults = {f"HEAD {TABLE}": [linked]}
        assert server.look(file).sha256 == sha256 and len(world.proxy.seen) == 1
        world.proxy.faults = {f"HEAD {TABLE}": [{"status": 302, "location": f"/{NAME}/{SMALL}"}]}
        assert server.look(file).sha256 == "" and world.proxy.seen[-1][1].endswith(SMALL)
    world.proxy.faults = {f"HEAD {TABLE}": [linked, ...], TABLE: ["spoiled", linked, linked]}
    fetch.fetch([file], world.data, patience=QUICK)
    assert file.path.read_bytes() == world.contents[SMALL]


def test_redirections_without_end_are_left(world):
    round_about = {"status": 302, "location": f"/{NAME}/{SMALL}"}
    world.proxy.faults = {f"HEAD {SMALL}": [round_about, ...]}
    with pytest.raises(RuntimeError, match="more than 5 redirections"):
        fetch.fetch(files(world, SMALL), world.data, patience=QUICK)


def test_what_would_be_overwritten_twice_is_left(world):
    (world.data / SMALL).parent.mkdir(parents=True)
    (world.data / SMALL).write_bytes(b"mine")
    (world.data / f"{SMALL}.replaced").write_bytes(b"mine too")
    with pytest.raises(RuntimeError, match=r"brainmask.nii.gz.replaced already exists; move both away"):
        fetch.fetch(files(world, SMALL), world.data, patience=QUICK)
    assert (world.data / SMALL).read_bytes() == b"mine"
    assert (world.data / f"{SMALL}.replaced").read_bytes() == b"mine too"


def test_a_disk_that_fills_up_stops_the_others(world, monkeypatch):
    def full(*_, **__):
        raise OSError(fetch.errno.ENOSPC, os.strerror(fetch.errno.ENOSPC))

    monkeypatch.setattr(fetch, "put_in_place", full)
    patience = Patience(tries=3, backoff=0, n_threads=1)
    with pytest.raises(RuntimeError, match=r"cannot be written \(No space left on device\)") as failure:
        fetch.fetch(files(world, SMALL, TABLE), world.data, patience=patience)
    assert "stopped" in str(failure.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_record_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "fetched.json").write_text(text)
    with pytest.raises(ValueError, match=r"fetched.json cannot be used .*restore it, or remove it"):
        Record(tmp_path)


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_an_interruption_stops_those_at_work():
    server, stopped, begun = SimpleNamespace(patience=QUICK, stop=threading.Event()), [], threading.Event()

    def work(item):
        if item == "interrupted":
            begun.wait()
            raise KeyboardInterrupt
        begun.set()
        stopped.append((item, server.stop.wait(30)))

    with pytest.raises(KeyboardInterrupt):
        fetch._in_threads(work, ["interrupted", "at work"], server)
    assert stopped == [("at work", True)]


def test_an_interruption_from_the_keyboard_goes_on(world, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "put_in_place", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch.fetch(files(world), world.data, patience=QUICK)
    assert len(list(world.data.rglob("*.part"))) >= 1 and not any((world.data / key).exists() for key in world.contents)
    fetch.fetch(files(world), world.data, patience=QUICK)
    assert is_whole(world) and not list(world.data.rglob("*.part"))


def test_a_killed_process_goes_on(world):
    world.proxy.faults = {BIG: ["held"]}
    code = (
        "import sys; from pathlib import Path; from nsdlib.data import fetch; from nsdlib.store.record import File\n"
        "folder, key, address = sys.argv[1:]\n"
        "fetch.fetch([File(Path(folder, key), address, '', '', md5_etag=True)], folder)"
    )
    address = f"{world.proxy.address}/{BIG}"
    command = [sys.executable, "-c", code, world.data, BIG, address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert world.proxy.sent_half.wait(60), process.stderr.read().decode()
        process.send_signal(signal.SIGKILL)
    world.proxy.go_on.set()
    assert not (world.data / BIG).exists()
    fetch.fetch(files(world, BIG), world.data, patience=QUICK)
    assert is_whole(world, BIG)
