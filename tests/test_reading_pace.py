"""A pass over one position uses as many threads as memory has something to read for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import layerwidget as lw
from layerwidget.model import crowding, reading_pace
from layerwidget.model.reading_pace import measure_pace, n_useful
from tests.tiny import hooked, ids


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(reading_pace, "_useful", {})
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def takes(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> list[int]:
    """Reading takes so long with so many threads, and the first try of all twice as long."""
    tried: list[int] = []

    def read(_weights: torch.Tensor) -> float:
        tried.append(torch.get_num_threads())
        return seconds[tried[-1]] * (2 if len(tried) <= len(seconds) else 1)

    monkeypatch.setattr(reading_pace, "_read", read)
    return tried


@pytest.mark.parametrize(
    ("seconds", "useful"),
    [
        ({1: 1.0, 2: 1.0, 4: 1.0, 6: 1.0}, 1),
        ({1: 1.0, 2: 0.5, 4: 0.25, 6: 0.17}, 6),
        # As fast as four, up to a tenth.
        ({1: 1.0, 2: 0.52, 4: 0.5, 6: 0.55}, 2),
        ({1: 1.2, 2: 1.0, 4: 1.3, 6: 2.0}, 2),
    ],
)
def test_as_few_threads_as_are_about_as_fast(
    seconds: dict[int, float], useful: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = takes(monkeypatch, seconds)
    assert n_useful() == 6
    measure_pace()
    assert (n_useful(), torch.get_num_threads()) == (useful, 6)
    # In turns, and once for all.
    assert tried[:4] == tried[4:8] == [1, 2, 4, 6]
    n_tries = len(tried)
    measure_pace()
    assert len(tried) == n_tries
    torch.set_num_threads(3)
    assert n_useful() == 3


def test_what_is_measured_is_a_number_of_threads() -> None:
    torch.set_num_threads(2)
    measure_pace()
    assert n_useful() in {1, 2}
    assert torch.get_num_threads() == 2


def test_threads_are_put_back_when_it_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, {1: 1.0})
    with pytest.raises(KeyError):
        measure_pace()
    assert torch.get_num_threads() == 6


def test_a_pass_over_one_position_uses_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, {1: 1.0, 2: 0.5, 4: 0.5, 6: 0.5})
    # Nobody else wants a core.
    monkeypatch.setattr(crowding, "_others_wait", lambda *_, **__: False)
    monkeypatch.setattr(crowding._Watch, "seen_at", 0.0)
    model = hooked("llama")
    live, used = lw.Live(model), []
    live.prepare()
    model.hf_model.model.register_forward_hook(lambda *_: used.append(torch.get_num_threads()))
    prompt = ids(8)
    live.update(prompt[:-2], lw.LogitLens())
    live.update(prompt[:-1], lw.LogitLens())
    live.update([*prompt[:-4], 1, 2, 3, 4, 5, 6, 7, 8, 9], lw.LogitLens())
    assert used == [6, 2, 6]
    assert torch.get_num_threads() == 6
