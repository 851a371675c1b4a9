"""The parts of a model are found by structure and proved on another prompt; what cannot be found is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import transformers

from layerwidget.errors import MissingComponentError, StructureError
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.patterns import FusedAttention
from layerwidget.model.running import inference
from layerwidget.model.verify import verified
from tests import tiny, toy

Change = Callable[[transformers.PreTrainedModel], None]


@pytest.mark.parametrize("kind", [*tiny.CORE, *tiny.EXTRA])
def test_every_layer_has_attention_and_ffn(kind: str) -> None:
    anatomy = tiny.hooked(kind).anatomy
    assert anatomy.n_layers == tiny.N_LAYERS
    assert anatomy.d_vocab == anatomy.n_embeddings == tiny.D_VOCAB
    assert anatomy.n_heads == tiny.N_HEADS
    assert anatomy.causal is True
    for layer in anatomy.layers:
        assert [part.kind for part in layer.parts] == ["attention", "mlp"] or layer.parallel
        assert layer.attention is not None
        assert layer.mlp is not None
        assert layer.trouble == ""


@pytest.mark.parametrize(
    ("kind", "module", "attention", "mlp", "final_norm", "head"),
    [
        ("llama", "model.layers.1", "self_attn[0]", "mlp", "model.norm", "lm_head"),
        ("gpt2", "transformer.h.1", "attn[0]", "mlp", "transformer.ln_f", "lm_head"),
        ("gpt_neox", "gpt_neox.layers.1", "attention[0]", "mlp", "gpt_neox.final_layer_norm", "lm_head"),
        ("gemma3", "model.layers.1", "post_attention_layernorm", "post_feedforward_layernorm", "model.norm", "lm_head"),
        ("granite", "model.layers.1", "self_attn[0] * 0.6", "mlp * 0.6", "model.norm", "lm_head"),
        ("opt", "model.decoder.layers.1", "self_attn[0]", "fc2", "model.decoder.final_layer_norm", "lm_head"),
    ],
)
def test_modules_are_the_right_ones(
    kind: str, module: str, attention: str, mlp: str, final_norm: str, head: str
) -> None:
    anatomy = tiny.hooked(kind).anatomy
    layer = anatomy.layers[1]
    assert layer.module == module
    assert str(layer.attention) == f"{module}.{attention}"
    assert str(layer.mlp) == f"{module}.{mlp}"
    assert (anatomy.final_norm, anatomy.head) == (final_norm, head)


@pytest.mark.parametrize(
    ("kind", "n_kv_heads", "d_head"),
    [("llama", 2, 10), ("gpt2", 4, 11), ("gpt_neox", 4, 10), ("gemma3", 2, 12), ("falcon", 1, 10), ("gemma2", 2, 12)],
)
def test_heads_are_counted(kind: str, n_kv_heads: int, d_head: int) -> None:
    anatomy = tiny.hooked(kind).anatomy
    assert (anatomy.n_kv_heads, anatomy.d_head) == (n_kv_heads, d_head)


@pytest.mark.parametrize(("kind", "parallel"), [("gpt_neox", True), ("falcon", True), ("gpt_neox_sequential", False)])
def test_parallel_blocks_have_no_resid_mid(kind: str, parallel: bool) -> None:
    model = tiny.hooked(kind)
    trace = model.trace(tiny.ids(5))
    assert all(layer.parallel is parallel for layer in model.anatomy.layers)
    if parallel:
        with pytest.raises(MissingComponentError, match="run attention and FFN in parallel"):
            _ = trace.resid_mid
    else:
        assert trace.resid_mid.shape == (tiny.N_LAYERS, 5, 40)


def test_hybrid_holds_each_component_where_it_is() -> None:
    trace = tiny.hooked("jamba").trace(tiny.ids(5))
    assert trace.layers_with("attn_out") == trace.attention_layers == (1, 3)
    assert trace.layers_with("mlp_out") == trace.layers_with("resid_mid") == (0, 1, 2, 3)
    assert [layer.parts[0].kind for layer in trace.model.anatomy.layers] == ["mixer", "attention", "mixer", "attention"]


def test_a_model_without_attention_says_so() -> None:
    model = tiny.hooked("mamba")
    trace = model.trace(tiny.ids(5))
    assert model.anatomy.n_heads == 0
    assert model.anatomy.causal is None
    assert "no attention" in repr(model.anatomy)
    with pytest.raises(MissingComponentError, match="comes from attention"):
        _ = trace.attn_out
    with pytest.raises(MissingComponentError, match="has no attention weights"):
        trace.pattern(0)


def test_norms_on_the_stream_are_found_and_the_parts_between_them() -> None:
    model = tiny.hooked("bert")
    trace = model.trace(tiny.ids(5))
    assert model.anatomy.causal is False
    assert model.anatomy.why_absent("attn_out") == ""
    torch.testing.assert_close(model.tail(trace.resid_post[-1]), trace.logits)
    norms = [[passage.module.rpartition("layer.")[2] for passage in layer.passages] for layer in model.anatomy.layers]
    assert norms[1] == ["1.attention.output.LayerNorm", "1.output.LayerNorm"]
    for layer, bert in enumerate(model.hf_model.bert.encoder.layer):
        middle = bert.attention.output.LayerNorm(trace.resid_pre[layer] + trace.attn_out[layer])
        torch.testing.assert_close(trace.resid_mid[layer], middle)
        torch.testing.assert_close(trace.resid_post[layer], bert.output.LayerNorm(middle + trace.mlp_out[layer]))


def test_a_layer_that_rebuilds_its_stream_has_no_parts_but_a_lens() -> None:
    model = HookedModel(toy.toy(habit="rebuilt"))
    trace = model.trace([1, 5, 2, 8, 3, 1])
    assert model.anatomy.why_absent("attn_out").startswith(" (in layer 0, the layer's output is not its input plus")
    assert model.anatomy.why_absent("resid_post") == ""
    torch.testing.assert_close(model.tail(trace.resid_post[-1]), trace.logits)


def test_table_has_a_line_for_every_run_of_like_layers() -> None:
    hf_model = tiny.tiny("llama")
    text = repr(HookedModel(hf_model, name="little llama").anatomy)
    n_params = sum(weight.numel() for weight in hf_model.model.layers[0].parameters())
    assert text.startswith("little llama: 3 layers, d_model 36, 4 heads (2 key/value) of width 10, d_vocab 101")
    assert text.splitlines()[-1].split() == [
        "0-2", "model.layers.0", "…", "model.layers.2", "pre-norm", "sequential", "self_attn[0]", "mlp",
        "gated,", "52", "neurons", f"{n_params:,}", "19,872", "160",
    ]  # fmt: skip
    hybrid = repr(HookedModel(tiny.tiny("jamba")).anatomy)
    assert [hybrid.count(f"model.layers.{layer} ") for layer in range(5)] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("habit", ["", "in place", "gain"])
@pytest.mark.parametrize("n_floors", [1, 3])
def test_models_with_nonsense_names(habit: str, n_floors: int) -> None:
    trace = HookedModel(toy.toy(habit=habit, n_floors=n_floors)).trace([1, 5, 2, 8, 3, 1])
    assert trace.model.anatomy.n_layers == n_floors
    total = trace.resid_pre + trace.attn_out + trace.mlp_out
    torch.testing.assert_close(total, trace.resid_post, rtol=1e-5, atol=1e-5)
    assert torch.equal(trace.resid_pre[1:], trace.resid_post[:-1])
    assert trace.model.anatomy.layers[0].mlp is not None
    assert trace.model.anatomy.layers[0].mlp.factors == ((0.5,) if habit == "gain" else ())


def test_a_module_that_is_called_three_times_is_three_layers() -> None:
    torch.manual_seed(0)
    trace = HookedModel(toy.Looped().eval()).trace([1, 5, 2, 8])
    assert [(layer.module, layer.call) for layer in trace.model.anatomy.layers] == [
        ("only", 0),
        ("only", 1),
        ("only", 2),
    ]
    torch.testing.assert_close(trace.resid_pre + trace.attn_out + trace.mlp_out, trace.resid_post)
    assert not torch.equal(trace.resid_post[0], trace.resid_post[1])


@pytest.mark.parametrize(("before", "place"), [(True, "end"), (False, "start")])
def test_rows_that_are_no_positions_take_a_share_of_attention(before: bool, place: str) -> None:
    torch.manual_seed(0)
    hf_model = toy.Fringe(before).eval()
    trace = HookedModel(hf_model).trace([1, 5, 2, 8, 3, 1])
    layer = trace.anatomy.layers[0]
    assert trace.anatomy.layout.place == place
    assert [part.kind for part in layer.parts] == ["attention", "mlp"]
    assert [(site.n_heads, site.padded, site.shares_rows) for site in layer.attention_sites] == [(2, True, True)]
    x = torch.cat([hf_model.rag, trace.resid_pre[0]] if before else [trace.resid_pre[0], hf_model.rag])
    q, k, _ = (
        part.unflatten(-1, (2, -1)).transpose(0, 1)
        for part in hf_model.house[0].p.three(hf_model.house[0].a(x)).chunk(3, -1)
    )
    scores = (q @ k.mT / 10**0.5).masked_fill(torch.ones(10, 10).triu(1).bool(), -torch.inf)
    here = slice(4, 10) if before else slice(0, 6)
    torch.testing.assert_close(trace.pattern(0), scores.softmax(-1)[:, here, here])


def test_mixing_without_attention_is_no_attention() -> None:
    anatomy = HookedModel(toy.toy(habit="shift")).anatomy
    assert [part.kind for part in anatomy.layers[0].parts] == ["mixer", "mlp"]


@pytest.mark.parametrize(("habit", "reason"), [("raw", "tanh"), ("twice", "the stream is added to itself")])
def test_what_is_no_plain_sum_is_absent(habit: str, reason: str) -> None:
    trace = HookedModel(toy.toy(habit=habit)).trace([1, 5, 2])
    with pytest.raises(MissingComponentError, match=reason):
        _ = trace.attn_out
    assert trace.attention_layers == (0, 1, 2)


def test_a_stream_that_is_scaled() -> None:
    trace = HookedModel(toy.toy(habit="decay")).trace([1, 5, 2])
    torch.testing.assert_close(0.9 * trace.resid_pre + trace.attn_out, trace.resid_mid)
    torch.testing.assert_close(trace.resid_mid + trace.mlp_out, trace.resid_post)


def test_a_model_without_layers() -> None:
    with pytest.raises(StructureError, match="No layer stack found"):
        HookedModel(toy.Flat())


def test_a_model_that_draws_random_numbers() -> None:
    with pytest.raises(StructureError, match="other logits with hooks on"):
        HookedModel(toy.toy(noise=True))


def test_a_model_that_returns_nan() -> None:
    hf_model = tiny.tiny("gpt2")
    hf_model.transformer.ln_f.bias.data[3] = torch.nan
    with pytest.raises(StructureError, match="returns NaN without any hooks"):
        HookedModel(hf_model)


def test_tokens_that_are_forbidden_with_minus_infinity() -> None:
    hf_model = toy.toy()
    hf_model.sky.bias.data[-4:] = -torch.inf
    trace = HookedModel(hf_model).trace([1, 2, 3])
    assert torch.equal(trace.model.tail(trace.resid_post[-1]), trace.logits)


def test_a_model_without_its_head() -> None:
    with pytest.raises(StructureError, match="AutoModelForCausalLM"):
        HookedModel(tiny.tiny("llama").model)


def test_a_model_that_returns_no_logits() -> None:
    config = transformers.BertConfig(
        vocab_size=53, hidden_size=44, intermediate_size=52, num_hidden_layers=2, num_attention_heads=4
    )
    with pytest.raises(StructureError, match="returns no logits"):
        HookedModel(transformers.BertForSequenceClassification(config))


# Mutations: a wrong structure has to fail the proof.


def _proof(model: HookedModel, anatomy: Anatomy) -> Anatomy:
    with inference(model.hf_model):
        return verified(model.hf_model, anatomy, model.n_ctx, model.tail)


def _drop_gain(mutant: transformers.PreTrainedModel) -> None:
    for name in ("model.norm", "transformer.ln_f", "gpt_neox.final_layer_norm"):
        if name in dict(mutant.named_modules()):
            torch.nn.init.ones_(mutant.get_submodule(name).weight)


def _drop_bias(mutant: transformers.PreTrainedModel) -> None:
    torch.nn.init.zeros_(mutant.transformer.ln_f.bias)


def _set_config(key: str, value: object) -> Change:
    return lambda mutant: setattr(mutant.config, key, value)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *((kind, _drop_gain) for kind in tiny.CORE),
        ("gpt2", _drop_bias),
        ("granite", _set_config("logits_scaling", 1.0)),
        ("gemma3", _set_config("final_logit_softcapping", None)),
    ],
)
def test_a_tail_that_lacks_something_fails_the_proof(kind: str, change: Change) -> None:
    model, mutant = tiny.hooked(kind), tiny.tiny(kind)
    change(mutant)
    wrong = HookedModel(mutant)
    with inference(model.hf_model), pytest.raises(StructureError, match="leads to other logits"):
        verified(model.hf_model, model.anatomy, model.n_ctx, wrong.tail)


def test_a_missing_last_layer_fails_the_proof() -> None:
    model = tiny.hooked("llama")
    with pytest.raises(StructureError, match=r"seemed to be model.layers.0 to model.layers.1"):
        _proof(model, replace(model.anatomy, layers=model.anatomy.layers[:-1]))


def test_hooks_that_never_fire_fail_the_proof() -> None:
    model = tiny.hooked("llama")
    layers = tuple(replace(layer, call=7) for layer in model.anatomy.layers)
    with pytest.raises(StructureError, match=r"layers \[0, 1, 2\] .* did not fire"):
        _proof(model, replace(model.anatomy, layers=layers))


def test_a_dropped_multiplier_makes_the_parts_absent() -> None:
    model = tiny.hooked("granite")
    layer = model.anatomy.layers[1]
    wrong = replace(layer, parts=(replace(layer.parts[0], factors=()), layer.parts[1]))
    proved = _proof(model, replace(model.anatomy, layers=(model.anatomy.layers[0], wrong, model.anatomy.layers[2])))
    assert "input plus parts is not its output (relative error" in proved.layers[1].trouble
    assert proved.layers[1].parts == ()
    assert proved.layers[0].parts


def test_a_wrong_scale_makes_the_attention_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    right = tiny.hooked("granite")
    assert all(layer.attention_site for layer in right.anatomy.layers)
    from_call = FusedAttention.from_call
    monkeypatch.setattr(
        FusedAttention, "from_call", lambda *args, **kwargs: replace(from_call(*args, **kwargs), scale=None)
    )
    wrong = HookedModel(tiny.tiny("granite"))
    assert not any(layer.attention_site for layer in wrong.anatomy.layers)
    assert wrong.trace(tiny.ids(4)).attention_layers == ()
