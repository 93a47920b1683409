"""Description of a machine: its name, its memory, its rate of matrix products; also on systems other than Linux."""

import os
import platform

import psutil
import pytest

from nsdlib.run import rates


def test_products_are_measured():
    import torch

    assert rates.product_rate(torch.device("cpu"), torch.float32, n_times=1) > 1e8


def test_the_fastest_count_matters_after_one_that_warms_up(monkeypatch):
    import torch

    clock = iter([0, 1, 10, 19, 20, 25, 30, 37])
    monkeypatch.setattr(rates.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(rates, "SIDE", 64)
    assert rates.product_rate(torch.device("cpu"), torch.float32, n_times=3) == 2 * 64**3 / 5


def test_a_machine_has_the_name_of_its_processor_and_its_gpu(tmp_path, monkeypatch):
    assert rates.machine_name("cpu").endswith(f", {len(os.sched_getaffinity(0))} cores")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: An Abacus\n\nmodel name\t: Another\n")
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 5\n")
    monkeypatch.setattr(rates, "PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr(rates, "CARDS", tmp_path / "gpus")
    monkeypatch.setattr(rates, "n_cores", lambda: 4)
    assert rates.machine_name("auto") == rates.machine_name("cuda") == "An Abacus, 4 cores, NVIDIA H100"
    assert rates.machine_name("cpu") == "An Abacus, 4 cores"


def test_where_linux_is_not_there_is_a_name_and_a_memory(tmp_path, monkeypatch):
    for name in ("PROCESSORS", "CARDS", "MY_GROUPS"):
        monkeypatch.setattr(rates, name, tmp_path / "absent")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert rates.machine_name() == f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    assert rates.total_memory() == pytest.approx(psutil.virtual_memory().total, rel=0.01)
    monkeypatch.delattr(os, "sysconf")
    assert rates.total_memory() == rates.ASSUMED_MEMORY


def test_a_name_that_sysconf_does_not_know_leaves_an_assumption(tmp_path, monkeypatch):
    def unknown(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(rates, "MY_GROUPS", tmp_path / "absent")
    monkeypatch.setattr(os, "sysconf", unknown)
    assert rates.total_memory() == rates.ASSUMED_MEMORY


def test_the_nearest_folder_that_is_there(tmp_path):
    assert rates.existing(tmp_path / "a" / "b") == tmp_path == rates.existing(tmp_path)


@pytest.mark.parametrize(
    ("mine", "limits", "wanted"),
    [
        ("0::/", {}, None),
        ("0::/", {"memory.max": "5000000"}, 5_000_000),  # a container
        ("0::/job/step", {"memory.max": "max", "job/memory.max": "3000000", "job/step/memory.max": "max"}, 3_000_000),
        ("4:cpu:/\n3:memory:/job\n0::/", {"memory/job/memory.limit_in_bytes": "2000000"}, 2_000_000),
        ("3:memory:/job", {"memory/memory.limit_in_bytes": "1000000"}, 1_000_000),  # seen from inside, where the job's is not
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
