"""Threads: what is set is set back, and what is shared out is done once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from layerwidget.model.cores import n_sharers, shared_out

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_every_piece_is_done_once_by_threads_of_one_core_each() -> None:
    together = threading.Barrier(2)

    def work(pieces: Iterator[int]) -> tuple[list[int], int, bool]:
        done = [next(pieces)]
        together.wait(10)
        return [*done, *pieces], torch.get_num_threads(), torch.is_grad_enabled()

    found = shared_out(work, range(101), CPU)
    assert sorted(piece for done, _, _ in found for piece in done) == list(range(101))
    assert [(threads, grad) for _, threads, grad in found] == [(1, False), (1, False)]
    assert torch.get_num_threads() == 2
    seen: list[int] = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [2]


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_piece_is_raised() -> None:
    def work(pieces: Iterator[int]) -> int:
        return sum(1 // piece for piece in pieces)

    with pytest.raises(ZeroDivisionError):
        shared_out(work, [1, 2, 0, 3], CPU)


@pytest.mark.usefixtures("two_threads")
def test_a_gpu_needs_no_help() -> None:
    assert n_sharers(torch.device("cuda")) == 1
    assert n_sharers(CPU) == 2
