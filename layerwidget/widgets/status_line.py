"""What the model is, what was computed, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import traitlets as t

from layerwidget.widgets.base import Panel

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel


class StatusLine(Panel, module="status_line"):
    """One line: model, shape, what was checked, tokens and time of the last pass, and whether the picture is fresh.

    Attributes:
        group: whose prompt it watches.
        model_name, facts: which model, and its size in words.
        checked: what was verified, in a few words; `failing` when something does not hold.
        report: the whole report, which a click on `checked` opens.
        work: tokens and time of the last pass.
        state: `empty`, `busy`, `fresh`, `stopped` or `failed`.
        prompt: the text that the picture belongs to.
    """

    group = t.Unicode().tag(sync=True)
    model_name = t.Unicode().tag(sync=True)
    facts = t.Unicode().tag(sync=True)
    checked = t.Unicode().tag(sync=True)
    failing = t.Bool(False).tag(sync=True)
    report = t.Unicode().tag(sync=True)
    work = t.Unicode().tag(sync=True)
    state = t.Enum(("empty", "busy", "fresh", "stopped", "failed"), "empty").tag(sync=True)
    prompt = t.Unicode().tag(sync=True)

    @classmethod
    def of_model(cls, model: HookedModel, **traits: Any) -> StatusLine:
        """A line that says of a model its name, its size and what was verified of it."""
        anatomy = model.anatomy
        heads = f" · {anatomy.n_heads} heads" if anatomy.n_heads else ""
        grouped = f" ({anatomy.n_kv_heads} kv)" if anatomy.n_heads and anatomy.n_kv_heads != anatomy.n_heads else ""
        return cls(
            model_name=model.name,
            facts=f"{anatomy.n_layers} layers{heads}{grouped} · {anatomy.d_model} wide",
            checked=f"exact: {', '.join(anatomy.verified)}",
            **traits,
        )

    def recorded_traits(self) -> dict[str, Any]:
        """The state of a recording."""
        return {**super().recorded_traits(), "state": "recorded"}

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call back when the stop button is pressed, which is there while something is computed."""
        self.on_msg(lambda _widget, content, _buffers: callback() if content.get("type") == "stop" else None)


class ErrorPanel(Panel, module="error_panel"):
    """An error in words, with its whole traceback behind a toggle; nothing is drawn while there is none."""

    message = t.Unicode().tag(sync=True)
    traceback = t.Unicode().tag(sync=True)
