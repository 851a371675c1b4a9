"""The residual stream against plain transformers, with hooks and sums written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.ledger import Added, Normed, ledger_error, ledger_errors
from tests import tiny
from tests.toy import toy

#: Kind -> what is added in layer `{}`: component, module, factor.
BY_HAND: dict[str, list[tuple[str, str, float]]] = {
    "llama": [("attn_out", "model.layers.{}.self_attn", 1), ("mlp_out", "model.layers.{}.mlp", 1)],
    "gpt2": [("attn_out", "transformer.h.{}.attn", 1), ("mlp_out", "transformer.h.{}.mlp", 1)],
    "gpt_neox": [("attn_out", "gpt_neox.layers.{}.attention", 1), ("mlp_out", "gpt_neox.layers.{}.mlp", 1)],
    "gemma3": [
        ("attn_out", "model.layers.{}.post_attention_layernorm", 1),
        ("mlp_out", "model.layers.{}.post_feedforward_layernorm", 1),
    ],
    "granite": [("attn_out", "model.layers.{}.self_attn", 0.6), ("mlp_out", "model.layers.{}.mlp", 0.6)],
    "mamba": [("mixer_out", "backbone.layers.{}.mixer", 1)],
}


@contextmanager
def listening(hf_model: Any, paths: list[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Path -> what enters (`path<`) and leaves a module, shape [pos, d_model]; nothing of layerwidget is used."""
    heard: dict[str, torch.Tensor] = {}

    def listen(path: str) -> Callable[..., None]:
        def hook(_module: Any, args: Any, kwargs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            heard[path] = output.reshape(-1, output.shape[-1]).clone()
            entered = args[0] if args else kwargs.get("hidden_states")
            heard[f"{path}<"] = entered.reshape(-1, entered.shape[-1]).clone() if entered is not None else None

        return hook

    handles = [hf_model.get_submodule(path).register_forward_hook(listen(path), with_kwargs=True) for path in paths]
    yield heard
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("kind", BY_HAND)
def test_every_number_against_sums_by_hand(kind: str) -> None:
    hf_model, token_ids = tiny.tiny(kind), tiny.ids(5)
    grid = lw.ResidualStream().run(lw.HookedModel(hf_model).trace(token_ids))
    stack = BY_HAND[kind][0][1].partition(".{}")[0]
    layers = [f"{stack}.{number}" for number in range(tiny.N_LAYERS)]
    with listening(hf_model, [*layers, *(p.format(n) for _, p, _ in BY_HAND[kind] for n in range(3))]) as heard:
        tiny.plain_output(hf_model, token_ids)
    entered, left = (torch.stack([heard[path + end] for path in layers]) for end in ("<", ""))
    assert grid.components == ("resid_pre", *(name for name, _, _ in BY_HAND[kind]), "resid_post")
    np.testing.assert_allclose(grid.norm("resid_pre"), entered.norm(dim=-1), rtol=1e-5)
    np.testing.assert_allclose(grid.norm("resid_post"), left.norm(dim=-1), rtol=1e-5)
    total = entered.clone()
    for name, path, factor in BY_HAND[kind]:
        added = factor * torch.stack([heard[path.format(n)] for n in range(tiny.N_LAYERS)])
        np.testing.assert_allclose(grid.norm(name), added.norm(dim=-1), rtol=1e-5)
        total += added
    assert ((total - left).abs().amax(-1) <= 1e-5 * left.abs().amax(-1)).all(), "the reference itself is wrong"
    cosine = torch.nn.functional.cosine_similarity
    np.testing.assert_allclose(grid.cos_previous, cosine(entered, left, dim=-1), atol=1e-5)
    np.testing.assert_allclose(grid.cos_final, cosine(left, left[-1:], dim=-1), atol=1e-5)
    np.testing.assert_allclose(grid.cos_final[-1], 1, atol=1e-6)
    assert grid.error.shape == (tiny.N_LAYERS, 5)


@pytest.mark.parametrize("kind", [*tiny.CORE, *tiny.EXTRA, "mamba", "jamba"])
@pytest.mark.parametrize("layers", ["all", "1-2", "0"])
def test_input_plus_additions_is_output(kind: str, layers: str) -> None:
    grid = lw.ResidualStream(layers).run(tiny.hooked(kind).trace(tiny.ids(7)))
    assert set(grid.forms) == {"sum"}
    assert grid.error.max() <= 1e-5
    assert grid.range_error is not None
    assert grid.range_error.shape == (7,)
    assert grid.range_error.max() <= 1e-5
    assert grid.range_reason == ""


def test_the_range_is_one_sum() -> None:
    """x_{b+1} - x_a, with the additions summed by themselves."""
    trace = tiny.hooked("gpt2").trace(tiny.ids(6))
    added = (trace.attn_out + trace.mlp_out)[1:3].sum(0)
    left = trace.resid_post[2]
    by_hand = (trace.resid_pre[1] + added - left).abs().amax(-1) / left.abs().amax(-1)
    found = lw.ResidualStream("1-2").run(trace).range_error
    assert found is not None
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


Ledger = tuple[Any, ...]


def _drop_addition(_trace: lw.Trace, _layer: int, ledger: Ledger) -> Ledger:
    return ledger[:-1]


def _drop_bias(trace: lw.Trace, layer: int, ledger: Ledger) -> Ledger:
    bias = trace.model.hf_model.get_submodule(f"model.layers.{layer}.self_attn.o_proj").bias.detach()
    return (Added(ledger[0].kind, ledger[0].value - bias), *ledger[1:])


def _drop_scale(_trace: lw.Trace, _layer: int, ledger: Ledger) -> Ledger:
    return tuple(Added(entry.kind, entry.value / 0.6) for entry in ledger)


@pytest.mark.parametrize(
    ("kind", "mutation"),
    [("llama", _drop_addition), ("mamba", _drop_addition), ("llama", _drop_bias), ("granite", _drop_scale)],
)
def test_what_is_forgotten_is_seen(kind: str, mutation: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch) -> None:
    trace, right = tiny.hooked(kind).trace(tiny.ids(5)), lw.Trace.ledger
    monkeypatch.setattr(
        lw.Trace,
        "ledger",
        lambda self, layer: mutation(self, layer, right(self, layer)) if layer == 1 else right(self, layer),
    )
    grid = lw.ResidualStream().run(trace)
    assert (grid.error[1] > 1e-3).all()
    assert grid.error[[0, 2]].max() <= 1e-5
    assert grid.range_error is not None
    assert (grid.range_error > 1e-3).all()
    below = lw.ResidualStream("0").run(trace).range_error
    assert below is not None
    assert below.max() <= 1e-5


def test_the_error_is_a_share_of_the_position_it_is_at() -> None:
    entered = torch.tensor([[1.0, 2.0], [100.0, 0.0]])
    left = entered + torch.tensor([[0.0, 0.5], [0.0, 0.5]])
    torch.testing.assert_close(ledger_errors(entered, (), left), torch.tensor([0.5 / 2.5, 0.5 / 100]))
    assert ledger_error(entered, (), left) == pytest.approx(0.5 / 100)
    # A norm that read something else than the stream is wrong, whatever comes after it.
    astray = (Normed(entered + torch.tensor([[0.0, 2.0], [0.0, 0.0]]), left),)
    torch.testing.assert_close(ledger_errors(entered, astray, left), torch.tensor([2.0 / 4.0, 0.0]))


def test_other_forms_are_measured_and_named() -> None:
    bert = lw.ResidualStream().run(tiny.hooked("bert").trace(tiny.ids(5)))
    assert bert.forms == ("post-norm",) * tiny.N_LAYERS
    assert bert.error.max() <= 1e-5
    assert bert.range_error is None
    assert "layer 0 is not its input plus what it adds: the stream itself passes through a norm" in bert.range_reason
    decay = lw.ResidualStream("1-2").run(lw.HookedModel(toy(habit="decay")).trace(tiny.ids(5)[:1] * 4))
    assert decay.forms == ("scaled", "scaled")
    assert decay.error.max() <= 1e-5
    assert decay.range_error is None
    assert "layer 1" in decay.range_reason
    assert "scaled" in decay.range_reason
    rebuilt = lw.ResidualStream().run(lw.HookedModel(toy(habit="rebuilt")).trace([5, 7, 9]))
    assert rebuilt.forms == ("unknown",) * 3
    assert np.isnan(rebuilt.error).all()
    assert rebuilt.components == ("resid_pre", "resid_post")
    assert "not known" in rebuilt.range_reason


def test_layers_that_do_not_follow_each_other() -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(5))
    apart, whole = lw.ResidualStream("0,2").run(trace), lw.ResidualStream().run(trace)
    assert (apart.layers, apart.range_error) == ((0, 2), None)
    assert "0,2 do not follow each other" in apart.range_reason
    np.testing.assert_array_equal(apart.norms, whole.norms[:, [0, 2]])
    np.testing.assert_array_equal(apart.cos_final, whole.cos_final[[0, 2]])


def test_layers_without_a_part_have_no_norm_of_it() -> None:
    grid = lw.ResidualStream().run(tiny.hooked("jamba").trace(tiny.ids(5)))
    np.testing.assert_array_equal(np.isnan(grid.norm("attn_out")).all(axis=1), [True, False, True, False])
    np.testing.assert_array_equal(np.isnan(grid.norm("mixer_out")).all(axis=1), [False, True, False, True])
    assert np.isfinite(grid.norm("mlp_out")).all()
    with pytest.raises(lw.MissingComponentError, match="add no 'cross_attn_out'"):
        grid.norm("cross_attn_out")
    with pytest.raises(lw.SelectionError, match="9 is out of range"):
        lw.ResidualStream("9").run(tiny.hooked("llama").trace([1]))


@pytest.mark.parametrize("kind", tiny.TWO_STACKS)
def test_both_stacks_of_an_encoder_decoder(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(7), target=tiny.ids(5))
    decoder, encoder = (lw.ResidualStream().run(trace.stack(name)) for name in ("decoder", "encoder"))
    np.testing.assert_allclose(decoder.norm("cross_attn_out"), trace.cross_attn_out.norm(dim=-1), rtol=1e-5)
    assert "cross_attn_out" not in encoder.components
    assert decoder.error.shape == (tiny.N_LAYERS, 5)
    assert encoder.error.shape == (2, 7)
    assert max(decoder.error.max(), encoder.error.max()) <= 1e-5


def test_a_skipped_layer_adds_nothing() -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(5), interventions=(lw.SkipLayers(1),))
    grid = lw.ResidualStream().run(trace)
    assert not grid.norm("attn_out")[1].any()
    np.testing.assert_allclose(grid.cos_previous[1], 1, atol=1e-6)
    assert grid.range_error is not None
    assert grid.range_error.max() <= 1e-5


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bert"])
def test_live_goes_on_from_the_first_changed_token(kind: str) -> None:
    model, prompt = tiny.hooked(kind), tiny.ids(12)
    live, question = lw.Live(model), lw.ResidualStream("0-1")
    live.update(prompt, question)
    for edited in ([*prompt[:8], 9, 11], prompt[:5], [*prompt, 17]):
        (found,) = live.update(edited, question)
        expected = question.run(model.trace(edited))
        for name in ("norms", "cos_previous", "cos_final"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
        assert found.error.shape == expected.error.shape
        assert found.error.max() <= 1e-5
        assert (found.range_error is None) == (kind == "bert")


def test_data_out() -> None:
    grid = lw.ResidualStream("1-2").run(tiny.hooked("llama").trace(tiny.ids(5)))
    frame = grid.to_pandas()
    assert len(frame) == 2 * 5
    cell = frame[(frame.layer == 2) & (frame.pos == 3)].iloc[0]
    assert cell.norm_mlp_out == grid.norm("mlp_out")[1, 3]
    assert cell.cos_final == grid.cos_final[1, 3]
    data = grid.to_xarray()
    assert float(data.norms.sel(component="attn_out", layer=2, pos=3)) == grid.norm("attn_out")[1, 3]
    assert data.range_error.shape == (5,)
    with pytest.raises(ValueError, match="read-only"):
        grid.norms[0, 0, 0] = 1


def test_the_demo_model_on_a_hold_out_prompt(demo_model: lw.HookedModel) -> None:
    trace = demo_model.trace("In 1969, the first man on the")
    grid = lw.ResidualStream().run(trace)
    with torch.no_grad():
        states = demo_model.hf_model(torch.tensor(trace.tokens.ids)[None], output_hidden_states=True).hidden_states
    plain = torch.stack(states[:-1])[:, 0]  # the last hidden state is normed already
    np.testing.assert_allclose(grid.norm("resid_pre"), plain.norm(dim=-1), rtol=1e-4)
    cosines = torch.nn.functional.cosine_similarity(plain[:-1], plain[1:], dim=-1)
    np.testing.assert_allclose(grid.cos_previous[:-1], cosines, atol=1e-5)
    assert grid.error.max() <= 1e-5
    assert grid.range_error is not None
    assert grid.range_error.max() <= 1e-5
