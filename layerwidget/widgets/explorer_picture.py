"""A whole explorer on paper: which model, what was checked, the prompt, and the open pages."""

from __future__ import annotations

from collections.abc import Sequence

from layerwidget.figures.header_figure import chips_picture, header_picture, note_picture, section_picture
from layerwidget.figures.svg import Picture, above
from layerwidget.figures.tables import said
from layerwidget.figures.themes import Theme
from layerwidget.widgets.page import Page
from layerwidget.widgets.status_line import StatusLine


def explorer_picture(
    status: StatusLine, words: Sequence[str], chosen: int | None, pages: Sequence[Page], theme: Theme, width: float
) -> Picture:
    """The head, and the open pages under each other, each with its name where there are several."""
    head = header_picture(status.model_name, status.facts, status.checked, status.failing, _work(status), width, theme)
    prompt = chips_picture(words, chosen, width, theme) if words else note_picture("no prompt", width, theme)
    parts = [head, prompt]
    for page in pages:
        if len(pages) > 1:
            parts.append(section_picture(page.page_title, width, theme))
        parts.append(page._picture(theme, width))
    return above(parts, 12)


def explorer_text(status: StatusLine, prompt: str) -> str:
    """The head in letters."""
    checked = f"{'fails' if status.failing else 'checked'}: {status.checked}" if status.checked else ""
    return said(f"{status.model_name} · {status.facts}", checked, f"prompt: {prompt!r}" if prompt else "no prompt")


def _work(status: StatusLine) -> str:
    """How many tokens; how long the last pass took is of no use on paper. Also that it is not of this prompt."""
    if status.state in ("busy", "failed", "stopped"):
        return {"busy": "still computing", "failed": status.work, "stopped": "stopped"}[status.state]
    return str(status.work).partition(" · ")[0]
