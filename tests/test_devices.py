"""Half precision, weights that are offloaded, quantised linear layers, compiled models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import layerwidget as lw
from tests import tiny

PROMPT = tiny.ids(9)


def _offloaded(kind: str, folder: Path, dtype: torch.dtype, away: str) -> Any:
    """The model as `from_pretrained(device_map=...)` gives it, with some of its modules on disk."""
    model = tiny.tiny(kind).to(dtype)
    model.save_pretrained(folder)
    names = [name for name, module in model.named_modules() if name and not isinstance(module, nn.ModuleList)]
    blocks = [name for name in names if name.rpartition(".")[2].isdigit() or name.count(".") == 1]
    blocks += [name for name in names if "." not in name and not any(other.startswith(f"{name}.") for other in names)]
    places = {name: "disk" if name.endswith(tuple(away.split())) else "cpu" for name in blocks if name.count(".") <= 2}
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, device_map=places, offload_folder=folder / "away", dtype=dtype
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "mixtral"])
def test_layers_on_disk(kind: str, tmp_path: Path) -> None:
    expected = tiny.hooked(kind).trace(PROMPT)
    hf_model = _offloaded(kind, tmp_path, torch.float32, ".1 .2")
    assert {weight.device.type for weight in hf_model.parameters()} == {"cpu", "meta"}
    model = lw.HookedModel(hf_model)
    trace = model.trace(PROMPT)
    for component in ("resid_pre", "attn_out", "mlp_out", "resid_post"):
        torch.testing.assert_close(trace.component(component), expected.component(component))
    torch.testing.assert_close(trace.logits, expected.logits)
    torch.testing.assert_close(model.tail(trace.resid_post[-1]), expected.logits)
    torch.testing.assert_close(trace.pattern(2), expected.pattern(2))
    assert [layer.device for layer in model.anatomy.layers] == ["cpu", "offloaded", "offloaded"]
    in_memory, away = (model.anatomy.layers[layer].mlp for layer in (0, 1))
    assert in_memory is not None
    assert away is not None
    assert (in_memory.feed_forward and in_memory.feed_forward.n_neurons) == (
        away.feed_forward and away.feed_forward.n_neurons
    )
    assert "fail" not in {grade.status for grade in lw.check(model).grades.values()}
    assert {weight.device.type for weight in hf_model.parameters()} == {"cpu", "meta"}


@pytest.mark.filterwarnings("ignore")
def test_a_half_precision_head_on_disk(tmp_path: Path) -> None:
    hf_model = _offloaded("llama", tmp_path, torch.bfloat16, "lm_head norm")
    assert hf_model.lm_head.weight.device.type == "meta"
    model = lw.HookedModel(hf_model)
    rows = model.trace(PROMPT).resid_post[-1]
    whole = tiny.tiny("llama").to(torch.bfloat16).float()
    with torch.no_grad():
        expected = whole.lm_head(whole.model.norm(rows.float()))
    torch.testing.assert_close(model.tail(rows), expected)
    assert hf_model.lm_head.weight.device.type == "meta"


class Quantised(nn.Module):
    """A linear layer with whole numbers and one scale for each output, as quantisers make them."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("whole", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x @ (self.whole.to(x.dtype) * self.scale).T
        return out if self.bias is None else out + self.bias


@pytest.mark.parametrize("kind", ["llama", "gemma2", "mixtral", "bert"])
def test_quantised_linear_layers(kind: str) -> None:
    hf_model = tiny.tiny(kind)
    for name, module in list(hf_model.named_modules()):
        if isinstance(module, nn.Linear) and ".layer" in name and "router" not in name:
            holder, _, attribute = name.rpartition(".")
            setattr(hf_model.get_submodule(holder), attribute, Quantised(module))
    assert any(isinstance(module, Quantised) for module in hf_model.modules())
    report = lw.check(lw.HookedModel(hf_model))
    assert {name: grade.status for name, grade in report.grades.items()} == dict.fromkeys(report.grades, "pass")


@pytest.mark.filterwarnings("ignore")
def test_compiled_models_run_uncompiled_and_say_so() -> None:
    hf_model = tiny.tiny("llama")
    expected = lw.HookedModel(hf_model).trace(PROMPT)
    whole = lw.HookedModel(torch.compile(hf_model, backend="eager"))
    parts = copy.deepcopy(hf_model)
    for layer in parts.model.layers:
        layer.compile(backend="eager")
    for model in (whole, lw.HookedModel(parts)):
        assert any("compiled" in note for note in model.notes)
        trace = model.trace(PROMPT)
        torch.testing.assert_close(trace.resid_post, expected.resid_post)
        assert torch.equal(trace.logits, expected.logits)
    assert lw.HookedModel(hf_model).notes == ()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["llama", "gemma3", "granite", "bert", "t5", "gpt_neox"])
def test_half_precision_has_an_fp32_lens(kind: str, dtype: torch.dtype) -> None:
    hf_model = tiny.tiny(kind).to(dtype)
    model = lw.HookedModel(hf_model)
    options = {"target": tiny.ids(4, seed=2)} if kind == "t5" else {}
    trace = model.trace(PROMPT, **options)
    assert trace.logits.dtype == dtype
    rows = trace.resid_post[-1]
    exact = lw.HookedModel(copy.deepcopy(hf_model).float())
    found = model.tail(rows)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact.tail(rows.float()), rtol=1e-4, atol=1e-4)
