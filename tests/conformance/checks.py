"""What is measured of one model: HookedModel against plain transformers, which knows nothing of layerwidget."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch.overrides import TorchFunctionMode

import layerwidget as lw
from layerwidget.model.capture import Capture
from layerwidget.model.paths import tensor_at
from layerwidget.trace import Trace
from tests.conformance.build import Entry, build, inputs, quiet, takes_target
from tests.conformance.shrink import D_VOCAB

CHECKS = ("built", "located", "lens", "residual", "attention", "skip", "clean")
PASS, FAIL, ABSENT = "pass", "fail", "n/a"

_N_POS = 11
_MAX_WORDS = 150
_LAYER_COUNTS = {"num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers", "num_decoder_layers"}


class DisagreementError(Exception):
    """A number is not what plain transformers says."""


class NotApplicableError(Exception):
    """There is nothing to check; the reason is evidence that was measured."""


@dataclass
class Row:
    """The result of one configuration.

    Attributes:
        name: `group/configuration`.
        model: name of the model's class.
        results: check -> `pass`, `fail` or `n/a`; `fail` too where an earlier check stopped it.
        why: check -> one line that says why it is not a pass.
    """

    name: str
    model: str
    results: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [check for check in CHECKS if self.results.get(check) == FAIL]


def check(one: Entry) -> Row:
    """Measure one configuration."""
    row = Row(one.name, one.model)
    subject = _Subject(one)
    for name in CHECKS:
        _measure(row, name, getattr(subject, name))
        if name in ("built", "located") and row.results[name] == FAIL and subject.trace is None:
            stopped(row, f"not {name}")
            break
    return row


def stopped(row: Row, why: str) -> None:
    """Let all checks that were not reached fail for the same reason."""
    for name in CHECKS:
        if name not in row.results:
            row.results[name] = FAIL
            row.why[name] = why


def one_line(error: BaseException) -> str:
    """The first line of an error, shortened."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    said = re.sub(r"^Class validation error.*", lambda match: _second_line(error) or match[0], said)
    text = said if isinstance(error, DisagreementError | NotApplicableError) else f"{type(error).__name__}: {said}"
    return text if len(text) <= _MAX_WORDS else text[: _MAX_WORDS - 1] + "…"


def _second_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else ""


def _measure(row: Row, name: str, what: Callable[[], None]) -> None:
    try:
        with quiet():
            what()
    except NotApplicableError as reason:
        row.results[name], row.why[name] = ABSENT, one_line(reason)
    except Exception as error:  # whatever a model raises is a row of the table
        row.results[name], row.why[name] = FAIL, one_line(error)
    else:
        row.results[name] = PASS


class _Subject:
    """One model under test."""

    model: transformers.PreTrainedModel
    hooked: lw.HookedModel
    before: torch.Tensor
    n_hooks: int

    def __init__(self, one: Entry) -> None:
        self.one = one
        self.ids = _ids(_N_POS, seed=5)
        self.target: torch.Tensor | None = None
        self.trace: Trace | None = None

    def built(self) -> None:
        """It can be built small, runs on token ids and returns finite numbers."""
        self.model = build(self.one)
        if takes_target(self.model) and "target" in inspect.signature(lw.HookedModel.trace).parameters:
            self.target = _ids(_N_POS - 2, seed=6)
        # Without `target=`, HookedModel calls an encoder-decoder with one prompt; a reference needs both.
        target = self.ids if takes_target(self.model) else None
        with torch.no_grad():
            logits = _logits(self.model(**inputs(self.model, self.ids, target)))
        if bool(logits.isnan().any()) or not bool(logits.isfinite().any()):
            raise DisagreementError("its own logits are not finite")
        if float(logits[logits.isfinite()].std()) < 1e-3:
            raise DisagreementError("its logits are all the same: too easy to be right about")
        self.n_hooks = _count_hooks(self.model)

    def located(self) -> None:
        """The stack is found, with as many layers, and the streams, that transformers itself says."""
        self.hooked = lw.HookedModel(self.model)
        # Transformers leaves hooks of its own behind when it is asked for more than logits: ask a copy.
        output = _run(copy.deepcopy(self.model), self.ids, self.target, output_hidden_states=True)
        self.before = _logits(self._plain())[0]
        if self.target is None:
            self.trace = self.hooked.trace(self.ids[0])
        else:
            self.trace = self.hooked.trace(self.ids[0], target=self.target[0])
        found, states = self.hooked.anatomy.n_layers, _hidden_states(output)
        expected = _n_layers(self.model.config)
        if len(states) != found + 1:
            if found != expected:
                raise DisagreementError(f"{found} layers found, the configuration says {expected}")
            return
        size = self.trace.activations["resid_pre"][0].numel()
        rows = [self.hooked.anatomy.layout.rows(state) for state in states if state.numel() == size]
        for layer in range(1, found):
            stream = self.trace.activations["resid_pre"][layer]
            errors = [_error(stream, state) for state in rows if state.shape == stream.shape]
            if not errors or min(errors) > 1e-4:
                raise DisagreementError(f"what enters layer {layer} is none of transformers' hidden states")

    def lens(self) -> None:
        """The last layer's lens gives the model's own log-probabilities."""
        assert self.trace is not None
        last = self.trace.activations["resid_post"][self.hooked.anatomy.n_layers - 1]
        found = self.hooked.tail(last).log_softmax(-1)
        if found.shape != self.before.shape:
            raise DisagreementError(f"lens of shape {list(found.shape)}, logits of shape {list(self.before.shape)}")
        _close("log-probabilities", found, self.before.log_softmax(-1), 1e-4)

    def residual(self) -> None:
        """On a new input, in every layer: input plus parts is output, and the next layer's input."""
        anatomy = self.hooked.anatomy
        wrong = [layer for layer in anatomy.layers if not layer.parts]
        if wrong:
            raise DisagreementError(f"{len(wrong)} of {anatomy.n_layers} layers have no parts: {wrong[0].trouble}")
        new = _ids(_N_POS + 2, seed=7)
        target = None if self.target is None else _ids(_N_POS, seed=8)
        with torch.no_grad(), Capture(self.model, anatomy) as capture:
            self.model(**inputs(self.model, new, target))
        for layer in anatomy.layers:
            number = layer.layer
            parts = [capture.added[number, part] for part in range(len(layer.parts))]
            total = sum(parts, start=capture.resid_pre[number])
            _close(f"layer {number}: input plus parts", total, capture.resid_post[number], 1e-4)
            if any(float(part.abs().max()) == 0.0 for part in parts):
                raise DisagreementError(f"layer {number}: a part adds nothing")

    def attention(self) -> None:
        """Every pattern equals what an eager twin used."""
        assert self.trace is not None
        eager, softmaxes = self._eager()
        held = self.trace.attention_layers
        if not held:
            if softmaxes or eager:
                raise DisagreementError(
                    f"no layer has attention weights; the eager twin made {len(softmaxes or eager)}"
                )
            if _attention_calls(self.model, self._plain):
                raise DisagreementError("no layer has attention weights, yet attention was computed")
            raise NotApplicableError("no softmax attention: neither a fused call nor a pattern was seen")
        references = eager if len(eager) >= len(held) else softmaxes
        if not references:
            raise DisagreementError("the eager twin returned no attention weights to compare with")
        if len(references) > len(held) and not self._attends_elsewhere(references, len(held)):
            raise DisagreementError(f"{len(held)} layers have attention weights, the eager twin {len(references)}")
        n_layers = self.hooked.anatomy.n_layers
        aligned = len(references) == n_layers
        for index, layer in enumerate(held):
            reference = references[layer if aligned else index]
            pattern = self.trace.pattern(layer)
            expected = reference[0].float() if reference.dim() == 4 else reference.float()
            if expected.shape[:2] != pattern.shape[:2]:
                raise DisagreementError(f"layer {layer}: pattern {list(pattern.shape)}, eager {list(expected.shape)}")
            error = float((pattern - expected[..., : pattern.shape[-1]]).abs().max())
            if not error <= 1e-5:
                raise DisagreementError(f"layer {layer}: pattern differs from eager by {error:.1e} (allowed 1e-05)")

    def skip(self) -> None:
        """Skipping a layer equals removing it."""
        assert self.trace is not None
        n_layers = self.hooked.anatomy.n_layers
        expected, removed = self._without(n_layers // 2, n_layers - 1)
        chosen = {"interventions": (lw.SkipLayers(removed),)}
        if self.target is not None:
            chosen["target"] = self.target[0]
        skipped = self.hooked.trace(self.ids[0], **chosen).logits
        if torch.equal(skipped, self.before):
            raise DisagreementError(f"skipping layer {removed} changes nothing")
        _close(f"layer {removed} skipped", skipped.log_softmax(-1), expected.log_softmax(-1), 1e-4)

    def _without(self, *layers: int) -> tuple[torch.Tensor, int]:
        """Logits of plain transformers without one layer: the first of these that it can do without."""
        trouble = ""
        for layer in layers:
            try:
                shorter = without_layer(self.model, self.hooked.anatomy.layers, layer)
                return _logits(_run(shorter, self.ids, self.target))[0], layer
            except Exception as error:  # the reference, not layerwidget, is what failed
                trouble = one_line(error)
        raise DisagreementError(f"no reference: without layers {list(layers)} transformers says {trouble}")

    def clean(self) -> None:
        """Logits with hooks on are bit-identical, and afterwards the model is as it was."""
        assert self.trace is not None
        if not torch.equal(self.trace.logits, self.before):
            error = float((self.trace.logits - self.before).abs().max())
            raise DisagreementError(f"logits with hooks on differ by {error:.1e}")
        if not torch.equal(_logits(self._plain())[0], self.before):
            raise DisagreementError("logits afterwards differ from those before")
        if _count_hooks(self.model) != self.n_hooks:
            raise DisagreementError(f"{_count_hooks(self.model)} hooks afterwards, {self.n_hooks} before")

    def _plain(self, **options: Any) -> Any:
        return _run(self.model, self.ids, self.target, **options)

    def _eager(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """A twin with the same weights and eager attention: patterns that it returns, and those its softmaxes made."""
        config = copy.deepcopy(self.model.config)
        twin = type(self.model)._from_config(config, attn_implementation="eager")
        twin.load_state_dict(self.model.state_dict())
        twin.eval()
        n_pos = self.trace.logits.shape[0] if self.trace is not None else 0
        with _Softmaxes(n_pos) as softmaxes:
            plain = _logits(_run(twin, self.ids, self.target))[0]
        _close("the eager twin's logits", plain, self.before, 1e-2)
        returned = _attentions(_run(twin, self.ids, self.target, output_attentions=True))
        widths = (n_pos, n_pos + 1)  # with a learned sink
        square = [one for one in returned if one.dim() >= 3 and one.shape[-2] == n_pos and one.shape[-1] in widths]
        return square, softmaxes.found

    def _attends_elsewhere(self, references: list[torch.Tensor], n_held: int) -> bool:
        """Whether the surplus is an encoder's or a cross-attention's."""
        layers = self.hooked.anatomy.n_layers
        return n_held == layers and len(references) > layers and bool(self.model.config.is_encoder_decoder)


def without_layer(model: transformers.PreTrainedModel, found: Sequence[Any], layer: int) -> torch.nn.Module:
    """A copy of a model that was built without one of its layers.

    Args:
        model: the model.
        found: the layers of its anatomy, of which only the modules' paths are used.
        layer: which to leave out; of a module that is called again and again, one call.
    """
    twin = copy.deepcopy(model)
    path, n_layers = found[layer].module, len(found)
    holder, _, index = path.rpartition(".")
    stack = twin.get_submodule(holder)
    if [one.module for one in found].count(path) == 1:
        if not isinstance(stack, torch.nn.ModuleList):
            raise ValueError(f"layer {layer} is not in a list of modules")
        del stack[int(index)]
    for config in {id(one): one for one in (twin.config, twin.config.get_text_config(decoder=True))}.values():
        for name, value in list(vars(config).items()):
            if name in _LAYER_COUNTS and value == n_layers:
                setattr(config, name, n_layers - 1)
            elif isinstance(value, list | tuple) and len(value) == n_layers and not name.startswith("_"):
                setattr(config, name, [one for number, one in enumerate(value) if number != layer])
    return twin


class _Softmaxes(TorchFunctionMode):
    """Outputs of softmax that are patterns."""

    def __init__(self, n_pos: int) -> None:
        super().__init__()
        self.n_pos = n_pos
        self.found: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") != "softmax" or out.dim() < 3:
            return out
        if out.shape[-2] == self.n_pos and out.shape[-1] in (self.n_pos, self.n_pos + 1):
            self.found.append(out.detach())
        return out


class _FusedCalls(TorchFunctionMode):
    """Counts calls of fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n_calls += func is torch.nn.functional.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


def _attention_calls(model: transformers.PreTrainedModel, run: Callable[[], Any]) -> int:
    with _FusedCalls() as fused:
        run()
    return fused.n_calls


def _run(model: transformers.PreTrainedModel, ids: torch.Tensor, target: torch.Tensor | None, **options: Any) -> Any:
    with torch.no_grad():
        return model(**inputs(model, ids, target), **options)


def _ids(n_pos: int, seed: int) -> torch.Tensor:
    """Token ids away from special tokens, shape [1, n_pos]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(D_VOCAB // 4, 3 * D_VOCAB // 4, (1, n_pos), generator=generator)


def _logits(output: Any) -> torch.Tensor:
    return tensor_at(output, ("logits",) if "logits" in output else (0,))


def _hidden_states(output: Any) -> list[torch.Tensor]:
    for name in ("decoder_hidden_states", "hidden_states"):
        states = getattr(output, name, None)
        if states:
            return [state for state in states if isinstance(state, torch.Tensor)]
    return []


def _attentions(output: Any) -> list[torch.Tensor]:
    for name in ("decoder_attentions", "attentions"):
        attentions = getattr(output, name, None)
        if attentions:
            return [one for one in attentions if isinstance(one, torch.Tensor)]
    return []


def _n_layers(config: transformers.PreTrainedConfig) -> int | None:
    text = config.get_text_config(decoder=True)
    for name in ("decoder_layers", "num_decoder_layers", "num_hidden_layers"):
        value = getattr(text, name, None)
        if isinstance(value, int):
            return value
    return None


def _close(what: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Raise unless the largest difference is within a share of the largest value."""
    if found.shape != expected.shape:
        raise DisagreementError(f"{what}: shape {list(found.shape)}, expected {list(expected.shape)}")
    error = _error(found, expected)
    if not error <= tolerance:
        raise DisagreementError(f"{what}: relative error {error:.1e} (allowed {tolerance:.0e})")


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.float(), expected.float()
    difference = torch.where(found == expected, 0.0, found - expected).abs().max()
    return float(difference / expected[expected.isfinite()].abs().max().clamp_min(1e-30))


def _count_hooks(model: torch.nn.Module) -> int:
    return sum(
        len(value)
        for module in model.modules()
        for name, value in vars(module).items()
        if name.startswith("_") and name.endswith("_hooks") and isinstance(value, dict)
    )
