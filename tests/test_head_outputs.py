"""What each head reads and adds, against hooks on plain transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers

import layerwidget as lw
from layerwidget.model import head_writing as head_writing_module
from layerwidget.model.continuation import Continuation
from layerwidget.model.frozen_norm import frozen_norm
from layerwidget.model.head_writing import head_writing
from layerwidget.model.hooked_model import HookedModel
from tests import tiny
from tests.test_continuation import edits

#: The module through which heads write, as its authors call it; `{}` is the layer.
PROJECTION = {
    "llama": "model.layers.{}.self_attn.o_proj",
    "gpt2": "transformer.h.{}.attn.c_proj",
    "gpt_neox": "gpt_neox.layers.{}.attention.dense",
    "gpt_neox_sequential": "gpt_neox.layers.{}.attention.dense",
    "gemma3": "model.layers.{}.self_attn.o_proj",
    "granite": "model.layers.{}.self_attn.o_proj",
    "falcon": "transformer.h.{}.self_attention.dense",
    "opt": "model.decoder.layers.{}.self_attn.out_proj",
    "mixtral": "model.layers.{}.self_attn.o_proj",
    "jamba": "model.layers.{}.self_attn.o_proj",
    "bert": "bert.encoder.layer.{}.attention.output.dense",
}
#: Their attention is not one fused operation, so values are not kept.
NOT_FUSED = ("gemma2", "gpt_oss")


def seen_by_hand(model: Any, path: str, token_ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """What plain transformers gives to a module and gets from it, shapes [pos, d]."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = model.get_submodule(path).register_forward_hook(
        lambda module, args, out: seen.append((args[0][0].clone(), out[0].clone()))
    )
    tiny.plain_output(model, token_ids)
    handle.remove()
    return seen[0]


def matrix_by_hand(model: Any, path: str) -> torch.Tensor:
    """W_O, shape [n_heads * d_head, d_model]."""
    module = model.get_submodule(path)
    weight: torch.Tensor = module.weight.detach()
    return weight if type(module).__name__ == "Conv1D" else weight.T


@pytest.mark.parametrize("kind", PROJECTION)
@pytest.mark.parametrize("n_pos", [1, 13])
def test_heads_are_those_of_plain_transformers(kind: str, n_pos: int) -> None:
    model = tiny.hooked(kind)
    trace = model.trace(tiny.ids(n_pos))
    assert trace.attention_layers
    for layer in trace.attention_layers:
        path = PROJECTION[kind].format(layer)
        part = model.anatomy.layers[layer].attention
        assert part is not None
        assert part.projection == f"{path}.weight"
        read, raw = seen_by_hand(model.hf_model, path, tiny.ids(n_pos))
        expected = read.unflatten(-1, (tiny.N_HEADS, -1)).movedim(1, 0)
        outputs = trace.head_outputs(layer)
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
        writing = head_writing(trace, layer, outputs)
        blocks = matrix_by_hand(model.hf_model, path).unflatten(0, (tiny.N_HEADS, -1))
        written = writing.raw(outputs)
        torch.testing.assert_close(written, expected @ blocks, atol=1e-4, rtol=1e-5)
        # The golden rule, before and after a post-norm and a multiplier.
        scale = raw.abs().max()
        assert (written.sum(0) + writing.bias - raw).abs().max() <= 1e-5 * scale
        added = trace.activations["attn_out"][layer]
        total = writing.added(written).sum(0) + writing.constant
        assert (total - added).abs().max() <= 1e-5 * added.abs().max()


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bert"])
def test_one_row_is_that_of_all(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(9))
    for position in (0, 4, 8):
        weights, values = trace.head_row(1, position)
        width = weights.shape[-1]
        torch.testing.assert_close(weights, trace.pattern(1)[:, position, :width])
        assert not trace.pattern(1)[:, position, width:].any()
        torch.testing.assert_close(values, trace.head_values(1)[:, :width])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3", "falcon", "granite", "bert"])
def test_edits_give_what_fresh_passes_give(kind: str) -> None:
    model = tiny.hooked(kind)
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(12, 5)))
    going.prepare()
    for prompt in edits(10, seed=5):
        spliced, fresh = going.trace(model.tokenize(prompt)), model.trace(prompt)
        for layer in fresh.attention_layers:
            outputs = spliced.head_outputs(layer)
            torch.testing.assert_close(outputs, fresh.head_outputs(layer), atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(spliced.head_values(layer), fresh.head_values(layer), atol=2e-5, rtol=1e-4)
            for position in (0, len(prompt) // 2, len(prompt) - 1):
                weights, values = spliced.head_row(layer, position)
                one = torch.einsum("hk,hkd->hd", weights, values)
                torch.testing.assert_close(one, outputs[:, position], atol=2e-5, rtol=1e-4)
            head_writing(spliced, layer, outputs)


def test_an_edit_holds_keys_and_values_once() -> None:
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(9)))
    going.prepare()
    trace: Any = going.trace(model.tokenize([*tiny.ids(9), 7]))
    first, last = (part.sources[0] for part in trace.patterns[1].parts)
    assert first.value.data_ptr() == last.value.data_ptr()
    assert first.key.data_ptr() == last.key.data_ptr()


@pytest.mark.parametrize("kind", NOT_FUSED)
def test_what_is_not_fused_is_refused(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(5))
    for asked in (trace.head_outputs, trace.head_values, lambda layer: trace.head_row(layer, 2)):
        with pytest.raises(lw.MissingComponentError, match="not one fused operation"):
            asked(0)
    with pytest.raises(lw.MissingComponentError, match="no attention weights"):
        tiny.hooked("mamba").trace(tiny.ids(5)).head_outputs(0)


def test_half_precision_is_held_to_its_own_rounding() -> None:
    model = HookedModel(tiny.tiny("gemma3").bfloat16())
    trace = model.trace(tiny.ids(7))
    outputs = trace.head_outputs(1)
    assert outputs.dtype == torch.float32
    assert head_writing(trace, 1, outputs).W_O.dtype == torch.float32


def _without_bias(model: HookedModel) -> None:
    # The trace was made with it: what is summed up afterwards lacks it.
    model.hf_model.get_submodule("model.layers.1.self_attn.o_proj").bias.data.zero_()  # type: ignore[union-attr]


def _other_factor(model: HookedModel) -> None:
    layers = list(model.anatomy.layers)
    parts = tuple(replace(part, factors=()) if part.kind == "attention" else part for part in layers[1].parts)
    layers[1] = replace(layers[1], parts=parts)
    model.anatomy = replace(model.anatomy, layers=tuple(layers))


def _other_matrix(model: HookedModel) -> None:
    layers = list(model.anatomy.layers)
    path = "model.layers.2.self_attn.o_proj.weight"
    parts = tuple(replace(part, projection=path) if part.kind == "attention" else part for part in layers[1].parts)
    layers[1] = replace(layers[1], parts=parts)
    model.anatomy = replace(model.anatomy, layers=tuple(layers))


@pytest.mark.parametrize(
    ("kind", "damage"), [("llama", _without_bias), ("granite", _other_factor), ("llama", _other_matrix)]
)
def test_what_does_not_add_up_is_refused(kind: str, damage: Any) -> None:
    model = HookedModel(tiny.tiny(kind))
    whole = model.trace(tiny.ids(7))
    damage(model)
    trace = lw.Trace(model, whole.tokens, whole.logits, whole.activations, whole.patterns, ledgers=whole.ledgers)
    with pytest.raises(lw.MissingComponentError, match="sum to something else than the layer adds"):
        head_writing(trace, 1, trace.head_outputs(1))


def test_a_missing_head_is_noticed() -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(7))
    outputs = trace.head_outputs(1)
    outputs[2] = 0
    with pytest.raises(lw.MissingComponentError, match="sum to something else"):
        head_writing(trace, 1, outputs)
    with pytest.raises(lw.MissingComponentError, match="side by side"):
        head_writing(trace, 1, outputs[1:])


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is proved: the type of the module, once for each proof."""
    found: list[str] = []
    proved = head_writing_module._is_transposed

    def told(module: Any, *given: Any) -> Any:
        found.append(type(module).__name__)
        return proved(module, *given)

    monkeypatch.setattr(head_writing_module, "_is_transposed", told)
    return found


def test_a_projection_is_proved_once(proofs: list[str]) -> None:
    model = HookedModel(tiny.tiny("llama"))
    for prompt in (tiny.ids(7), tiny.ids(5, 2)):
        trace = model.trace(prompt)
        for layer in range(tiny.N_LAYERS):
            head_writing(trace, layer, trace.head_outputs(layer))
    assert len(proofs) == tiny.N_LAYERS
    # Another model has proofs of its own.
    other = HookedModel(tiny.tiny("llama")).trace(tiny.ids(5))
    head_writing(other, 0, other.head_outputs(0))
    assert len(proofs) == tiny.N_LAYERS + 1


def _in_place(module: Any) -> None:
    with torch.no_grad():
        module.weight.mul_(2)


def _another_tensor(module: Any) -> None:
    module.weight = torch.nn.Parameter(2 * module.weight.detach())


def _another_storage(module: Any) -> None:
    module.weight.data = 2 * module.weight.detach()


@pytest.mark.parametrize("change", [_in_place, _another_tensor, _another_storage])
def test_changed_weights_are_proved_again(change: Any, proofs: list[str]) -> None:
    model = HookedModel(tiny.tiny("llama"))
    path = PROJECTION["llama"].format(1)

    def written() -> torch.Tensor:
        trace = model.trace(tiny.ids(7))
        return head_writing(trace, 1, trace.head_outputs(1)).W_O

    before = written().clone()
    written()
    assert len(proofs) == 1
    change(model.hf_model.get_submodule(path))
    torch.testing.assert_close(written(), 2 * before)
    assert len(proofs) == 2


def test_a_projection_that_turned_round_is_proved_again() -> None:
    """What was proved of a matrix that reads the same either way does not hold for another one."""
    config = transformers.LlamaConfig(
        vocab_size=tiny.D_VOCAB, hidden_size=40, intermediate_size=52, num_hidden_layers=2, num_attention_heads=4,
    )  # fmt: skip
    hf_model = transformers.LlamaForCausalLM(config).eval()
    weight = hf_model.get_submodule("model.layers.1.self_attn.o_proj").weight
    model = HookedModel(hf_model)
    for numbers in (torch.eye(40), torch.randn(40, 40, generator=torch.Generator().manual_seed(0))):
        with torch.no_grad():
            weight.copy_(numbers)
        trace = model.trace(tiny.ids(7))
        writing = head_writing(trace, 1, trace.head_outputs(1))
        torch.testing.assert_close(writing.W_O.flatten(0, 1), numbers.T)


def test_weights_whose_changes_are_not_counted_are_proved_every_time(proofs: list[str]) -> None:
    model = HookedModel(tiny.tiny("llama"))
    module: Any = model.hf_model.get_submodule(PROJECTION["llama"].format(1))
    with torch.inference_mode():
        module.weight = torch.nn.Parameter(module.weight.detach().clone(), requires_grad=False)
    trace = model.trace(tiny.ids(7))
    for _ in range(2):
        head_writing(trace, 1, trace.head_outputs(1))
    assert len(proofs) == 2


@pytest.mark.parametrize("width", [8, 9])
def test_a_norm_is_told_by_what_it_does(width: int) -> None:
    torch.manual_seed(0)
    rows = 3 * torch.randn(5, width) + 1
    layer_norm, rms_norm = torch.nn.LayerNorm(width, eps=1e-3), torch.nn.RMSNorm(width, eps=1e-3)
    for module in (layer_norm, rms_norm):
        for weight in module.parameters():
            weight.data = torch.randn(width)
    for module, centred in ((layer_norm, True), (rms_norm, False)):
        with torch.no_grad():
            frozen = frozen_norm(module, rows)
            assert frozen is not None
            assert frozen.centred == centred
            split = torch.stack([0.3 * rows, 0.7 * rows - 2, torch.full_like(rows, 2.0)])
            torch.testing.assert_close(frozen.linear(split).sum(0) + frozen.bias, module(rows), atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert frozen_norm(torch.tanh, rows) is None
        assert frozen_norm(lambda vectors: layer_norm(vectors).relu(), rows) is None
