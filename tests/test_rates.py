"""What is measured of a machine: positive numbers, and no file stays behind."""

import re

from nsdlib import rates
from nsdlib.params import load_run


def test_a_machine_is_measured_and_left_as_it_was(tmp_path):
    run = load_run("small", device="cpu").model_copy(update={"store": tmp_path / "not" / "there"})
    found = rates.calibrate(run)
    assert min(found.half, found.single, found.copy, found.read, found.write) > 0 and found.half == found.single
    assert not found.is_gpu and list(tmp_path.iterdir()) == []
    assert re.search(
        r"thread\(s\) of this CPU: matrix products .* TFLOP/s, memory .* GB/s, disk .* written", str(found)
    )


def test_the_shortest_of_several_calls_counts_after_one_that_warms_up(monkeypatch):
    clock = iter([0, 1, 10, 19, 20, 25, 30, 37])
    monkeypatch.setattr(rates.time, "perf_counter", lambda: next(clock))
    calls = []
    where = type("Device", (), {"type": "cpu"})
    assert rates._shortest(lambda: calls.append(1), where, n_times=3) == 5 and len(calls) == 4


def test_the_nearest_folder_that_is_there(tmp_path):
    assert rates.existing(tmp_path / "a" / "b") == tmp_path == rates.existing(tmp_path)
