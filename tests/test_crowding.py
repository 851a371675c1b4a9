"""A pass over a few positions begins with all cores, and leaves one to whoever holds it up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from layerwidget.model import capture, crowding
from layerwidget.model.crowding import CROWDED_S, FEW_ROWS, is_crowded, leaving_a_core, look_around
from tests import tiny

#: How long a layer takes that nobody holds up, seconds.
LAYER_S = 0.002


@dataclass
class Machine:
    """A clock, and how often threads were pushed off their cores."""

    now: float = 1000.0
    pushed: int | None = 7

    def layers(self, *times_s: float, pushes: int = 0) -> None:
        """Layers that take so long, in each of which threads are pushed off so often."""
        look_around()
        for time_s in times_s:
            self.now += time_s
            self.pushed = None if self.pushed is None else self.pushed + pushes
            look_around()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    found = Machine()
    monkeypatch.setattr(crowding, "_n_cores", lambda: 2)
    monkeypatch.setattr(crowding, "_n_pushed_off", lambda: found.pushed)
    monkeypatch.setattr(crowding, "monotonic", lambda: found.now)
    monkeypatch.setattr(crowding._Watch, "crowded_until", 0.0)
    yield found
    torch.set_num_threads(before)


def test_all_cores_work_where_nobody_wants_one(machine: Machine) -> None:
    with leaving_a_core(1):
        machine.layers(LAYER_S, LAYER_S, 2 * LAYER_S)
        assert torch.get_num_threads() == 2
    assert not is_crowded()


@pytest.mark.parametrize(("slow_s", "pushes"), [(LAYER_S, 10), (10 * LAYER_S, 0)])
def test_pushes_that_cost_nothing_and_slow_layers_that_nobody_pushed_do_not_count(
    machine: Machine, slow_s: float, pushes: int
) -> None:
    with leaving_a_core(1):
        machine.layers(LAYER_S, slow_s, slow_s, slow_s, pushes=pushes)
        assert torch.get_num_threads() == 2


def test_one_layer_that_is_held_up_is_an_accident(machine: Machine) -> None:
    with leaving_a_core(1):
        machine.layers(LAYER_S, 10 * LAYER_S, LAYER_S, pushes=1)
        assert torch.get_num_threads() == 2


def test_who_holds_a_pass_up_gets_a_core_for_a_while(machine: Machine) -> None:
    with leaving_a_core(1):
        machine.layers(LAYER_S, 10 * LAYER_S, 10 * LAYER_S, pushes=1)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    machine.now += CROWDED_S / 2
    assert is_crowded()
    with leaving_a_core(FEW_ROWS):
        assert torch.get_num_threads() == 1
    with leaving_a_core(FEW_ROWS + 1):
        assert torch.get_num_threads() == 2
    machine.now += CROWDED_S
    assert not is_crowded()
    with leaving_a_core(1):
        assert torch.get_num_threads() == 2


def test_where_nobody_counts_a_core_is_always_left(machine: Machine) -> None:
    machine.pushed = None
    with leaving_a_core(1):
        assert torch.get_num_threads() == 1
    assert is_crowded()


def test_threads_are_set_back_after_an_error(machine: Machine) -> None:
    machine.pushed = None
    with pytest.raises(ValueError, match="in the middle"), leaving_a_core(1):
        raise ValueError("in the middle")
    assert torch.get_num_threads() == 2


def test_a_core_is_left_already_where_there_are_more(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.pushed = None
    monkeypatch.setattr(crowding, "_n_cores", lambda: 5)
    with leaving_a_core(1):
        assert torch.get_num_threads() == 2


def test_a_pass_looks_around_at_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.hooked("llama")
    model.trace(tiny.ids(3))
    looks: list[int] = []
    monkeypatch.setattr(capture, "look_around", lambda: looks.append(1))
    model.trace(tiny.ids(3))
    assert len(looks) == model.anatomy.n_layers


def test_pushes_are_counted_here() -> None:
    pushed = crowding._n_pushed_off()
    assert pushed is not None
    assert pushed >= 0
