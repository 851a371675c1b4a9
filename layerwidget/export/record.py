"""From an explorer to a recording: what its open pages show, of one prompt or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from layerwidget.errors import PromptError
from layerwidget.questions.tuned_lens import TunedLens
from layerwidget.recording import RecordedPrompt, Recording

if TYPE_CHECKING:
    from layerwidget.explorer import Explorer

#: Texts; of an encoder-decoder, each with its target.
Prompts: TypeAlias = Sequence[str | tuple[str, str]]


def with_targets(explorer: Explorer, prompts: Prompts) -> list[tuple[str, str]]:
    """Each text and its target, which is empty where there is none.

    Raises:
        PromptError: when a text has no target beside those that have one, or a model without an encoder is given one.
    """
    found, has_target = [], explorer.model.anatomy.encoder is not None
    for one in prompts:
        text, target = (one, "") if isinstance(one, str) else one
        if isinstance(one, str) and explorer.target:
            raise PromptError(
                f"{explorer.model.name} has an encoder and a decoder: another prompt has another target than "
                f"{explorer.target!r}. Write prompts=[(prompt, target), ...]; got {one!r}."
            )
        if not isinstance(one, str) and not has_target:
            raise PromptError(f"{explorer.model.name} has no encoder, so a prompt is a text; got {one!r}.")
        found.append((text, target))
    return found


def show_texts(explorer: Explorer, text: str, target: str) -> None:
    """Show another prompt and its target, and nothing of one of them alone."""
    with explorer.asking_once():
        if target != explorer.target:
            explorer.target = target
        explorer.prompt = text


def recording_of(explorer: Explorer, prompts: Prompts | None = None, timeout_s: float = 60.0) -> Recording:
    """What an explorer shows, once it is computed.

    Args:
        explorer: the explorer.
        prompts: texts that are shown one after the other, and recorded, of an encoder-decoder each with its target;
            the one that it shows where None.
        timeout_s: how long to wait for each.

    Raises:
        What `Explorer.wait` raises; `PromptError` where targets are missing; `RecordingError` when there is nothing to
        record.
    """
    own = (explorer.prompt, explorer.target)
    texts = [own] if prompts is None else with_targets(explorer, prompts)
    before, recorded = explorer.state, []
    try:
        for text, target in texts:
            show_texts(explorer, text, target)
            explorer.wait(timeout_s)
            recorded.append(_prompt(explorer))
    finally:
        if prompts is not None:
            explorer.state = before
    return Recording(tuple(recorded), explorer.model.name)


def _prompt(explorer: Explorer) -> RecordedPrompt:
    answers: dict[str, Any] = {}
    for page in explorer.stack.open_pages:
        # Of what is compared the differences are drawn: they hold both results.
        answers |= {name: explorer.results[name] for name in page.draws if name in explorer.results}
        answers |= page.besides
    # Translators are large, and nothing that is drawn needs them.
    questions = {
        name: question
        for name, question in explorer.questions.items()
        if name in answers and not isinstance(question, TunedLens)
    }
    return RecordedPrompt(explorer.prompt, answers, questions, explorer.state)
