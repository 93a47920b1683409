"""Arrays in progress on a full disk: the error comes before any computation, says what to do, and leaves no partial files."""

import errno
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from nsdlib.core import files
from nsdlib.core.glm import scratch
from nsdlib.core.glm.scratch import Scratch, ScratchFull

SHAPE = (1000, 500)  # 4,000,000 bytes of float64, and a header of 128
needs_reservation = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no file gets its room here beforehand")


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of 3 MB of its own."""
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root of a Linux system may mount a disk of its own")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_said_before_the_array_is_filled_and_more_room_mends_it(small_disk):
    folder = small_disk / "work"
    kept = Scratch(folder, "x").array("small", (10,), np.float64)
    kept[:] = 7
    with pytest.raises(
        ScratchFull, match=r"no room for the intermediate array 'large': it takes 4,000,000 bytes, and 3,\d\d\d,\d\d\d are free"
    ):
        Scratch(folder, "x").array("large", SHAPE, np.float64)
    assert sorted(path.name for path in folder.iterdir()) == ["inputs", "small.npy"]
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    again = Scratch(folder, "x")
    again.array("large", SHAPE, np.float64)[:] = 1
    assert (again.array("small", (10,), np.float64) == 7).all()


def test_without_the_room_a_write_would_end_the_process(small_disk):
    """What the reservation is for: a sparse file in its place takes down whoever fills it."""
    code = f"import numpy as np\nnp.lib.format.open_memmap('{small_disk}/a.npy', mode='w+', shape={SHAPE})[:] = 1"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -7  # SIGBUS


@needs_reservation
def test_the_whole_file_has_its_room(tmp_path):
    array = Scratch(tmp_path / "a").array("a", SHAPE, np.float64)
    file = (tmp_path / "a" / "a.npy").stat()
    assert file.st_blocks * 512 >= file.st_size == array.nbytes + 128


def no_room_is_noticed_by_the_free_space(folder, monkeypatch):
    Scratch(folder).array("a", SHAPE, np.float64)[:] = 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    with pytest.raises(ScratchFull, match="intermediate array 'b': it takes 4,000,000 bytes"):
        Scratch(folder).array("b", SHAPE, np.float64)
    Scratch(folder).array("c", (1000, 499), np.float64)
    assert sorted(path.name for path in folder.iterdir()) == ["a.npy", "c.npy", "inputs"]
    (folder / "d").write_bytes(b"abc")
    for n_bytes in (10, 5):
        files.preallocate(folder / "d", n_bytes)
        assert (folder / "d").stat().st_size == 10 and (folder / "d").read_bytes().startswith(b"abc")


@needs_reservation
@pytest.mark.parametrize("answer", sorted(files.UNABLE))
def test_a_file_system_that_reserves_nothing_is_asked_for_its_free_space(tmp_path, monkeypatch, answer):
    def refuse(*_):
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    no_room_is_noticed_by_the_free_space(tmp_path / "a", monkeypatch)


def test_a_system_that_reserves_nothing_is_asked_for_its_free_space(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # macOS has none
    no_room_is_noticed_by_the_free_space(tmp_path / "a", monkeypatch)


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(scratch, "preallocate", broken)
    with pytest.raises(OSError, match="broken"):
        Scratch(tmp_path / "a").array("a", SHAPE, np.float64)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["inputs"]


def test_what_a_file_holds_stays_when_it_gets_more_room(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    files.preallocate(tmp_path / "a", 10)
    assert (tmp_path / "a").read_bytes() == b"abc" + bytes(7)
