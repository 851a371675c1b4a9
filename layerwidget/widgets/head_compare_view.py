"""The chosen head in two runs: its weights in both, and how they differ."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import traitlets as t

from layerwidget.figures.head_pair_figure import HeadPair, head_pair_picture, head_pair_text
from layerwidget.figures.sheets import finite
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.questions.compared import AttentionDifference, Compared, MatrixDifference
from layerwidget.questions.comparing_heads import without_first
from layerwidget.results import FloatArray
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured, place_of

#: Both matrices are sent as numbers; of longer prompts, the map of heads has to do.
MOST_COLUMNS = 1024


class HeadCompareView(Pictured, View, module="head_compare_view"):
    """Matrices A, B and B - A of a head or a rollout, and where the chosen query's weight went.

    The columns are those that both prompts share.
    A token of one prompt only is hatched in the matrix of the other one, and in the difference.

    Attributes:
        found: what is compared.
        hide_first: leave out the first token, on which most heads rest, of both matrices of a head, and scale the rest
            of each row of weights to sum to 1; a rollout is drawn as it is.
    """

    hide_first = t.Bool(False)

    heeds: ClassVar[tuple[str, ...]] = ("layer", "head", "position")

    def __init__(self, found: AttentionDifference | MatrixDifference | None = None, **traits: Any) -> None:
        self.found: AttentionDifference | MatrixDifference | None = None
        self._texts: dict[str, str | None] = {}
        # Results come from the model's thread, choices from the reader's: each message must be of one result.
        self._sending = threading.RLock()
        if isinstance(found, AttentionDifference):
            traits = {"layer": found.layers[-1], "head": found.heads[0], **traits}
        super().__init__(**traits)
        self.observe(lambda _change: self._send_head(), ["layer", "head", "hide_first"])
        if found is not None:
            self.show(found)

    def show(
        self,
        found: AttentionDifference | MatrixDifference | None,
        prompt: str | None = None,
        second: str | None = None,
    ) -> None:
        """Draw the chosen head of a difference, or its only matrix; None clears the view.

        Args:
            found: what differs between the attention of two results, or between two rollouts.
            prompt: the first text, by which the browser knows what is stale.
            second: the second one.
        """
        with self._sending:
            self.found, self._texts = found, {"prompt": prompt, "second": second}
            if found is not None:
                heads = found.heads if isinstance(found, AttentionDifference) else (0,)
                self._bound_to(found.a.n_layers, max(self.n_heads or 0, max(heads) + 1))
                self._keep_within(len(found.a.token_ids))
            self._send_head()

    def to_text(self) -> str:
        """The keys of the chosen query whose weight changes most, as a table."""
        return head_pair_text(HeadPair(self.shown, place_of(self)))

    def _picture(self, theme: Theme, width: float) -> Picture:
        return head_pair_picture(HeadPair(self.shown, place_of(self)), width, theme)

    def _send_head(self) -> None:
        with self._sending:
            found, layer, head = self.found, self.layer, self.head
            note = "" if found is None else _missing(found, layer, head)
            if found is None or note:
                self._publish({"layers": [], "note": note, **self._texts}, {})
                return
            one, said = _matrices(found, layer, head, self.hide_first)
            assert one.a is not None
            assert one.b is not None
            # Weights have the scale that all heads have.
            limit = 1.0 if not one.unit else max(map(largest, (one.a, one.b))) or 1.0
            self._publish({**_columns(found), **said, "limit": limit, **self._texts}, {"a": one.a, "b": one.b})


def largest(values: FloatArray) -> float:
    """The largest of the values that are there; 0 without any."""
    return float(finite(values).max(initial=0.0))


def _missing(found: AttentionDifference | MatrixDifference, layer: int, head: int) -> str:
    """Why a head cannot be shown; empty where it can."""
    if len(found.alignment) > MOST_COLUMNS:
        return f"The matrices of a head are drawn up to {MOST_COLUMNS:,} tokens in both prompts together."
    if isinstance(found, AttentionDifference) and (layer not in found.layers or head not in found.heads):
        return f"Layer {layer}, head {head} is not compared: choose a head of the map."
    return ""


def _matrices(
    found: AttentionDifference | MatrixDifference, layer: int, head: int, hide_first: bool
) -> tuple[Compared, dict[str, Any]]:
    """What is drawn, and what the browser needs to know of it besides its numbers."""
    if isinstance(found, MatrixDifference):
        title = found.matrix.name.capitalize()
        return found.matrix, {"layers": list(found.layers), "title": title, "what": found.about}
    other = found.layers_b[found.row_of(layer)]
    there = "" if other == layer else f" (B: layer {other})"
    quantity = f" · {found.quantity}" if found.quantity else ""
    said = {"layers": [layer], "what": f"layer {layer} · head {head}{there}{quantity}"}
    if not hide_first:
        return found.head(layer, head), said
    one, *hidden = without_first(found, layer, head)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip("AB", hidden, strict=True))
    return one, {**said, "what": f"{said['what']} · first token hidden ({shares})"}


def _columns(found: AttentionDifference | MatrixDifference) -> dict[str, Any]:
    """The tokens of both prompts that the queries and keys are."""
    words = ([piece.visible for piece in grid.prompt_pieces()] for grid in (found.a, found.b))
    places = (found.alignment.a.tolist(), found.alignment.b.tolist())
    in_a, in_b = (
        ["" if at < 0 else of_all[at] for at in of_columns] for of_all, of_columns in zip(words, places, strict=True)
    )
    return {
        "words_a": in_a, "words_b": in_b, "places_a": places[0], "places_b": places[1],
    }  # fmt: skip
