"""What is measured of a machine: positive numbers, and no file stays behind."""

import re

import psutil
import pytest

from nsdlib.params import load_run
from nsdlib.run import rates


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


@pytest.mark.parametrize(
    ("mine", "limits", "wanted"),
    [
        ("0::/", {}, None),
        ("0::/", {"memory.max": "5000000"}, 5_000_000),  # a container
        ("0::/job/step", {"memory.max": "max", "job/memory.max": "3000000", "job/step/memory.max": "max"}, 3_000_000),
        ("4:cpu:/\n3:memory:/job\n0::/", {"memory/job/memory.limit_in_bytes": "2000000"}, 2_000_000),
        (
            "3:memory:/job",
            {"memory/memory.limit_in_bytes": "1000000"},
            1_000_000,
        ),  # seen from inside, where the job's is not
        ("3:memory:/", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, None),  # no limit, as it used to be said
        ("3:cpu:/job", {"job/memory.max": "1000", "memory.max": "1000"}, None),
    ],
)
def test_memory_is_what_containers_and_queues_leave_of_it(tmp_path, monkeypatch, mine, limits, wanted):
    (tmp_path / "mine").write_text(mine)
    for name, text in limits.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    monkeypatch.setattr(rates, "MY_GROUPS", tmp_path / "mine")
    monkeypatch.setattr(rates, "GROUPS", tmp_path / "groups")
    machine = psutil.virtual_memory().total
    assert rates.total_memory() == (pytest.approx(machine, rel=0.01) if wanted is None else wanted)


def test_without_control_groups_memory_is_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "MY_GROUPS", tmp_path / "absent")
    assert rates.total_memory() == pytest.approx(psutil.virtual_memory().total, rel=0.01)
