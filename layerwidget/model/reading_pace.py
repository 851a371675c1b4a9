"""How many threads a pass over one position has use for.

It reads every weight for a single product, and takes as long as memory takes to give them. Where one thread takes all
that memory gives, others only wait beside it, on cores on which a browser could draw.
"""

from __future__ import annotations

from time import perf_counter

import torch

#: What is read at each try, numbers: 64 MiB, more than most caches keep.
_WIDTH, _N_PRODUCTS = 1024, 16
_N_TRIES = 5
#: More threads are of use when they take a tenth less time.
_WORTH = 0.9

#: Number of torch's threads -> how many of them are of use, as far as that was measured.
_useful: dict[int, int] = {}


def n_useful() -> int:
    """As many of this thread's torch threads as are of use; all of them until `measure_pace` has run."""
    n_threads = torch.get_num_threads()
    return _useful.get(n_threads, n_threads)


def measure_pace() -> None:
    """Find it out, once in a process: a tenth of a second or two, in which the processor has nothing else to do."""
    n_threads = torch.get_num_threads()
    if n_threads in _useful:
        return
    # Not zeros: a system has one page for all of them.
    weights = torch.ones(_N_PRODUCTS, _WIDTH, _WIDTH)
    numbers = [2**power for power in range(n_threads.bit_length()) if 2**power < n_threads] + [n_threads]
    best = dict.fromkeys(numbers, float("inf"))
    try:
        # In turns, and the best of each: whatever else the machine does for a while, it does to all of them.
        for _ in range(_N_TRIES):
            for number in numbers:
                torch.set_num_threads(number)
                best[number] = min(best[number], _read(weights))
    finally:
        torch.set_num_threads(n_threads)
    _useful[n_threads] = _fewest(best)


def _fewest(seconds: dict[int, float]) -> int:
    """The least number of threads that more of them do not beat by a tenth.

    Args:
        seconds: number of threads -> the time that they took, from few to many.
    """
    least = min(seconds.values())
    return next(number for number, took in seconds.items() if _WORTH * took <= least)


def _read(weights: torch.Tensor) -> float:
    """Seconds for one product with each of them."""
    row = torch.ones(1, _WIDTH)
    started = perf_counter()
    for weight in weights:
        torch.mm(row, weight.T)
    return perf_counter() - started
