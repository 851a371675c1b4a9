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
def test_pieces_are_made_by_whoever_asks_a_few_ahead() -> None:
    caller, made = threading.get_ident(), list[int]()

    def pieces() -> Iterator[int]:
        for piece in range(20):
            assert threading.get_ident() == caller
            # Of the first one each operation has both cores; then the others have them.
            assert torch.get_num_threads() == (1 if piece else 2)
            made.append(piece)
            yield piece

    def work(rest: Iterator[int]) -> list[int]:
        taken = []
        for piece in rest:
            taken.append(piece)
            # Two are taken, two wait, and one is in hand.
            assert len(made) <= piece + 6
        return taken

    found = shared_out(work, pieces(), CPU)
    assert sorted(piece for taken in found for piece in taken) == list(range(20))
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_where_making_a_piece_fails_nobody_waits_for_more() -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    ended = []

    def work(rest: Iterator[int]) -> None:
        list(rest)
        ended.append(threading.get_ident())

    with pytest.raises(ValueError, match="no more"):
        shared_out(work, pieces(), CPU)
    assert len(ended) == 2
    assert torch.get_num_threads() == 2
    assert sum(shared_out(sum, range(5), CPU)) == 10


@pytest.mark.usefixtures("two_threads")
def test_when_all_have_failed_no_more_pieces_are_made() -> None:
    made: list[int] = []

    def watched() -> Iterator[int]:
        for piece in range(1000):
            made.append(piece)
            yield piece

    def work(rest: Iterator[int]) -> None:
        raise ValueError(f"not {next(rest)}")

    with pytest.raises(ValueError, match="not"):
        shared_out(work, watched(), CPU)
    assert len(made) < 10


@pytest.mark.usefixtures("two_threads")
def test_what_is_shared_out_while_pieces_are_made_is_done_at_once() -> None:
    """All others wait for the piece that is being made."""

    def pieces() -> Iterator[int]:
        for piece in range(4):
            yield piece + sum(shared_out(sum, [1, 2, 3], CPU))

    assert sum(shared_out(sum, pieces(), CPU)) == sum(range(4)) + 4 * 6


@pytest.mark.usefixtures("two_threads")
def test_nobody_waits_for_threads_that_wait_for_something_else() -> None:
    """One holds a lock and wants to share something out, another needs that lock to make what the threads wait for."""
    lock, begun, found = threading.Lock(), threading.Event(), []

    def pieces() -> Iterator[int]:
        yield 1
        begun.set()
        with lock:
            yield 2

    with lock:
        other = threading.Thread(target=lambda: found.extend(shared_out(sum, pieces(), CPU)), daemon=True)
        other.start()
        assert begun.wait(10)
        assert shared_out(sum, [3, 4], CPU) == [7]
    other.join(10)
    assert sum(found) == 3


@pytest.mark.usefixtures("two_threads")
def test_a_gpu_needs_no_help() -> None:
    assert n_sharers(torch.device("cuda")) == 1
    assert n_sharers(CPU) == 2
