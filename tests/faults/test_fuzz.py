"""Readers against damaged files: any bytes give a correct result or a clear error, in bounded memory.

Files of the simulated subject are truncated, flipped, overwritten and replaced. Each reader runs in its own process with a memory
limit, so that a crash of a library, a hang or an unbounded allocation fails its test.
"""

import gzip
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest
from fuzz_files import READERS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nsdlib.data.nsd import layout as nsd_layout
from nsdlib.data.nsd.files import DamagedFile
from nsdlib.data.nsd.subject import NSDSubject
from nsdlib.store.artifact import DamagedArtifact, MissingArtifact

ROOT = Path(__file__).parents[2]
N_EXAMPLES = 200
ROOM = 2**30  # bytes that a reader may take; its largest true array here has five million
CLEAR = {ValueError, FileNotFoundError, DamagedFile, DamagedArtifact, MissingArtifact}


class Damaged(bytes):
    """Bytes that a report of a failure shows only in part."""

    def __repr__(self):
        return f"{len(self)} bytes: {bytes(self[:2000])!r}"


@st.composite
def damaged(draw, whole):
    """The bytes of a file after something happened to them."""
    data, n = bytearray(whole), len(whole)
    position = st.one_of(st.integers(0, min(n, 512) - 1), st.integers(0, n - 1))
    kind, start = draw(st.sampled_from(["cut", "flip", "flip", "noise", "extreme", "moved"])), draw(position)
    if kind == "cut":
        del data[start:]
    elif kind == "flip":
        for at in [start, *draw(st.lists(position, max_size=7))]:
            data[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == "noise":
        length = draw(st.integers(1, 2048))
        data[start : start + length] = random.Random(start).randbytes(min(length, n - start))
    elif kind == "extreme":
        data[start : start + 8] = draw(st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\0\x80" * 2]))
    else:
        data[start:start] = data[: draw(st.integers(1, 64))]
    return Damaged(data)


def content(case):
    """What takes the place of the file: bytes, a function that writes it, or None for a folder."""
    choices = [damaged(whole) for whole in case.wholes] * 3
    if case.packed:
        choices += [
            damaged(gzip.decompress(whole)).map(lambda data: Damaged(gzip.compress(data, 1))) for whole in case.wholes
        ] * 3
    return st.one_of(*choices, st.sampled_from([b"", None, *case.made]))


def place(path, new):
    """Put `new` where the file was."""
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    if new is None:
        path.mkdir()
    elif callable(new):
        new(path)
    else:
        path.write_bytes(new)


def attack(case, n_examples):
    """Read the file in `n_examples` states; gives how often what came of it."""
    outcomes = Counter()

    def outcome(new):
        place(case.path, new)
        try:
            found = case.read()
        except Exception as error:
            named = case.path.name.partition(".")[0] in str(error)
            assert type(error) in CLEAR and named, f"{type(error).__name__}: {error}"
            return "clear error"
        assert case.right(found), f"wrong, and nobody said so: {found!r:.300}"
        return "right"

    assert {outcome(whole) for whole in case.wholes} == {"right"}
    for new in case.made:
        outcomes[outcome(new)] += 1

    @settings(max_examples=n_examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(content(case))
    def every_state(new):
        outcomes[outcome(new)] += 1

    every_state()
    return outcomes


@pytest.fixture(scope="module")
def reports(twin, tmp_path_factory):
    """{reader: what came of its files}, or what its process has said to the last."""
    folder = tmp_path_factory.mktemp("readers")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONFAULTHANDLER": "1"}
    command = [sys.executable, __file__, twin.data, folder]
    subprocess.run(command, env=environment, cwd=folder, check=True)
    return {reader: (folder / f"{reader}.log").read_text() for reader in READERS}


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_read_rightly_or_refused_by_name(reader, reports):
    assert reports[reader].endswith("}\n"), reports[reader][-3000:]
    report = json.loads(reports[reader].splitlines()[-1])
    assert report["right"] + report["clear error"] >= N_EXAMPLES and report["clear error"] > N_EXAMPLES / 10
    assert report["peak"] < ROOM


def main(reader, data, folder):
    """Attack one reader and print what came of it, with the bytes that it took at most."""
    true, layout = nsd_layout.Layout(Path(data), 1), nsd_layout.Layout(Path(folder), 1)
    large = shutil.ignore_patterns("nsddata_stimuli", "nsddata_timeseries", "truth")
    shutil.copytree(data, folder, ignore=large)
    for path in (layout.captions, layout.design(1, 1)):
        path.parent.mkdir(parents=True)
    shutil.copy(true.design(1, 1), layout.design(1, 1))
    case = READERS[reader](NSDSubject(data, 1, 1), layout)
    place(case.path, case.wholes[0])
    case.read()  # what is imported late is there now
    warnings.simplefilter("error")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * ROOM, size + 2 * ROOM))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = attack(case, N_EXAMPLES)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps({"right": 0, "clear error": 0, **outcomes, "peak": peak}), flush=True)


def keep_words(reader, data, folder):
    """Attack one reader; what is printed goes to a file."""
    log = os.open(folder / f"{reader}.log", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    main(reader, data, folder / reader)


def attack_each(data, folder):
    """Attack every reader in a process that is forked from this one, which has imported all they need."""
    for reader in READERS:
        process = get_context("fork").Process(target=keep_words, args=(reader, data, Path(folder)))
        process.start()
        process.join(300)
        process.kill()  # if it hangs


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[1] in READERS else attack_each(*sys.argv[1:])
