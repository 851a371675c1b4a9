"""The second text of an encoder-decoder: what its decoder has written so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerwidget.widgets.prompt_editor import PromptEditor

if TYPE_CHECKING:
    from layerwidget.tokens import Tokens


class TargetEditor(PromptEditor):
    """The target; the positions of all views are those of its tokens. Without an encoder it takes no room.

    Args:
        prompt: the target.
        source_editor: where the source is typed; its tokens are no positions any more.
        has_encoder: whether the model reads a target at all.
    """

    def __init__(self, prompt: str, source_editor: PromptEditor, has_encoder: bool, **shared: Any) -> None:
        placeholder = "Target: type what the decoder has written so far"
        super().__init__(prompt, placeholder=placeholder, text_name="target", **shared)
        self._source_editor, self._has_encoder = source_editor, has_encoder
        self.add_class("lw-target")
        if has_encoder:
            source_editor.choosable, source_editor.placeholder = False, "Type what the encoder reads"
        else:
            self.layout.display = "none"

    def show_both(self, tokens: Tokens | None, note: str = "") -> None:
        """Draw the token strips of prompt and target."""
        source = None if tokens is None else tokens.source
        self._source_editor.show_tokens(source or tokens, note)
        self.show_tokens(tokens if self._has_encoder else None)

    @property
    def words(self) -> list[str]:
        """How the tokens are shown that are positions."""
        editor = self if self._has_encoder else self._source_editor
        return list(editor.shown.meta.get("visible") or [])
