"""Runs in the kernel of a notebook that many tests share: its explorer becomes as it was before anybody touched it."""

from __future__ import annotations

from typing import Any

from layerwidget.engine.worker import Worker
from layerwidget.explorer import Explorer
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.traits import Selection, SelectionTraits

_CHOSEN = ("layers", "layer", "head", "position", "token", "tokens")


class FirstState:
    """Where an explorer and the views beside it are now, to come back to from anywhere.

    Args:
        explorer: shows its first prompt, on pages that stay.
        place: what is chosen in the first state.
        views: which stand alone.
    """

    def __init__(self, explorer: Explorer, place: Selection, *views: SelectionTraits) -> None:
        self._explorer = explorer
        explorer.wait()
        explorer.selection = place
        explorer.wait()
        self._state, self._kept = explorer.state, set(explorer.stack.made_pages)
        self._context = explorer.model.n_ctx
        self._views = [(view, {name: getattr(view, name) for name in _CHOSEN}) for view in views]

    def restore(self) -> None:
        """Come back, and compute what is shown there.

        Raises:
            LayerWidgetError: when that cannot be computed.
            TimeoutError: when something keeps the model busy.
        """
        explorer = self._explorer
        explorer.model.n_ctx = self._context
        explorer.preset, explorer.scenes = "explore", ()
        explorer.complain(None)
        self._go()
        self._forget_pages()
        # What came before may have moved the place while it was computed.
        self._go()
        for view, chosen in self._views:
            for name, value in chosen.items():
                setattr(view, name, value)

    @property
    def holds(self) -> bool:
        """Whether the explorer is in the first state."""
        return self._explorer.state == self._state

    def _go(self) -> None:
        self._explorer.state = self._state
        self._explorer.wait()

    def _forget_pages(self) -> None:
        """Pages that were opened since are made anew when they are opened again: what was chosen there is gone."""
        pages: dict[str, Any] = self._explorer.stack._pages
        opened = {name: page for name, page in pages.items() if page not in self._kept}
        worker, kept = Worker.of(self._explorer.model), parts_of(self._explorer)
        for name, page in opened.items():
            del pages[name]
            for part in parts_of(page) - kept:
                worker.leave(part)
                part.close()
