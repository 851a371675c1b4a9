"""Tabs: which pages are open, and in which order."""

from __future__ import annotations

import traitlets as t

from layerwidget.widgets.base import Panel


class TabBar(Panel, module="tab_bar"):
    """A row of tabs. A click shows one page alone; `+` shows it under those that are open, `×` closes it.

    With the keyboard: arrows go from tab to tab, Enter shows one alone, Shift with Enter adds or closes it, Alt with an
    arrow moves an open one.

    Attributes:
        titles: name and title of every page.
        shown: the names of the open pages, in the order in which they stand.
    """

    titles = t.List(t.Tuple(t.Unicode(), t.Unicode())).tag(sync=True)
    shown = t.List(t.Unicode()).tag(sync=True)
