"""From an explorer to a recording: what its open pages show, of one prompt or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from layerwidget.questions.tuned_lens import TunedLens
from layerwidget.recording import RecordedPrompt, Recording

if TYPE_CHECKING:
    from layerwidget.explorer import Explorer


def recording_of(explorer: Explorer, prompts: Sequence[str] | None = None, timeout_s: float = 60.0) -> Recording:
    """What an explorer shows, once it is computed.

    Args:
        explorer: the explorer.
        prompts: texts that are shown one after the other, and recorded; the one that it shows where None.
        timeout_s: how long to wait for each.

    Raises:
        What `Explorer.wait` raises; `RecordingError` when there is nothing to record.
    """
    before, recorded = explorer.state, []
    try:
        for text in [explorer.prompt] if prompts is None else prompts:
            explorer.prompt = text
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
