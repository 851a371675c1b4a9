"""Who hears of answers while they are computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion

#: Parts of answers that are told of at each edit.
_MOST_PARTS = 2
_NEXT_PART_S = 0.5


class Told:
    """Who hears of answers; of their parts, the first at once, and one more when the rest takes long.

    Args:
        questions: those whose answers are heard of; the others serve them.
        answered: told of whole answers.
        previewed: told of parts.
        refused: told of errors; without it, they are raised.

    Attributes:
        errors: why there is no answer to a question.
    """

    def __init__(
        self,
        questions: Collection[TraceQuestion[Any]],
        answered: Callable[[TraceQuestion[Any], Any], None] | None,
        previewed: Callable[[TraceQuestion[Any], Any], None] | None,
        refused: Callable[[TraceQuestion[Any], LayerWidgetError], None] | None,
    ) -> None:
        self.errors: dict[TraceQuestion[Any], LayerWidgetError] = {}
        self._questions = questions
        self._answered = answered
        self._previewed = previewed
        self._refused = refused
        self._times: list[float] = []

    def whole(self, question: TraceQuestion[Any], answer: Any) -> None:
        """An answer is there."""
        if self._answered is not None and question in self._questions:
            self._answered(question, answer)

    def part(self, question: TraceQuestion[Any], answer: Any) -> None:
        """A part of an answer is there."""
        now = time.monotonic()
        due = not self._times or (len(self._times) < _MOST_PARTS and now - self._times[-1] > _NEXT_PART_S)
        if self._previewed is not None and question in self._questions and due:
            self._times.append(now)
            self._previewed(question, answer)

    def refusal(self, question: TraceQuestion[Any], error: LayerWidgetError) -> None:
        """There is no answer to a question.

        Raises:
            LayerWidgetError: that error, where nobody wants to hear of it.
        """
        if self._refused is None:
            raise error
        self.errors[question] = error
        if question in self._questions:
            self._refused(question, error)
