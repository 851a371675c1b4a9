"""What the model is, what was computed, and what went wrong."""

from __future__ import annotations

import traitlets as t

from layerwidget.widgets.base import Panel


class StatusLine(Panel, module="status_line"):
    """One line: model, shape, what was verified, tokens and time of the last pass, and whether the picture is fresh."""

    group = t.Unicode().tag(sync=True)
    model_name = t.Unicode().tag(sync=True)
    facts = t.Unicode().tag(sync=True)
    checked = t.Unicode().tag(sync=True)
    work = t.Unicode().tag(sync=True)
    state = t.Enum(("empty", "busy", "fresh", "failed"), "empty").tag(sync=True)
    prompt = t.Unicode().tag(sync=True)


class ErrorPanel(Panel, module="error_panel"):
    """An error in words, with its whole traceback behind a toggle; nothing is drawn while there is none."""

    message = t.Unicode().tag(sync=True)
    traceback = t.Unicode().tag(sync=True)
