"""What the page of comparisons asks on request: what the heads of both models are, and what is lost without a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerwidget.engine.other_run import OfBoth, OtherModels
from layerwidget.model.interventions import canonical
from layerwidget.questions import ModelQuestion
from layerwidget.questions.attention_flow import AllHeadScores
from layerwidget.questions.compared import ColumnDifference, Difference
from layerwidget.questions.comparing import Match, difference
from layerwidget.questions.skip_effect import SkipEffect
from layerwidget.widgets.request_bar import RequestBar

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.tokens import Tokens
    from layerwidget.widgets.page import Standpoint


@dataclass(frozen=True)
class SkipsOfBoth(ModelQuestion[tuple["SkipsOfBoth", Any, Any]]):
    """What is lost without each layer in two runs. It is in its answer: that is about these two runs and no others.

    Attributes:
        both: the skip effect of both.
    """

    both: OfBoth

    @classmethod
    def of(cls, standpoint: Standpoint, second: Tokens, models: OtherModels, name: str) -> SkipsOfBoth:
        """Of the run on screen, and of what is read beside it by one of the models; equal for the same two runs."""
        changes = canonical(standpoint.interventions, standpoint.anatomy.n_layers)
        own, other = (SkipEffect.of_tokens(one, changes) for one in (standpoint.tokens, second))
        return cls(OfBoth(own, models, name, other))

    def n_passes(self, model: HookedModel) -> int:
        """Those of both."""
        return self.both.n_passes(model)

    def run(
        self, model: HookedModel, progress: Callable[[int, int], None] | None = None
    ) -> tuple[SkipsOfBoth, Any, Any]:
        """The question and both answers. To be called on the worker's thread.

        Raises:
            QuestionError, ModelLoadError: as `OtherModels.live` does.
        """
        _, own, other = self.both.run(model, progress)
        return self, own, other


class HeldRequests:
    """The buttons of the page, and what came of them last.

    Attributes:
        scores: what is asked of both models: what their heads are.
        score_bar: the button for it.
        skip_bar: the button that asks what is lost without each layer in both runs.
    """

    def __init__(self, n_tokens: int) -> None:
        self.scores = AllHeadScores(n_tokens)
        self.score_bar = RequestBar(label=f"Score the heads of A and B on {n_tokens} random tokens, repeated")
        self.score_bar.layout.flex = "1 1 auto"
        self.skip_bar = RequestBar(label="Skip each layer in A and in B")
        self.skip_bar.layout.display = "none"
        # What heads are, and in which of the models.
        self._scored: tuple[str, tuple[ColumnDifference, ...]] = ("", ())
        # What is lost without each layer, and of which two runs.
        self._skipped: tuple[SkipsOfBoth, Difference] | None = None

    def keep_scores(self, answer: tuple[str, Any, Any], match: Match) -> str:
        """Keep what the heads of both models are; returns the name of the other model."""
        name, *both = answer
        scores = (difference(a, b, match) for a, b in zip(*both, strict=True))
        self._scored = name, tuple(one for one in scores if isinstance(one, ColumnDifference))
        return name

    def scores_of(self, name: str) -> tuple[ColumnDifference, ...]:
        """What heads are in this model and the page's own, where that is known."""
        return self._scored[1] if self._scored[0] == name else ()

    def keep_skips(self, answer: tuple[SkipsOfBoth, Any, Any], match: Match) -> None:
        """Keep what is lost without each layer in two runs."""
        question, a, b = answer
        found = difference(a, b, match)
        assert isinstance(found, Difference)
        self._skipped = question, found

    def skips_of(self, runs: SkipsOfBoth | None) -> tuple[Difference, ...]:
        """What is lost without each layer in these two runs, where that is known."""
        return (self._skipped[1],) if self._skipped is not None and self._skipped[0] == runs else ()
