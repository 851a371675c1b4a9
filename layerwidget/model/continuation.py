"""Continue a prompt from what is unchanged, with one of transformers' caches: the same numbers, less work.

After an edit of the prompt only the positions from the first changed token on are run, after another intervention only
the layers from the first changed one on. Which way of doing so is right depends on the model, and a wrong one is
silently wrong. So each is tried on the model in hand, and only what equals a full pass is used; otherwise everything is
computed anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from layerwidget.model.held_bytes import held_bytes
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.interventions import canonical, first_changed
from layerwidget.model.prefix_cache import WAYS, CroppedCache, Way, rotary_regime
from layerwidget.model.proofs import EditsProof, layers_read_the_stream_alone, resuming_is_right
from layerwidget.model.resuming import resumed
from layerwidget.model.splicing import spliced
from layerwidget.tokens import Tokens
from layerwidget.trace import Trace

#: So many edits in a row do not wait for a proof that is made in idle moments.
_MOST_PUT_OFF = 20
#: More positions than this are run at once from the beginning rather than one by one.
_MOST_STEPS = 16

#: Proved once for every model; None where no way is right.
_way_of: weakref.WeakKeyDictionary[HookedModel, Way | None] = weakref.WeakKeyDictionary()
#: Proved once for every model: whether it can go on from the middle of its layers.
_resumes: weakref.WeakKeyDictionary[HookedModel, bool] = weakref.WeakKeyDictionary()


@dataclass
class _Held:
    """The last pass and the cache that it left; the prompt, which of an encoder-decoder are not the trace's tokens."""

    tokens: Tokens
    trace: Trace
    cache: CroppedCache | None


@dataclass
class Continuation:
    """Traces of a prompt that is being edited, and of what is done to it.

    Attributes:
        model: the hooked model.
        proves_at_once: whether an edit that comes before the ways of reusing something are proved waits for the proof,
            some ten short passes; else it is computed anew, and `prepare` finds them.
        reused: how many positions of the last trace were taken over from the one before, in all layers.
        reused_layers: how many of its first layers were taken over from a trace under other interventions.
        passes: how many forward passes were run so far.
    """

    model: HookedModel
    proves_at_once: bool = True
    reused: int = 0
    reused_layers: int = 0
    passes: int = 0
    _put_off: int = 0
    _tried: Way | None = None
    # The ways of going back that are not known to be wrong; what the first one is tried with, and its proof.
    _untried: list[Way] = field(default_factory=lambda: list(WAYS), repr=False)
    _proving: tuple[Continuation, EditsProof] | None = field(default=None, repr=False)
    _tries_layers: bool = False
    _held: _Held | None = field(default=None, repr=False)

    @property
    def held_bytes(self) -> int:
        """Memory of the last pass and the cache that it left."""
        held = self._held
        return 0 if held is None else held_bytes(held.trace, *(held.cache.contents if held.cache is not None else ()))

    @property
    def computes_anew(self) -> bool:
        """Whether it is known that no way of reusing the beginning of a prompt is right with this model."""
        return self.model in _way_of and _way_of[self.model] is None

    @property
    def how(self) -> str:
        """How the beginning of a prompt is reused, in a few words; what stands in the way, where it is not."""
        if self.model not in _way_of:
            return "not tried yet"
        way = _way_of[self.model]
        return "every edit is computed anew" if way is None else way(self.model.hf_model.config).how

    @property
    def how_layers(self) -> str:
        """How the first layers are reused when an intervention changes a later one, in a few words."""
        if self.model not in _resumes:
            return "not tried yet"
        return "resumed at the first changed layer" if _resumes[self.model] else "every change is computed anew"

    @property
    def sequential(self) -> bool:
        """Whether it was proved that no position sees what comes after it."""
        return self._way(prove=False) is not None

    def n_same(self, one: Tokens, other: Tokens) -> int:
        """At how many first positions two prompts have the same activations, as far as that was proved."""
        return common_length(one, other) if self.sequential and self._same_angles(one, other) else 0

    def _same_angles(self, one: Tokens, other: Tokens) -> bool:
        """Whether both have the same rotary angles at the same positions."""
        config = self.model.hf_model.config
        return rotary_regime(config, len(one)) == rotary_regime(config, len(other))

    def holds(self, tokens: Tokens, interventions: Sequence[object] = ()) -> bool:
        """Whether the last pass is one over this prompt, under these interventions."""
        held = self._held
        return held is not None and held.tokens.key == tokens.key and held.trace.interventions == interventions

    @property
    def loses_nothing(self) -> bool:
        """Whether a pass that goes on from what is held can be given up half-way, and what was held is held still."""
        return self._held is not None and self._held.cache is not None and self._held.cache.by_layer

    def prepare(self) -> None:
        """Find the ways of reusing something, and fill the cache for the prompt that is held; for idle moments.

        Raises:
            Cancelled: when something else is to be done.
        """
        way = self._way(prove=True)
        self._goes_on_from_a_layer(prove=True)
        if way is not None and self._held is not None and self._held.cache is None:
            self._anew(self._held.tokens, self._held.trace.interventions)

    def _way(self, prove: bool) -> Way | None:
        """The first way whose numbers are those of a full pass on this model, if that is known or to be proved."""
        if self._tried is not None:
            return self._tried
        if prove and self.model not in _way_of:
            sequential = self.model.anatomy.encoder is None and self.model.anatomy.causal is not False
            _way_of[self.model] = self._right_way() if sequential else None
        return _way_of.get(self.model)

    def _right_way(self) -> Way | None:
        """The first one whose proof holds; when that is given up, the next time goes on from there."""
        while self._untried and not self._is_right(self._untried[0]):
            del self._untried[0]
        return self._untried[0] if self._untried else None

    def _is_right(self, way: Way) -> bool:
        if self._proving is None:
            tried = Continuation(self.model, _tried=way)
            self._proving = tried, EditsProof(self.model, tried.trace)
        tried, proof = self._proving
        right = proof.holds() and tried.reused > 0
        self._proving = None
        return right

    def _goes_on_from_a_layer(self, prove: bool) -> bool:
        """Whether layers that run after others that rest give a full pass's numbers, if that is known or proved."""
        if self._tries_layers:
            return True
        if prove and self.model not in _resumes:
            # With the way that is used then: caches are put together.
            self._way(prove=True)
            tried = Continuation(self.model, _tries_layers=True)
            alone = layers_read_the_stream_alone(self.model)
            _resumes[self.model] = alone and resuming_is_right(self.model, tried.trace)
        return _resumes.get(self.model, False)

    def trace(self, tokens: Tokens, interventions: Sequence[object] = ()) -> Trace:
        """The trace of a prompt; only what differs from the last one is computed.

        Raises:
            Cancelled: when the pass is no longer wanted; the beginning that was held is held still.
        """
        self.model.check_tokens(tokens)
        n_layers = self.model.anatomy.n_layers
        changes = canonical(interventions, n_layers)
        held = self._held
        if held is None:
            return self._anew(tokens, changes)
        n_same = common_length(held.tokens, tokens)
        edited = not n_same == len(held.tokens) == len(tokens)
        layer = first_changed(held.trace.interventions, changes, n_layers)
        self.reused_layers = 0
        if edited:
            n_same = self._reach(held, n_same, tokens)
        if not n_same or (layer is not None and not (layer and self._goes_on_from_a_layer(self.proves_at_once))):
            return self._anew(tokens, changes)
        if layer is not None:
            self._resume(held, n_same, layer, changes)
        if edited:
            return self._on(held, n_same, tokens)
        self.reused = n_same if layer is None else 0
        return held.trace

    def _reach(self, held: _Held, n_same: int, tokens: Tokens) -> int:
        """How many positions of what is held hold for an edited prompt, of which the first so many are unchanged."""
        if not self._same_angles(held.tokens, tokens):
            return 0
        if self.model not in _way_of:
            self._put_off += 1
        # Who edits on and on, as a program does, leaves no idle moment: then one edit waits for all that follow.
        self._way(prove=self.proves_at_once or self._put_off > _MOST_PUT_OFF)
        if held.cache is None:
            return 0
        reach = held.cache.reach(n_same)
        return 0 if held.cache.one_by_one and len(tokens) - reach > _MOST_STEPS else reach

    def _anew(self, tokens: Tokens, interventions: Sequence[object]) -> Trace:
        # Let go of the old trace first: two of a long prompt need not live at once.
        self._held, self.reused, self.reused_layers = None, 0, 0
        self.passes += 1
        way = self._way(prove=False)
        cache = None if way is None else way(self.model.hf_model.config)
        if self.model.anatomy.encoder:
            trace = self.model.trace(tokens, interventions=interventions)
        else:
            held = cache and cache.cache
            trace = self.model.pass_over(tokens, None, interventions, cache=held, with_logits=False)
        if cache is not None:
            cache.keep(len(tokens))
        self._held = _Held(tokens, trace, cache)
        return trace

    def _resume(self, held: _Held, n_pos: int, layer: int, interventions: Sequence[object]) -> None:
        """Hold the first positions of what is held under other interventions, which begin to differ at a layer."""
        if n_pos < len(held.tokens):
            self._cut(held, n_pos)
        way = self._way(prove=False)
        cache = None if way is None or held.cache is None else way(self.model.hf_model.config)
        self.passes += 1
        trace = resumed(self.model, held.trace, layer, interventions, cache and cache.cache)
        if cache is not None and held.cache is not None:
            cache.complete(held.cache)
            cache.keep(n_pos)
        held.trace, held.cache = trace, cache
        self.reused_layers = layer

    def _on(self, held: _Held, reach: int, tokens: Tokens) -> Trace:
        assert held.cache is not None, "without a cache there is no way on"
        held.cache.rewind(reach)
        trace, n_pos = held.trace, reach
        try:
            for stop in held.cache.stops(reach, len(tokens)):
                self.passes += 1
                beginning = tokens if stop == len(tokens) else _first(tokens, stop)
                changes, cache = held.trace.interventions, held.cache.cache
                after = self.model.pass_over(beginning, None, changes, n_pos, cache, with_logits=False)
                trace, n_pos = spliced(trace, n_pos, after, beginning), stop
        except BaseException:
            if not held.cache.by_layer:
                held.cache = None
            self._cut(held, reach)
            raise
        held.cache.keep(len(tokens))
        held.tokens, held.trace = tokens, trace if n_pos > reach else spliced(trace, reach, None, tokens)
        self.reused = 0 if self.reused_layers else reach
        return held.trace

    def _cut(self, held: _Held, n_pos: int) -> None:
        """Hold the first positions alone."""
        held.tokens = _first(held.tokens, n_pos)
        held.trace = spliced(held.trace, n_pos, None, held.tokens)
        if held.cache is not None:
            held.cache.rewind(n_pos)


def common_length(one: Tokens, other: Tokens) -> int:
    """How many tokens two prompts begin with alike."""
    if (one.source or one).key != (other.source or other).key and (one.source or other.source):
        return 0  # every position of a decoder sees all that its encoder has read
    n_most = min(len(one), len(other))
    differ = (one.ids[:n_most] != other.ids[:n_most]).nonzero()[0]
    return int(differ[0]) if len(differ) else n_most


def _first(tokens: Tokens, n_pos: int) -> Tokens:
    return Tokens(tokens.ids[:n_pos].copy(), tokens.pieces, None)
