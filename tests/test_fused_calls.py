"""Fused attention is heard where it is called by name, by who listens in this thread; afterwards it is as before."""

from __future__ import annotations

from threading import Barrier, Event, Thread
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention as held

from layerwidget.model.fused_calls import hearing_fused_attention
from layerwidget.model.hooked_model import HookedModel
from tests import tiny, toy

IDS = [3, 1, 4, 1, 5]


class Other(toy.Look):
    """The same attention, called in another way."""

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.habit = habit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.three(x).chunk(3, -1))
        if self.habit == "held":
            return self._out(held(q, k, v, is_causal=True))
        if self.habit == "blind first":
            # Of the same size, and nobody reads it.
            functional.scaled_dot_product_attention(k, v, q, is_causal=True)
            return self._out(functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        both = functional.scaled_dot_product_attention(q, k, v, is_causal=True), held(k, q, v, is_causal=True)
        return self._out(sum(both))

    def _out(self, mixed: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


def twins(habit: str) -> tuple[HookedModel, HookedModel]:
    """A model with attention as usual, and with the same weights one that calls it in another way."""
    one, other = toy.toy(), toy.toy()
    other.house = nn.ModuleList(toy.Floor() for _ in one.house)
    for floor in other.house:
        floor.p = Other(habit)
    other.load_state_dict(one.state_dict())
    return HookedModel(one), HookedModel(other.eval())


def listened(args: Any, kwargs: Any = None) -> list[torch.Tensor]:
    """What somebody hears of one call."""
    heard: list[torch.Tensor] = []
    with hearing_fused_attention(lambda *told: heard.append(told[2])):
        out = functional.scaled_dot_product_attention(*args, **(kwargs or {}))
    assert all(each is out for each in heard)
    return heard


def arguments() -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(1, 2, 5, 4) for _ in range(3))


@pytest.mark.parametrize(("habit", "by_name", "nth"), [("held", False, 0), ("blind first", True, 1)])
def test_the_same_pattern_however_it_is_called(habit: str, by_name: bool, nth: int) -> None:
    usual, other = twins(habit)
    site = other.anatomy.attention_site
    assert site is not None
    assert (site.by_name, site.nth) == (by_name, nth)
    for layer in range(3):
        assert torch.equal(other.trace(IDS).pattern(layer), usual.trace(IDS).pattern(layer))


def test_two_operations_of_a_layer_in_two_ways() -> None:
    usual, other = twins("both")
    sites = other.anatomy.layers[0].attention_sites
    assert [(site.by_name, site.n_heads) for site in sites] == [(True, 2), (False, 2)]
    pattern = other.trace(IDS).pattern(0)
    assert pattern.shape[0] == 4
    assert torch.equal(pattern[:2], usual.trace(IDS).pattern(0))
    assert not torch.equal(pattern[2:], pattern[:2])


def test_it_is_as_before_afterwards() -> None:
    before = functional.scaled_dot_product_attention
    model = HookedModel(tiny.tiny("llama"))
    during: list[object] = []
    handle = model.hf_model.model.layers[0].register_forward_hook(
        lambda *_: during.append(functional.scaled_dot_product_attention)
    )
    model.trace(tiny.ids(5))
    handle.remove()
    assert during[0] is not before
    assert functional.scaled_dot_product_attention is before
    with pytest.raises(RuntimeError, match="size"):
        listened([torch.ones(1, 2, 5, 4), torch.ones(1, 2, 5, 3), torch.ones(1, 2, 5, 4)])
    assert functional.scaled_dot_product_attention is before


def test_what_others_put_there_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(*args: Any, **kwargs: Any) -> torch.Tensor:
        return held(*args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", held)
    with hearing_fused_attention(lambda *_: None):
        functional.scaled_dot_product_attention = theirs
    assert functional.scaled_dot_product_attention is theirs
    # And is heard from then on.
    assert len(listened(arguments())) == 1
    assert functional.scaled_dot_product_attention is theirs


def test_a_call_through_what_was_put_around_a_replacement_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "scaled_dot_product_attention", held)
    with hearing_fused_attention(lambda *_: None):
        replaced = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = lambda *args, **kwargs: replaced(*args, **kwargs)
    assert functional.scaled_dot_product_attention is not replaced
    assert len(listened(arguments())) == 1


def test_threads_hear_their_own_calls_only() -> None:
    before, all_listen, leave = functional.scaled_dot_product_attention, Barrier(3), {2: Event(), 3: Event()}
    heard: dict[int, list[int]] = {2: [], 3: []}

    def listen(n: int) -> None:
        with hearing_fused_attention(lambda *_: heard[n].append(n)):
            all_listen.wait()
            for _ in range(n):
                functional.scaled_dot_product_attention(*arguments())
            leave[n].wait()

    threads = {n: Thread(target=listen, args=(n,)) for n in heard}
    for thread in threads.values():
        thread.start()
    all_listen.wait()
    for n, thread in threads.items():
        # The one that came first may leave first, or the other.
        assert functional.scaled_dot_product_attention is not before
        functional.scaled_dot_product_attention(*arguments())
        leave[n].set()
        thread.join()
    assert heard == {2: [2, 2], 3: [3, 3, 3]}
    assert functional.scaled_dot_product_attention is before


def test_who_listens_inside_is_told_too() -> None:
    outer: list[int] = []
    with hearing_fused_attention(lambda *_: outer.append(1)):
        assert len(listened(arguments())) == 1
        assert outer == [1]
        functional.scaled_dot_product_attention(*arguments(), is_causal=True)
    functional.scaled_dot_product_attention(*arguments())
    assert outer == [1, 1]
