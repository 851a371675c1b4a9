"""A second run beside the one that is edited: another prompt, or another model, one of several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from layerwidget.errors import Cancelled, LayerWidgetError, QuestionError
from layerwidget.questions import ModelQuestion, TraceQuestion

if TYPE_CHECKING:
    from layerwidget.engine.local import Live
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.tokens import Tokens

#: A model; what `layerwidget.load` takes; or a function that makes one when it is needed.
ModelSource: TypeAlias = "HookedModel | str | os.PathLike[str] | Callable[[], HookedModel]"


class OtherModels:
    """Models by name. Of those that have to be loaded, only the one that was asked for last is in memory.

    Args:
        reference: the model that they are compared with: they must have its tokenizer.
        sources: name -> model, or where it comes from; nothing is loaded before it is asked for.

    Raises:
        QuestionError: when there is none.
    """

    def __init__(self, reference: HookedModel, sources: Mapping[str, ModelSource]) -> None:
        if not sources:
            raise QuestionError("Expected a model to compare with, or several by their names; got none.")
        self._reference, self._sources = reference, dict(sources)
        self._held: tuple[str, Live] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the order in which they were given."""
        return tuple(self._sources)

    def live(self, name: str) -> Live:
        """The engine of a model, which is loaded for it.

        Raises:
            QuestionError: when it has another tokenizer than the reference.
            ModelLoadError: when it cannot be loaded.
        """
        # Not above: the views of a file are drawn where there is no torch.
        from layerwidget.engine.local import Live

        if self._held is None or self._held[0] != name:
            # The last one goes before the next one comes.
            self._held = None
            model = _model_of(self._sources[name])
            _check_tokenizers(self._reference, model)
            # What can be reused with the reference is proved by whoever shows it; nobody else proves it of another one.
            self._held = (name, Live(model, proves_at_once=model is not self._reference))
        return self._held[1]


def _model_of(source: ModelSource) -> HookedModel:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.model.load import load

    if isinstance(source, str | os.PathLike):
        return load(source)
    return source if isinstance(source, HookedModel) else source()


def _check_tokenizers(one: HookedModel, other: HookedModel) -> None:
    if one is other:
        return
    # Some models pad their vocabulary: where both have a tokenizer, that is what counts.
    if one.tokenizer is None or other.tokenizer is None:
        same = one.d_vocab == other.d_vocab
    else:
        same = one.tokenizer.get_vocab() == other.tokenizer.get_vocab()
    if not same:
        raise QuestionError(
            f"{one.name} and {other.name} read different tokens: models are compared when they have the same tokenizer."
        )


def _as_it_is(question: TraceQuestion[Any], _model: HookedModel) -> TraceQuestion[Any]:
    return question


@dataclass(frozen=True)
class OtherRun:
    """What is to be known of a second run; equal ones have equal answers.

    Attributes:
        models: where the model comes from.
        name: which one of them.
        prompt: its text, or the tokens that the first one reads, too.
        questions: name and question.
        phrased: called with each question, and the model that is asked, once the first run is answered: the question
            as that model is asked it, such as of the token that the first run predicts, or of its own layers; raises a
            `LayerWidgetError` where it cannot be asked.
    """

    models: OtherModels
    name: str
    prompt: str | Tokens
    questions: tuple[tuple[str, TraceQuestion[Any]], ...]
    phrased: Callable[[TraceQuestion[Any], HookedModel], TraceQuestion[Any]] = field(default=_as_it_is, compare=False)

    def answers(self, interventions: Sequence[object] = ()) -> dict[str, Any]:
        """Name -> answer, or the error that says why there is none. To be called on the worker's thread.

        Raises:
            Cancelled: when a newer edit made this one useless.
        """
        refused: dict[TraceQuestion[Any], LayerWidgetError] = {}
        try:
            live = self.models.live(self.name)
            asked, without = self._phrased_for(live.model)
            found = live.update(self.prompt, *asked.values(), interventions=interventions, refused=refused.__setitem__)
        except Cancelled:
            raise
        except LayerWidgetError as error:
            return {name: error for name, _ in self.questions}
        named = zip(asked.items(), found, strict=True)
        return without | {name: refused.get(question, answer) for (name, question), answer in named}

    def _phrased_for(self, model: HookedModel) -> tuple[dict[str, TraceQuestion[Any]], dict[str, Any]]:
        """By their names the questions as a model is asked them, and the reasons why it is not asked others."""
        asked: dict[str, TraceQuestion[Any]] = {}
        without: dict[str, Any] = {}
        for name, question in self.questions:
            try:
                asked[name] = self.phrased(question, model)
            except LayerWidgetError as error:
                without[name] = error
        return asked, without


@dataclass(frozen=True)
class OfBoth(ModelQuestion[tuple[str, Any, Any]]):
    """One question about two models: the name of the other one, the first one's answer, and the other's.

    Attributes:
        question: what is asked.
        models, name: the other model.
        other: what that one is asked, where it is not the same.
    """

    question: ModelQuestion[Any]
    models: OtherModels
    name: str
    other: ModelQuestion[Any] | None = None

    def n_passes(self, model: HookedModel) -> int:
        """As many for the other one, which need not be loaded to say so."""
        return 2 * self.question.n_passes(model)

    def run(self, model: HookedModel, progress: Callable[[int, int], None] | None = None) -> tuple[str, Any, Any]:
        """The name and both answers. To be called on the worker's thread.

        Raises:
            QuestionError, ModelLoadError: as `OtherModels.live` does.
        """
        n_each = self.question.n_passes(model)

        def told(before: int, done: int, of: int) -> None:
            if progress is not None:
                progress(before + min(done, n_each), 2 * n_each)

        own = self.question.run(model, partial(told, 0))
        told(n_each, 0, n_each)
        other = self.models.live(self.name).model
        return self.name, own, (self.other or self.question).run(other, partial(told, n_each))
