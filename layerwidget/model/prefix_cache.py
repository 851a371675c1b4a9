"""Ways of going back in one of transformers' caches. Which is right depends on the model, and a wrong one is silent."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from transformers import DynamicCache

from layerwidget.model.paths import tensors_in

_SNAPSHOTS = 4


class CroppedCache:
    """A cache from whose end positions can be cut off.

    Attributes:
        how: how it goes back, in a few words.
        by_layer: whether it can go back when its layers are of different lengths, as after half a pass.
        one_by_one: whether a pass may add only one position.
    """

    how = "cache cropped at the first changed token"
    by_layer = True
    one_by_one = False

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        # How many positions each layer holds, as long as no pass may have been given up half-way.
        self._n_held: int | None = None

    @property
    def contents(self) -> list[dict[str, Any]]:
        """What it holds of each layer."""
        return _contents(self.cache)

    def reach(self, n_same: int) -> int:
        """The longest beginning of that length at most to which it can go back."""
        return n_same

    def stops(self, first: int, n_pos: int) -> Sequence[int]:
        """At how many positions the passes end that lead from one length to another."""
        return range(first + 1, n_pos + 1) if self.one_by_one else [n_pos] if n_pos > first else []

    def rewind(self, n_pos: int) -> None:
        """Hold the first positions alone; a pass that was given up half-way leaves layers of different lengths."""
        if n_pos != self._n_held:
            for layer in self.cache.layers:
                layer.crop(-max(0, layer.get_seq_length() - n_pos))
        self._n_held = None

    def keep(self, n_pos: int) -> None:
        """A pass up to here is done."""
        self._n_held = n_pos

    def complete(self, other: CroppedCache) -> None:
        """Take from another cache what the pass that filled this one left empty: that of layers that did not run."""
        layers = self.cache.layers
        for place, held in enumerate(other.cache.layers):
            if place == len(layers):
                layers.append(held)
            elif not _is_filled(layers[place]):
                layers[place] = held


class RecordedCache(CroppedCache):
    """A cache that records the states of recurrent layers and windows, so that it can be cropped."""

    how = "recording cache cropped at the first changed token"
    # A recurrent layer does not know how many positions it has read.
    by_layer = False

    def rewind(self, n_pos: int) -> None:
        """Hold the first positions alone."""
        self.cache.crop(-max(0, self.cache.get_seq_length() - n_pos))


class CopiedCache(CroppedCache):
    """A cache that cannot go back: copies of it are kept at the ends of the last passes."""

    how = "copy of the cache at the end of an earlier pass"

    def __init__(self, cache: Any) -> None:
        super().__init__(cache)
        self._copies: dict[int, Any] = {0: copy.deepcopy(cache)}

    @property
    def contents(self) -> list[dict[str, Any]]:
        """What it and its copies hold of each layer."""
        return [layer for cache in (self.cache, *self._copies.values()) for layer in _contents(cache)]

    def reach(self, n_same: int) -> int:
        """The longest beginning of that length at most at which a copy was kept."""
        return max(n_pos for n_pos in self._copies if n_pos <= n_same)

    def rewind(self, n_pos: int) -> None:
        """Hold the first positions alone."""
        self._copies = {kept: held for kept, held in self._copies.items() if kept <= n_pos}
        self.cache = copy.deepcopy(self._copies[n_pos])

    def keep(self, n_pos: int) -> None:
        """A pass up to here is done."""
        self._copies[n_pos] = copy.deepcopy(self.cache)
        for kept in sorted(self._copies)[1:-_SNAPSHOTS]:
            del self._copies[kept]


class SteppedCache(CopiedCache):
    """The same for models whose recurrent layers go on from a state by one position only."""

    how = "copy of the cache at the end of an earlier pass, then one token at a time"
    one_by_one = True


def _contents(cache: Any) -> list[dict[str, Any]]:
    return [vars(layer) for layer in cache.layers]


def _is_filled(layer: Any) -> bool:
    """Whether a layer of a cache holds anything."""
    return any(True for _ in tensors_in(vars(layer)))


def _recording(config: Any) -> Any:
    cache = DynamicCache(config=config)
    cache.activate_past_recording()
    return cache


Way: TypeAlias = Callable[[Any], CroppedCache]

#: In the order of preference.
WAYS: tuple[Way, ...] = (
    lambda config: CroppedCache(DynamicCache()),
    lambda config: RecordedCache(_recording(config)),
    lambda config: CopiedCache(DynamicCache(config=config)),
    lambda config: SteppedCache(DynamicCache(config=config)),
)


def rotary_regime(config: Any, n_pos: int) -> int:
    """Two lengths with different values have different rotary angles at the same positions: nothing can be taken over.

    Some models change the angles of all positions when a prompt grows beyond a length (`longrope`), or with every token
    from there on (`dynamic`).
    """
    text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    given = getattr(text, "rope_parameters", None) or {}
    longest = getattr(text, "max_position_embeddings", None) or n_pos
    regime = 0
    for rope in [given, *(one for one in given.values() if isinstance(one, dict))]:
        kind, border = rope.get("rope_type"), rope.get("original_max_position_embeddings") or longest
        if kind == "longrope" and n_pos > border:
            regime = max(regime, 1)
        elif kind == "dynamic" and n_pos > border:
            regime = max(regime, n_pos)
    return regime
