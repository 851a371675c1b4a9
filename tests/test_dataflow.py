"""The data-flow graph: who was computed from whom, through views and writes in place."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from layerwidget.model.dataflow import DataFlow
from layerwidget.model.paths import show, tensor_at, tensors_in, with_tensor_at
from layerwidget.model.stream import StreamForm


def test_writing_in_place_makes_a_new_value_of_every_view() -> None:
    with torch.no_grad(), DataFlow() as flow:
        a = torch.ones(2, 3)
        row = a[0]
        before = flow.node_of(a), flow.node_of(row)
        row += 1
        after = flow.node_of(a), flow.node_of(row)
    assert set(before) <= flow.overwritten
    assert not set(after) & flow.overwritten
    assert flow.nodes[after[0]].parents == (before[0], after[1])


def test_an_alias_has_the_same_node() -> None:
    with torch.no_grad(), DataFlow() as flow:
        a = torch.ones(2) + 1
        assert flow.node_of(a.detach()) == flow.node_of(a) or flow.nodes[flow.node_of(a.detach())].moves


def test_sums_and_products_keep_their_scales() -> None:
    x, y = torch.ones(2), torch.ones(2)
    with torch.no_grad(), DataFlow() as flow:
        total = flow.nodes[flow.node_of(torch.add(x, y, alpha=0.5))]
        moved = flow.nodes[flow.node_of(x[None])]
    assert (total.adds, total.scale, total.parents) == (True, 0.5, (flow.node_of(x), flow.node_of(y)))
    assert moved.moves


def test_paths_lead_to_tensors_and_back() -> None:
    a, b, c = torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)
    nested = {"out": (a, [b, None]), "n": 3}
    assert [(path, float(tensor)) for path, tensor in tensors_in(nested)] == [(("out", 0), 0), (("out", 1, 0), 1)]
    changed = with_tensor_at(nested, ("out", 1, 0), c)
    assert tensor_at(changed, ("out", 1, 0)) is c
    assert tensor_at(nested, ("out", 1, 0)) is b
    assert tensor_at(changed, ("out", 0)) is a
    assert show(("out", 1, 0)) == "out[1][0]"


def test_a_path_that_leads_to_no_tensor() -> None:
    with pytest.raises(LookupError, match=r"Expected a tensor at out\[0\], got int"):
        tensor_at({"out": (3,)}, ("out", 0))


@pytest.mark.parametrize("shape", [(2, 7, 5), (7, 2, 5), (14, 5)])
def test_streams_and_rows(shape: tuple[int, ...]) -> None:
    layout = StreamForm(n_batch=2, n_pos=7, n_rows=7).layout(shape)
    assert layout is not None
    rows = torch.arange(15.0).view(3, 5)
    assert torch.equal(layout.rows(layout.stream(rows)), rows)
    assert layout.stream(rows).dim() == len(shape)


@pytest.mark.parametrize("shape", [(2, 7, 3, 5), (3, 2, 7, 5)])
def test_several_streams_side_by_side(shape: tuple[int, ...]) -> None:
    layout = StreamForm(n_batch=2, n_pos=7, n_rows=7, parallel=True).layout(shape)
    assert layout is not None
    assert layout.d_model == 15
    rows = torch.arange(60.0).view(4, 15)
    stream = layout.stream(rows)
    assert stream.shape == ((1, 4, 3, 5) if shape[0] == 2 else (3, 1, 4, 5))
    assert torch.equal(layout.rows(stream), rows)


@pytest.mark.parametrize(("place", "first"), [("start", 0), ("end", 5), ("second", 3)])
def test_positions_among_more_rows(place: str, first: int) -> None:
    layout = StreamForm(n_batch=2, n_pos=7, n_rows=12).layout((2, 12, 5))
    assert layout is not None
    assert [one.place for one in layout.candidates()] == ["start", "end", "second"]
    layout = replace(layout, place=place)
    padded = torch.arange(40.0).view(1, 8, 5)
    assert torch.equal(layout.rows(padded, 3), padded[0, first : first + 3])
    changed = layout.stream(torch.zeros(3, 5), like=padded)
    assert not changed[0, first : first + 3].any()
    assert torch.equal(changed[0, :first], padded[0, :first])
    assert torch.equal(changed[0, first + 3 :], padded[0, first + 3 :])


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 1), (1, 7, 5), (2, 4, 7, 5), ()])
def test_shapes_that_are_no_stream(shape: tuple[int, ...]) -> None:
    assert StreamForm(n_batch=2, n_pos=7, n_rows=7).layout(shape) is None
