"""What is measured of one model: HookedModel against plain transformers, which knows nothing of layerwidget."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import transformers

import layerwidget as lw
from layerwidget.ledger import Added, Scaled
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.continuation import Continuation
from layerwidget.model.paths import tensor_at
from layerwidget.trace import Trace
from tests.conformance.build import Entry, build, inputs, takes_target
from tests.conformance.compare import DisagreementError, NotApplicableError, close, close_rows, error
from tests.conformance.eager import Operations, eager_twin, per_layer, returned
from tests.conformance.references import NoReferenceError, Place, without_one
from tests.conformance.shrink import D_VOCAB
from tests.conformance.streams import check_streams

CHECKS = ("built", "located", "lens", "residual", "attribution", "attention", "skip", "edits", "clean")

#: How far the stream may be from the sum of its parts at any position, as a share of its largest value there.
_SUMS = 1e-5
_N_POS = 11
#: How many tokens stay and how many are added, edit by edit.
_EDITS = ((_N_POS, 0), (_N_POS, 1), (_N_POS + 1, 3), (6, 2), (8, 1), (7, 0), (7, 2))
_N_TARGET = 9  # neither as long as the source, nor by one longer, as with a sink


@dataclass(frozen=True)
class Kind:
    """A kind of attention.

    Attributes:
        what: its name, in messages.
        names: what transformers calls its weights.
        anatomy: the stack whose layers attend.
        n_query: how many positions attend.
        n_key: to how many.
    """

    what: str
    names: tuple[str, ...]
    anatomy: Anatomy
    n_query: int
    n_key: int


class Subject:
    """One model under test. Its checks are methods, called in the order of `CHECKS`.

    Attributes:
        model: plain transformers.
        hooked: the same, hooked.
        trace: of `ids`, and `target` for the decoder of an encoder-decoder.
        before: logits of plain transformers, shape [pos, d_vocab].
    """

    model: transformers.PreTrainedModel
    hooked: lw.HookedModel
    before: torch.Tensor
    n_hooks: int

    def __init__(self, one: Entry) -> None:
        self.one = one
        self.ids = _ids(_N_POS, seed=5)
        self.target: torch.Tensor | None = None
        self.trace: Trace | None = None

    def make(self) -> transformers.PreTrainedModel:
        """The tiny model."""
        return build(self.one)

    def hook(self) -> lw.HookedModel:
        """What is under test."""
        return lw.HookedModel(self.model)

    def built(self) -> None:
        """It can be built small, runs on token ids and returns finite numbers."""
        self.model = self.make()
        self.target = _ids(_N_TARGET, seed=6) if takes_target(self.model) else None
        logits = logits_of(self._plain(self.model))
        if bool(logits.isnan().any()) or not bool(logits.isfinite().any()):
            raise DisagreementError("its own logits are not finite")
        if float(logits[logits.isfinite()].std()) < 1e-3:
            raise DisagreementError("its logits are all the same: too easy to be right about")
        self.n_hooks = _count_hooks(self.model)

    def located(self) -> None:
        """The stacks are found, with as many layers, and the streams, that transformers itself says."""
        self.hooked = self.hook()
        # Transformers leaves hooks of its own behind when it is asked for more than logits: ask a copy.
        output = self._plain(copy.deepcopy(self.model), output_hidden_states=True)
        self.before = logits_of(self._plain(self.model))[0]
        self.trace = self._trace(self.ids, self.target)
        config = self.model.config
        check_streams(self.trace, _hidden_states(output, encoder=False), _n_layers(config))
        if self.target is not None:
            n_encoder = getattr(config, "encoder_layers", None)
            check_streams(self.trace.stack("encoder"), _hidden_states(output, encoder=True), n_encoder)

    def lens(self) -> None:
        """The last layer's lens gives the model's own log-probabilities."""
        assert self.trace is not None
        last = self.trace.activations["resid_post"][self.hooked.anatomy.n_layers - 1]
        close("log-probabilities", self.hooked.tail(last).log_softmax(-1), self.before.log_softmax(-1), 1e-4)

    def residual(self) -> None:
        """On a new input, in every layer: input plus parts is output, and the next layer's input."""
        anatomy = self.hooked.anatomy
        wrong = [layer for layer in anatomy.layers if not layer.parts]
        if wrong:
            raise DisagreementError(f"{len(wrong)} of {anatomy.n_layers} layers have no parts: {wrong[0].trouble}")
        trace = self._trace(_ids(_N_POS + 2, seed=7), None if self.target is None else _ids(_N_POS, seed=8))
        entering, leaving = trace.activations["resid_pre"], trace.activations["resid_post"]
        for layer in range(anatomy.n_layers):
            _adds_up(f"layer {layer}", entering[layer], trace.ledger(layer), leaving[layer])
            if layer:
                what = f"what enters layer {layer} left layer {layer - 1}"
                close_rows(what, entering[layer], leaving[layer - 1], _SUMS)

    def attribution(self) -> None:
        """The parts sum to what the model's own head returns, for one token and for two; or it is refused, and why."""
        assert self.trace is not None
        own, returned = self.before.double(), self._returned_by_the_head()
        for position, token, minus in ((-1, D_VOCAB // 3, None), (4, D_VOCAB // 2, D_VOCAB // 5)):
            try:
                found = lw.DirectLogitAttribution(token, minus, position).run(self.trace)
            except lw.MissingComponentError as refused:
                raise NotApplicableError(str(refused).partition(": ")[2]) from refused
            expected = [
                float(logits[position, token] - (0 if minus is None else logits[position, minus]))
                for logits in (own, returned)
            ]
            largest = float(returned[position][returned[position].isfinite()].abs().max())
            total = float(found.values.sum(dtype="float64"))
            off = min(abs(total - logit) for logit in expected) / largest
            if not max(off, abs(found.error) / largest) <= 1e-4:
                raise DisagreementError(f"the parts sum to {total:.6g}, the logit is {expected[0]:.6g}")

    def _returned_by_the_head(self) -> torch.Tensor:
        """What plain transformers' head makes before anything is done to the logits, shape [pos, d_vocab], fp64."""
        seen: list[torch.Tensor] = []
        head = self.model.get_output_embeddings()
        if not isinstance(head, torch.nn.Module):
            return self.before.double()
        handle = head.register_forward_hook(lambda module, args, output: seen.append(output))
        self._plain(self.model)
        handle.remove()
        made = seen[-1].double().reshape(-1, seen[-1].shape[-1]) if seen else self.before.double()
        return made if made.shape == self.before.shape else self.before.double()

    def attention(self) -> None:
        """Every pattern equals what an eager twin used: over the prompt, from decoder to encoder, in the encoder."""
        twin = eager_twin(self.model)
        close("the eager twin's logits", logits_of(self._plain(copy.deepcopy(twin)))[0], self.before, 1e-2)
        for kind, found in self._patterns():
            expected = self._eager(twin, kind)
            if not kind.what and not expected and not found:
                self._no_attention(twin)
            if set(found) != set(expected):
                attending = f"{sorted(found)}, in the eager twin's {sorted(expected)}"
                raise DisagreementError(f"{kind.what}attention weights in layers {attending}")
            for layer, pattern in found.items():
                self._same_pattern(twin, kind, layer, pattern, expected[layer])

    def _patterns(self) -> Iterator[tuple[Kind, dict[int, torch.Tensor]]]:
        """The kinds of attention that the model has, each with layer -> pattern."""
        assert self.trace is not None
        trace, n_pos = self.trace, len(self.trace.tokens)
        own = Kind("", ("decoder_attentions", "attentions"), trace.anatomy, n_pos, n_pos)
        yield own, {layer: trace.pattern(layer) for layer in trace.attention_layers}
        if self.target is None:
            return
        encoder = trace.stack("encoder")
        n_source = len(encoder.tokens)
        crossing = [layer.layer for layer in trace.anatomy.layers if layer.cross_sites]
        cross = Kind("cross ", ("cross_attentions",), trace.anatomy, n_pos, n_source)
        yield cross, {layer: trace.cross_pattern(layer) for layer in crossing}
        inside = Kind("encoder ", ("encoder_attentions",), encoder.anatomy, n_source, n_source)
        yield inside, {layer: encoder.pattern(layer) for layer in encoder.attention_layers}

    def _eager(self, twin: Any, kind: Kind) -> dict[int, torch.Tensor]:
        said = self._plain(copy.deepcopy(twin), output_attentions=True)
        operations = self._operations(twin, kind.anatomy)
        made = [operations.patterns(layer, kind.n_query, kind.n_key) for layer in range(kind.anatomy.n_layers)]
        return per_layer(returned(said, kind.names, kind.n_query, kind.n_key), made)

    def _same_pattern(self, twin: Any, kind: Kind, layer: int, found: torch.Tensor, expected: torch.Tensor) -> None:
        if found.shape != expected.shape:
            shapes = f"{list(found.shape)}, eager {list(expected.shape)}"
            raise DisagreementError(f"layer {layer}: {kind.what}pattern {shapes}")
        off, allowed = float((found - expected).abs().max()), 1e-5
        if allowed < off < 1e-3:  # as little as rounding may make, in a model where it grows from layer to layer
            with suppress(RuntimeError):  # some architectures do not run in fp64
                exact = self._eager(copy.deepcopy(twin).double(), kind)[layer]
                allowed = max(allowed, 3 * float((exact - expected).abs().max()))
        if not off <= allowed:
            raise DisagreementError(
                f"layer {layer}: {kind.what}pattern differs from eager by {off:.1e} (allowed {allowed:.0e})"
            )

    def _no_attention(self, twin: Any) -> None:
        """Raise what was measured: there is none, or there is and it was not found."""
        assert self.trace is not None
        runs = [self._operations(model, self.trace.anatomy) for model in (twin, self.model)]
        seen = sorted({name for run in runs for name in run.in_layers})
        if seen:
            raise DisagreementError(f"no layer has attention weights, yet {' and '.join(seen)} ran inside the layers")
        said = self._plain(copy.deepcopy(twin), output_attentions=True)
        given = _tensors(said, "decoder_attentions", "attentions")
        ones = [one for one in given if one.dim() > 2 and error(one.sum(-1), torch.ones(one.shape[:-1])) < 1e-2]
        if ones:
            raise DisagreementError(f"no layer has attention weights, yet transformers returned {len(ones)}")
        shown = f"of the {len(given)} 'attentions' returned no rows sum to 1" if given else "no attentions are returned"
        raise NotApplicableError(f"no softmax, logsumexp or fused attention ran inside the layers, and {shown}")

    def skip(self) -> None:
        """Skipping a layer equals removing it."""
        places = _places(self.hooked.anatomy)
        try:
            output, removed = without_one(self.model, places, self._plain)
        except NoReferenceError as none:
            raise DisagreementError(str(none)) from none
        skipped = self._trace(self.ids, self.target, interventions=(lw.SkipLayers(removed),)).logits
        if torch.equal(skipped, self.before):
            raise DisagreementError(f"skipping layer {removed} changes nothing")
        expected = logits_of(output)[0].log_softmax(-1)
        close(f"layer {removed} skipped", skipped.log_softmax(-1), expected, 1e-4)

    def edits(self) -> None:
        """A prompt that is edited, by one token and by several, has plain transformers' logits, whatever is reused."""
        going, ids = Continuation(self.hooked), self.ids[0].tolist()
        going.prepare()
        if going.computes_anew:
            raise NotApplicableError(going.how)
        reused = []
        for seed, (n_kept, n_new) in enumerate(_EDITS, 60):
            ids = [*ids[:n_kept], *_ids(n_new, seed)[0].tolist()]
            found = going.trace(self.hooked.tokenize(ids)).logits.log_softmax(-1)
            reused.append(going.reused)
            what = f"after {n_kept} tokens were kept and {n_new} added ({going.how})"
            try:
                close(what, found, self._log_probs(ids), 1e-4)
            except DisagreementError:
                self._same_whatever_follows(ids)
                raise
        if not any(reused):
            raise DisagreementError(f"nothing was reused ({going.how})")

    def _same_whatever_follows(self, ids: list[int]) -> None:
        """Raise what was measured where plain transformers says something else of a beginning once more follows it."""
        whole = self._log_probs(ids)
        for n_pos in range(1, len(ids)):
            off = error(self._log_probs(ids[:n_pos]), whole[:n_pos])
            if off > 1e-3:
                raise NotApplicableError(
                    f"plain transformers' own log-probabilities of the first {n_pos} tokens change by {off:.1e} with "
                    "what follows them"
                )

    def _log_probs(self, ids: list[int]) -> torch.Tensor:
        """Those of plain transformers, shape [pos, d_vocab]."""
        with torch.no_grad():
            return logits_of(self.model(**inputs(self.model, torch.tensor([ids]), None)))[0].log_softmax(-1)

    def clean(self) -> None:
        """Logits with hooks on are bit-identical, and afterwards the model is as it was."""
        assert self.trace is not None
        if not torch.equal(self.trace.logits, self.before):
            off = float((self.trace.logits - self.before).abs().max())
            raise DisagreementError(f"logits with hooks on differ by {off:.1e}")
        if not torch.equal(logits_of(self._plain(self.model))[0], self.before):
            raise DisagreementError("logits afterwards differ from those before")
        if _count_hooks(self.model) != self.n_hooks:
            raise DisagreementError(f"{_count_hooks(self.model)} hooks afterwards, {self.n_hooks} before")

    def _plain(self, model: Any, **options: Any) -> Any:
        with torch.no_grad():
            return model(**inputs(model, self.ids, self.target), **options)

    def _trace(self, ids: torch.Tensor, target: torch.Tensor | None, **options: Any) -> Trace:
        if target is not None:
            options["target"] = target[0]
        return self.hooked.trace(ids[0], **options)

    def _operations(self, model: Any, anatomy: Anatomy) -> Operations:
        """What looks like attention in the layers of a stack."""
        watched = copy.deepcopy(model)
        operations = Operations(watched, _places(anatomy))
        with operations:
            self._plain(watched)
        return operations


def _places(anatomy: Anatomy) -> list[Place]:
    return [Place(layer.module, layer.call, layer.further) for layer in anatomy.layers]


def _adds_up(what: str, entering: torch.Tensor, ledger: Sequence[Any], leaving: torch.Tensor) -> None:
    stream, changes = entering, []
    for entry in ledger:
        before = stream
        if isinstance(entry, Added):
            stream = stream + entry.value
        elif isinstance(entry, Scaled):
            stream = stream * entry.factor
        else:
            close_rows(f"{what}: what a norm on the stream reads", stream, entry.before, _SUMS)
            stream = entry.after
        changes.append(float((stream - before).abs().max()))
    close_rows(f"{what}: input plus parts", stream, leaving, _SUMS)
    if 0.0 in changes:
        raise DisagreementError(f"{what}: a part adds nothing")


def _ids(n_pos: int, seed: int) -> torch.Tensor:
    """Token ids away from special tokens, shape [1, n_pos]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(D_VOCAB // 4, 3 * D_VOCAB // 4, (1, n_pos), generator=generator)


def logits_of(output: Any) -> torch.Tensor:
    return tensor_at(output, ("logits",) if "logits" in output else (0,))


def _tensors(output: Any, *names: str) -> list[torch.Tensor]:
    """What the first of these outputs that there is holds."""
    given = next((value for name in names if (value := getattr(output, name, None))), ())
    return [one for one in given if isinstance(one, torch.Tensor)]


def _hidden_states(output: Any, encoder: bool) -> list[list[torch.Tensor]]:
    """Everything that is returned as hidden states after each layer."""
    named = {name: value for name, value in output.items() if "hidden_states" in name and isinstance(value, tuple)}
    chosen = [value for name, value in named.items() if name.startswith("encoder") == encoder]
    firsts = [[one[0] if isinstance(one, tuple) else one for one in value] for value in chosen]
    return [[one for one in value if isinstance(one, torch.Tensor)] for value in firsts]


def _n_layers(config: transformers.PreTrainedConfig) -> int | None:
    """Of the text model, or else of what is nested in the configuration as a decoder."""
    nested = [value for name, value in vars(config).items() if name.startswith("decoder")]
    for one in (config.get_text_config(decoder=True), *nested):
        for name in ("decoder_layers", "num_decoder_layers", "num_hidden_layers"):
            value = getattr(one, name, None)
            if isinstance(value, int):
                return value
    return None


def _count_hooks(model: torch.nn.Module) -> int:
    return sum(
        len(value)
        for module in model.modules()
        for name, value in vars(module).items()
        if name.startswith("_") and name.endswith("_hooks") and isinstance(value, dict)
    )
