"""The interactive shell that runs cells, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def interactive_shell() -> Any:
    """IPython's, in a notebook or a terminal; None in a plain Python process."""
    from IPython import get_ipython

    return get_ipython()


def after_each_cell(action: Callable[[], None]) -> None:
    """Do something whenever a cell or a widget's message is done, on the thread that ran it.

    Once, however often it was asked for, and for as long as the process lives; never where nobody runs cells.
    """
    shell = interactive_shell()
    if shell is not None:
        shell.events.register("post_execute", action)
