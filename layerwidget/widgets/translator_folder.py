"""A folder from which the tuned lens is loaded, and into which it is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets

from layerwidget.errors import LayerWidgetError, QuestionError

if TYPE_CHECKING:
    from layerwidget.widgets.tuned_page import TunedPage


class TranslatorFolder(ipywidgets.HBox):  # type: ignore[misc]
    """A path, a button to load and one to save, and what came of it.

    Attributes:
        path: the folder, in the published format: config.json and params.
        load, save: the buttons.
        said: what came of the last press, or why nothing did.

    Args:
        page: whose translators they are.
    """

    def __init__(self, page: TunedPage) -> None:
        self._page = page
        narrow = ipywidgets.Layout(width="auto", flex="0 0 auto")
        self.path = ipywidgets.Text(
            placeholder="Folder of translators", layout=ipywidgets.Layout(width="320px", flex="0 1 auto")
        )
        self.load = ipywidgets.Button(description="Load", layout=narrow)
        self.save = ipywidgets.Button(description="Save", layout=narrow, disabled=True)
        self.said = ipywidgets.Label(layout=ipywidgets.Layout(flex="1 1 auto", min_width="0"))
        self.said.add_class("lw-note")
        layout = ipywidgets.Layout(width="100%", align_items="center", margin="4px 0 0")
        super().__init__([self.path, self.load, self.save, self.said], layout=layout)
        self.add_class("lw-folder")
        self.load.on_click(lambda _button: self._tried(self._load))
        self.save.on_click(lambda _button: self._tried(self._save))
        page.observe(self._describe, "translators")

    def _describe(self, _change: object) -> None:
        self.save.disabled = self._page.translators is None

    def _tried(self, work: Callable[[Path], str]) -> None:
        """Do what a button says; whatever goes wrong is said here."""
        try:
            self.said.value = work(self._folder())
        except (LayerWidgetError, OSError) as error:
            self.said.value = str(error)

    def _folder(self) -> Path:
        if not self.path.value.strip():
            raise QuestionError("Type the path of a folder first.")
        return Path(self.path.value.strip()).expanduser()

    def _load(self, folder: Path) -> str:
        # Not above: the views of a file are drawn where there is no torch.
        from layerwidget.model.translator_files import load_translators

        self._page.translators = load_translators(folder)
        return f"Loaded from {folder}."

    def _save(self, folder: Path) -> str:
        from layerwidget.model.translator_files import save_translators

        if self._page.translators is None:
            raise QuestionError("There are no translators yet: train them first.")
        save_translators(self._page.translators, folder)
        return f"Saved to {folder}."
