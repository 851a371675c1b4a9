"""Threads: what is set is set back, and what is shared out is done once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from layerwidget.model import cores
from layerwidget.model.cores import FEW_ROWS, leaving_a_core, n_sharers, shared_out

CPU = torch.device("cpu")


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(cores, "_n_cores", lambda: 2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_few_rows_leave_a_core_and_many_do_not() -> None:
    with leaving_a_core(FEW_ROWS):
        assert torch.get_num_threads() == 1
        with leaving_a_core(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    with leaving_a_core(FEW_ROWS + 1):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_are_set_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="in the middle"), leaving_a_core(1):
        raise ValueError("in the middle")
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_core_is_left_already_where_there_are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_n_cores", lambda: 5)
    with leaving_a_core(1):
        assert torch.get_num_threads() == 2


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
