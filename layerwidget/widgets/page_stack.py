"""The open pages of an explorer, one under the other, with their tabs and the layer slider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import traitlets as t

from layerwidget.errors import SelectionError
from layerwidget.widgets.page import Page
from layerwidget.widgets.tab_bar import TabBar

_ROW = {"align_items": "flex-start", "width": "100%"}


class PageStack(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Tabs above, the layer slider beside the first open page. A page is made when it is first opened.

    Attributes:
        shown: the names of the open pages, in the order in which they stand.
        tab_bar: the tabs.
        kinds: name -> type of page, in the order of the tabs.

    Args:
        kinds: the types of pages.
        build: makes a page of a type.
        slider: stands beside pages whose rows are layers.
        shown: the first open pages.

    Raises:
        SelectionError: when two pages have one name, or one has none.
    """

    shown = t.List(t.Unicode())

    def __init__(
        self,
        kinds: Sequence[type[Page]],
        build: Callable[[type[Page]], Page],
        slider: ipywidgets.Widget,
        shown: Sequence[str],
    ) -> None:
        self.kinds = {kind.page_name: kind for kind in kinds}
        if "" in self.kinds or len(self.kinds) < len(kinds):
            names = [kind.page_name for kind in kinds]
            raise SelectionError(f"Every page has a page_name of its own; got {names}.")
        self._build, self._slider = build, slider
        self._pages: dict[str, Page] = {}
        self.tab_bar = TabBar(titles=[(kind.page_name, kind.page_title) for kind in kinds])
        # They stay where they are and only their children change: what stands behind them would be drawn anew.
        self._above, self._below = (ipywidgets.VBox(layout=ipywidgets.Layout(width="100%")) for _ in range(2))
        self._first = ipywidgets.HBox(layout=ipywidgets.Layout(**_ROW))
        for box, place in ((self._above, "above"), (self._first, "first"), (self._below, "below")):
            box.add_class(f"lw-stack-{place}")
        super().__init__(
            [self.tab_bar, self._above, self._first, self._below],
            shown=list(shown),
            layout=ipywidgets.Layout(width="100%"),
        )
        self._arrange(None)
        self.observe(self._arrange, "shown")
        self.tab_bar.observe(self._opened, "shown")

    @t.validate("shown")
    def _known(self, proposal: dict[str, Any]) -> list[str]:
        names = self.checked(proposal["value"])
        # Before they are open: the model's thread, which asks what the open pages need, would make them a second time.
        for name in names:
            self.page(name)
        return names

    def checked(self, names: Sequence[str]) -> list[str]:
        """Names of pages that can be open.

        Raises:
            SelectionError: when there are none, or one comes twice, or one has no page.
        """
        if not names or len(set(names)) < len(names) or any(name not in self.kinds for name in names):
            raise SelectionError(
                f"The open pages are one or more of {', '.join(self.kinds)}, each once; got {list(names)}."
            )
        return list(names)

    def page(self, name: str) -> Page:
        """A page, open or not.

        Raises:
            SelectionError: when there is none of that name.
        """
        if name not in self.kinds:
            raise SelectionError(f"There is no page {name!r}. There are: {', '.join(self.kinds)}.")
        if name not in self._pages:
            self._pages[name] = self._build(self.kinds[name])
        return self._pages[name]

    @property
    def open_pages(self) -> tuple[Page, ...]:
        """The open pages, first one first."""
        return tuple(self.page(name) for name in self.shown)

    @property
    def made_pages(self) -> tuple[Page, ...]:
        """All that were ever opened."""
        return tuple(self._pages.values())

    def _opened(self, change: dict[str, Any]) -> None:
        self.shown = change["new"]

    def _arrange(self, _change: object) -> None:
        first, *others = self.open_pages
        # A page that is open alone can be arranged as one, by its name, in `js/style.css`; figures measure their place.
        self._dom_classes = ("lw-stack", *(f"lw-only-{name}" for name in self.shown[:1] if not others))
        self._above.children = first.above
        self._first.children = (self._slider, first.beside) if first.has_rail else (first.beside,)
        self._below.children = (*first.below, *others)
        self.tab_bar.shown = list(self.shown)
