"""The logit lens as a grid of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.figures.lens_figure import Lens, lens_picture, lens_text
from layerwidget.figures.shown import Shown
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.questions.lens import LensGrid
from layerwidget.results import FloatArray
from layerwidget.widgets.base import View
from layerwidget.widgets.messages import Message, packed_message, unpacked_message
from layerwidget.widgets.picture import Pictured, place_of
from layerwidget.widgets.traits import MAX_PINNED, PIN_COLOURS
from layerwidget.widgets.word_table import WordTable, without_spare

COLOURS = ("faded", "agreement", "probability", "entropy", "kl", "jsd", "token_probability", "token_rank")
TYPE_A_PROMPT = "Type a prompt, and every layer's prediction appears here."


class LogitLensView(Pictured, View, module="logit_lens_view"):
    """Rows are the layers in view (final layer on top), columns the tokens, and every cell says its most probable word.

    Attributes:
        colour: what the colour of a cell means: one of `COLOURS`.
        title: the name in the title line.
        component: what is decoded, as `LogitLens.component`; whoever answers hears of a change.
        components: what it can be changed to; empty where nobody answers.
        in_sight: which positions the page shows while some are not computed: the first, and one more than the last.
        pin_colours: the colours of the pinned tokens, in their order.
        panel: where the words of the chosen cell stand: `right` of the grid, or `below` it. Views of one group that
            have it below scroll together.
        empty: what is said where there is nothing to draw.
        pinnable: whether other words can be pinned.
        recorded: whether nobody answers what is not known of a word, so that it is said of it.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer", "position", "token", "tokens")
    growing: ClassVar[Mapping[str, int]] = {
        "followed_ids": 0,
        **dict.fromkeys((
            "top_ids", "top_probs", "entropy_nats", "kl_to_final_nats", "jsd_nats", "final_probs", "token_ranks",
            "token_log_probs", "followed_ranks", "followed_probs", "neurons", "done",
        ), 1),
    }  # fmt: skip

    colour = t.Enum(COLOURS, "faded").tag(sync=True)
    title = t.Unicode("Logit lens").tag(sync=True)
    component = t.Unicode("resid_post").tag(sync=True)
    components = t.List(t.Unicode()).tag(sync=True)
    in_sight = t.Tuple(t.Int(), t.Int(), default_value=(0, 0)).tag(sync=True)
    pin_colours = t.List(t.Unicode(), list(PIN_COLOURS)).tag(sync=True)
    panel = t.Enum(("right", "below"), "right").tag(sync=True)
    empty = t.Unicode(TYPE_A_PROMPT).tag(sync=True)
    pinnable = t.Bool(True).tag(sync=True)
    recorded = t.Bool(False).tag(sync=True)

    def __init__(self, lens: LensGrid | None = None, **traits: Any) -> None:
        self._top_probs: FloatArray | None = None
        self._words = WordTable()
        if lens is not None and lens.tokens:
            traits = {"tokens": list(lens.tokens[:MAX_PINNED]), "token": lens.tokens[0], **traits}
        super().__init__(**traits)
        if lens is not None:
            self.show(lens)

    def show(self, lens: LensGrid | None, prompt: str | None = None) -> None:
        """Draw a result; `prompt` is the text it answers, by which the browser knows what is stale."""
        if lens is None:
            self._top_probs = None
            self._publish({"layers": [], "n_pos": 0, "prompt": prompt}, {})
            return
        self._bound_to(lens.n_layers, None)
        if not self.components:
            self.component = lens.component
        self._keep_within(len(lens.token_ids))
        places = self._words.places(lens.top_ids, lens.pieces)
        meta = {
            "prompt": prompt,
            "component": lens.decoded,
            "layers": list(lens.layers),
            "n_pos": len(lens.token_ids),
            "k": lens.top_ids.shape[-1],
            "d_vocab": lens.d_vocab,
            "max_entropy_nats": float(np.log(lens.d_vocab)),
            "pieces": list(self._words.words),
            "prompt_visible": [piece.visible for piece in lens.prompt_pieces()],
            "tokens": list(lens.tokens),
            "token_visible": [lens.pieces[token].visible for token in lens.tokens],
        }
        arrays = {
            "top_ids": places,
            "top_probs": sixteen_bit(lens.top_probs),
            "entropy_nats": lens.entropy_nats,
            "kl_to_final_nats": lens.kl_to_final_nats,
            "final_probs": lens.final_probs,
            "token_ranks": lens.token_ranks.astype(np.uint32),
            "token_log_probs": lens.token_log_probs,
        }
        if lens.followed_ids is not None:
            arrays |= followed_arrays(lens)
        if lens.jsd_nats is not None:
            arrays["jsd_nats"] = lens.jsd_nats
        if lens.neurons is not None:
            arrays["neurons"] = lens.neurons.astype(np.int32)
        if lens.done is not None:
            arrays["done"] = lens.done.astype(np.uint8)
        self._top_probs = lens.top_probs
        self._publish(meta, arrays)

    @property
    def shown(self) -> Shown:
        """What was published last; without words of earlier prompts, which the browser keeps."""
        seen = super().shown
        arrays = dict(seen.arrays)
        return Shown(_with_own_words(seen.meta, arrays), arrays)

    def recorded_traits(self) -> dict[str, Any]:
        """Without a choice of what is decoded; nobody answers what is not recorded of a word."""
        return {**super().recorded_traits(), "components": [], "recorded": True}

    def recorded_messages(self) -> list[Message]:
        """The words of its cells; probabilities as the thousandths that a reader sees, which take half the room."""
        return [_in_thousandths(message, self._top_probs) for message in super().recorded_messages()]

    def to_text(self) -> str:
        """The words as a table: layers by tokens."""
        return lens_text(self._lens(), self.empty)

    def _picture(self, theme: Theme, width: float) -> Picture:
        return lens_picture(self._lens(), self.empty, width, theme)

    def _lens(self) -> Lens:
        below = self.panel == "below"
        return Lens(self.shown, place_of(self), self.colour, self.title, self.pin_colours, below)


def sixteen_bit(shares: np.ndarray) -> np.ndarray:
    """Shares of 0 to 1 as 16-bit integers: exact to 1e-5, which is what a reader sees on hover."""
    scaled: np.ndarray = np.rint(np.clip(shares, 0, 1) * 65535).astype(np.uint16)
    return scaled


def followed_arrays(lens: LensGrid) -> dict[str, np.ndarray]:
    """The model's own next tokens in every layer, as a page without a kernel has them: ids, ranks, thousandths."""
    if lens.followed_ids is None or lens.followed_ranks is None or lens.followed_log_probs is None:
        return {}
    return {
        "followed_ids": lens.followed_ids.astype(np.uint32),
        "followed_ranks": lens.followed_ranks.astype(np.uint32),
        "followed_probs": thousandths(np.exp(lens.followed_log_probs)),
    }


def thousandths(shares: np.ndarray) -> np.ndarray:
    """Shares of 0 to 1 in whole thousandths, which is what a reader sees of them; halves go up, as in a browser."""
    rounded: np.ndarray = np.floor(shares.astype(np.float64) * 1000 + 0.5).astype(np.uint16)
    return rounded


def _with_own_words(meta: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Only the words of these cells, whatever was told before; `top_ids` changes with them."""
    if "top_ids" not in arrays:
        return dict(meta)
    words, arrays["top_ids"] = without_spare(meta["pieces"], arrays["top_ids"])
    return {**meta, "pieces": words}


def _in_thousandths(message: Message, top_probs: FloatArray | None) -> Message:
    content, arrays = message[0], unpacked_message(*message)
    if "top_probs" in arrays and top_probs is not None:
        # Not from the 16 bits: what is rounded twice may become another thousandth.
        arrays["top_probs"] = thousandths(top_probs)
    meta = _with_own_words(content["meta"], arrays)
    packed, buffers = packed_message(content["type"], content["revision"], meta, arrays)
    for spec in packed["arrays"]:
        if spec["name"] in ("top_probs", "followed_probs"):
            # `js/recording.js` makes 65535ths of them again.
            spec["thousandths"] = True
    return packed, buffers
