"""The prompt and its tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets as t

from layerwidget.tokens import Tokens, well_formed
from layerwidget.widgets.base import View


class PromptEditor(View, module="prompt_editor"):
    """A text area with the token strip under it; a click on a token selects its position.

    The text belongs to the browser while it is being edited and is never written back then.

    Attributes:
        prompt: the text.
        placeholder: what an empty text area says.
        read_only: whether the text can be edited; the tokens can be chosen all the same.
        choosable: whether a click on a token chooses its position.
        text_name: under which name views of the same group hear of the text; of the first prompt, `prompt`. A word that
            is clicked is appended to the target, where there is one.
    """

    prompt = t.Unicode().tag(sync=True)
    placeholder = t.Unicode("Type a prompt").tag(sync=True)
    read_only = t.Bool(False).tag(sync=True)
    text_name = t.Enum(("prompt", "second_prompt", "target"), "prompt").tag(sync=True)
    choosable = t.Bool(True).tag(sync=True)

    def __init__(self, prompt: str = "", **traits: Any) -> None:
        super().__init__(prompt=well_formed(prompt), **traits)

    @t.validate("prompt")
    def _encodable(self, proposal: dict[str, Any]) -> str:
        return well_formed(proposal["value"])

    def recorded_traits(self) -> dict[str, Any]:
        """Only to be read."""
        return {**super().recorded_traits(), "read_only": True}

    def show_tokens(self, tokens: Tokens | None, note: str = "") -> None:
        """Draw the token strip; `note` is one line under it."""
        ids = np.asarray([] if tokens is None else tokens.ids, dtype=np.int32)
        visible = [] if tokens is None else [piece.visible for piece in tokens]
        self._publish({"ids": ids.tolist(), "visible": visible, "note": note}, {})
