"""Continue a prompt from its unchanged beginning, with one of transformers' caches: the same numbers, less work.

Which way of going back in a cache is right depends on the model, and a wrong one is silently wrong. So each is tried on
the model in hand, and only what equals a full pass is used; otherwise every edit is computed anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from layerwidget.errors import Cancelled
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.locate import random_ids
from layerwidget.model.prefix_cache import WAYS, CroppedCache, Way, rotary_regime
from layerwidget.model.splicing import spliced
from layerwidget.rounding import relative_error, tolerance
from layerwidget.tokens import Tokens
from layerwidget.trace import Trace

_N_POS = 15


#: Proved once for every model; None where no way is right.
_way_of: weakref.WeakKeyDictionary[HookedModel, Way | None] = weakref.WeakKeyDictionary()


@dataclass
class _Held:
    """The last pass and the cache that it left."""

    trace: Trace
    cache: CroppedCache | None


@dataclass
class Continuation:
    """Traces of a prompt that is being edited.

    Attributes:
        model: the hooked model.
        reused: how many positions of the last trace were taken over from the one before.
        passes: how many forward passes were run so far.
    """

    model: HookedModel
    reused: int = 0
    passes: int = 0
    _tried: Way | None = None
    _held: _Held | None = field(default=None, repr=False)

    @property
    def how(self) -> str:
        """How the beginning of a prompt is reused, in a few words; what stands in the way, where it is not."""
        if self.model not in _way_of:
            return "not tried yet"
        way = _way_of[self.model]
        return "every edit is computed anew" if way is None else way(self.model.hf_model.config).how

    @property
    def sequential(self) -> bool:
        """Whether it was proved that no position sees what comes after it."""
        return self._way(prove=False) is not None

    def prepare(self) -> None:
        """Find the way of reusing a beginning, and fill the cache for the prompt that is held; for idle moments."""
        way = self._way(prove=True)
        if way is not None and self._held is not None and self._held.cache is None:
            self._anew(self._held.trace.tokens, self._held.trace.interventions)

    def _way(self, prove: bool) -> Way | None:
        """The first way whose numbers are those of a full pass on this model, if that is known or to be proved."""
        if self._tried is not None:
            return self._tried
        if prove and self.model not in _way_of:
            sequential = self.model.anatomy.encoder is None and self.model.anatomy.causal is not False
            _way_of[self.model] = next((way for way in WAYS if sequential and _is_right(self.model, way)), None)
        return _way_of.get(self.model)

    def forget(self) -> None:
        """Let go of what is held."""
        self._held = None

    def trace(self, tokens: Tokens, interventions: Sequence[object] = ()) -> Trace:
        """The trace of a prompt; only what differs from the last one is computed.

        Raises:
            Cancelled: when the pass is no longer wanted; the beginning that was held is held still.
        """
        self.model.check_tokens(tokens)
        held = self._held
        if held is None or held.trace.interventions != tuple(interventions):
            return self._anew(tokens, interventions)
        n_same = common_length(held.trace.tokens, tokens)
        if n_same == len(held.trace.tokens) == len(tokens):
            self.reused = n_same
            return held.trace
        config = self.model.hf_model.config
        lengths = (len(held.trace.tokens), len(tokens))
        if len({rotary_regime(config, n_pos) for n_pos in lengths}) > 1:
            return self._anew(tokens, interventions)
        self._way(prove=True)
        reach = held.cache.reach(min(n_same, len(tokens))) if held.cache is not None else 0
        if not reach:
            return self._anew(tokens, interventions)
        return self._on(held, reach, tokens, interventions)

    def _anew(self, tokens: Tokens, interventions: Sequence[object]) -> Trace:
        # Let go of the old trace first: two of a long prompt need not live at once.
        self._held, self.reused = None, 0
        self.passes += 1
        way = self._way(prove=False)
        cache = None if way is None else way(self.model.hf_model.config)
        if cache is None:
            trace = self.model.trace(tokens, interventions=interventions)
        else:
            trace = self.model.pass_over(tokens, None, interventions, cache=cache.cache)
            cache.keep(len(tokens))
        self._held = _Held(trace, cache)
        return trace

    def _on(self, held: _Held, reach: int, tokens: Tokens, interventions: Sequence[object]) -> Trace:
        assert held.cache is not None, "without a cache there is no way on"
        held.cache.rewind(reach)
        after = None
        if reach < len(tokens):
            self.passes += 1
            try:
                after = self.model.pass_over(tokens, None, interventions, reach, held.cache.cache)
            except BaseException:
                held.trace = spliced(held.trace, reach, None, _first(held.trace.tokens, reach))
                held.cache.rewind(reach)
                raise
        held.cache.keep(len(tokens))
        held.trace = spliced(held.trace, reach, after, tokens)
        self.reused = reach
        return held.trace


def common_length(one: Tokens, other: Tokens) -> int:
    """How many tokens two prompts begin with alike."""
    n_most = min(len(one), len(other))
    differ = (one.ids[:n_most] != other.ids[:n_most]).nonzero()[0]
    return int(differ[0]) if len(differ) else n_most


def _first(tokens: Tokens, n_pos: int) -> Tokens:
    return Tokens(tokens.ids[:n_pos].copy(), tokens.pieces, None)


def _is_right(model: HookedModel, way: Way) -> bool:
    """Whether a replaced end of several tokens, and then one more token, give the numbers of a full pass."""
    n_pos = min(_N_POS, model.n_ctx or _N_POS)
    if n_pos < 4:
        return False
    ids = random_ids(n_pos, model.anatomy.n_embeddings, seed=21)
    changed = ids.clone()
    changed[n_pos // 2 :] = random_ids(n_pos - n_pos // 2, model.anatomy.n_embeddings, seed=22)
    tried = Continuation(model, _tried=way)
    try:
        for prompt in (ids, changed[:-1], changed):
            found = tried.trace(model.tokenize(prompt))
            if not _alike(found, model.trace(prompt)):
                return False
        return tried.reused > 0
    except Cancelled:
        raise  # nothing was found out
    except Exception:  # whatever a cache raises that the model does not take
        return False


def _alike(found: Trace, expected: Trace) -> bool:
    allowed = tolerance(expected.logits.dtype, at_least=1e-5)
    for component, held in expected.activations.items():
        for layer, rows in held.items():
            if not relative_error(found.activations[component][layer], rows) <= allowed:
                return False
    patterns = (layer for layer in expected.attention_layers)
    close = all(float((found.pattern(layer) - expected.pattern(layer)).abs().max()) <= allowed for layer in patterns)
    return close and relative_error(found.logits, expected.logits) <= tolerance(expected.logits.dtype)
