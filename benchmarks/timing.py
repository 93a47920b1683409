"""Timing of programs: medians over several rounds, in each of which the programs alternate."""

import time

import numpy as np
import report

from nsdlib.run.rates import seconds_of


def clock():
    """Wall time and CPU time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def medians(programs, device):
    """Median seconds and CPU seconds of each program over three rounds, with device synchronisation; and the last results."""
    made, taken = {}, {name: [] for name in programs}
    for _ in range(3):
        for name, program in programs.items():
            call = lambda name=name, program=program: made.update({name: program()})  # noqa: E731
            taken[name].append(seconds_of(call, device, clock))
    return {name: np.median(seconds, axis=0) for name, seconds in taken.items()}, made


def median(work, device):
    """Median seconds and CPU seconds of one program."""
    return medians({"": work}, device)[0][""]


def compared(case, ours, peer, **more):
    """Return the row of two programs, from seconds and CPU seconds of each."""
    return report.row(case, ours[0], peer=peer[0], **more, cpu_s=ours[1], cpu_ratio=peer[1] / ours[1])
