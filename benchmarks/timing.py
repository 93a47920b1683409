"""Seconds of what benchmarks compare: the fastest of several calls, one after the other or in turn."""

import time

import numpy as np
import torch

from nsdlib.run.rates import seconds_of


def fastest(work, device):
    """Seconds and CPU seconds of the faster of two calls, until the device has done them."""
    clock = lambda: np.array([time.perf_counter(), time.process_time()])  # noqa: E731
    return min((seconds_of(work, device, clock) for _ in range(2)), key=lambda both: both[0])


def best(programs, device, n_times=3):
    """Seconds of each program, the best of some rounds in turn after one that warms up, and what they return.

    Of one thread of a CPU its own seconds, which do not depend on who else is there.
    """
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    made = {name: program() for name, program in programs.items()}
    if device.type == "cuda":
        torch.cuda.synchronize()
    rounds = [[seconds_of(program, device, clock) for program in programs.values()] for _ in range(n_times)]
    return dict(zip(programs, np.min(rounds, axis=0), strict=True)), made
