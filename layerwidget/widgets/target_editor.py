"""The second text of an encoder-decoder: what its decoder has written so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerwidget.widgets.prompt_editor import PromptEditor

if TYPE_CHECKING:
    from layerwidget.tokens import Tokens


class TargetEditor(PromptEditor):
    """The target; the positions of all views are those of its tokens.

    Args:
        prompt: the target.
        source_editor: where the source is typed; its tokens are no positions any more.
    """

    def __init__(self, prompt: str, source_editor: PromptEditor, **shared: Any) -> None:
        placeholder = "Target: type what the decoder has written so far"
        super().__init__(prompt, placeholder=placeholder, text_name="target", **shared)
        self.add_class("lw-target")
        self._source_editor = source_editor
        source_editor.choosable, source_editor.placeholder = False, "Type what the encoder reads"

    def show_both(self, tokens: Tokens | None, note: str = "") -> None:
        """Draw the token strips of source and target."""
        self._source_editor.show_tokens(None if tokens is None else tokens.source or tokens, note)
        self.show_tokens(tokens)
