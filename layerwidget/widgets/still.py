"""The picture beside a live widget: what a saved notebook shows where no kernel runs.

A live output cannot be brought up to date without being drawn anew. So every display has a second output, which the
style sheet hides as long as something is alive beside it, and which gets a new picture when all has been quiet.
"""

from __future__ import annotations

import base64
import html
import json
import sys
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ipywidgets.embed import dependency_state

from layerwidget.figures.raster import png_aside
from layerwidget.widgets.shell import interactive_shell

#: A picture is made when nothing has changed for so long.
QUIET_S = 3.0
#: A kernel that ends waits no longer than this for a last picture; Jupyter kills it after five seconds.
MOST_HELD_S = 4.0
#: What stands in the notebook is no larger than this for each view in it, in bytes: state, picture and table together.
MOST_BYTES = 200_000
#: Picture and table are no larger than this however many views there are.
_MOST_OF_ALL = 560_000
#: And may be as large as this, however large the state is.
_LEAST_ROOM = 40_000
_LETTERS_BESIDE = 2_000
_SCALES = (1.0, 0.75, 0.5, 0.35, 0.25)
_VIEW = "application/vnd.jupyter.widget-view+json"


class Stills:
    """The pictures of one widget, one for each place where it is displayed.

    Args:
        widget: what is displayed.
        settle: called when a cell that displayed it is done, before the first picture: waits until there is something.
        watched: whose changes make a new picture necessary.
    """

    def __init__(self, widget: Any, settle: Callable[[], None], watched: Callable[[], list[Any]]) -> None:
        self._widget, self._settle, self._watched = widget, settle, watched
        self._places: list[tuple[str, str]] = []
        self._new: list[tuple[str, str]] = []
        self._wake = threading.Condition()
        self._due: float | None = None
        self._drawing = False
        self._keeper: threading.Thread | None = None

    def display(self) -> None:
        """Display the widget; its picture follows when the cell is done."""
        live, still = uuid.uuid4().hex, uuid.uuid4().hex
        publish(_live_bundle(self._widget), live)
        shell = interactive_shell()
        if shell is None:
            return
        for watched in self._watched():
            watched.observe(self.changed)
        self._new.append((live, still))
        shell.events.register("post_run_cell", self._cell_done)

    def freeze(self) -> None:
        """Put the picture, and no more, where the widget was displayed."""
        self._end()
        svg, text, room = self._widget.to_svg(), self._widget.to_text(), _room(self._widget)
        for live, still in self._places + self._new:
            publish(_picture_bundle(svg, text, room), live, update=True)
            publish({"text/html": "", "text/plain": ""}, still, update=True)
        self._places, self._new = [], []

    def close(self) -> None:
        """The widget goes; its last picture stays."""
        self.bring_up_to_date()
        self._places, self._new = [], []

    def bring_up_to_date(self) -> None:
        """The last picture that there will be, at once."""
        with self._wake:
            # What the keeper draws now comes too late.
            outdated = (self._due is not None or self._drawing) and bool(self._places)
            self._end()
        if outdated:
            self._publish_or_warn(update=True, places=self._places)

    def _hidden(self) -> dict[str, Any]:
        return _hidden_bundle(self._widget.to_svg(), self._widget.to_text(), _room(self._widget))

    def _cell_done(self, *_result: object) -> None:
        shell = interactive_shell()
        assert shell is not None
        shell.events.unregister("post_run_cell", self._cell_done)
        self._settle()
        new, self._new = self._new, []
        self._places += new
        self._due = None
        self._publish_or_warn(update=False, places=new)
        if self._keeper is None and new:
            self._keeper = threading.Thread(target=self._keep, name="layerwidget-stills", daemon=True)
            self._keeper.start()
            _shown.add(self)
            # Earlier than `atexit`, when nothing large can be sent any more.
            shell.observe(_kernel_ends, "exit_now")

    def _publish_or_warn(self, update: bool, places: list[tuple[str, str]]) -> None:
        try:
            self._publish(update, places)
        except Exception as error:
            # What is alive is there all the same.
            warnings.warn(f"There is no picture beside the live {type(self._widget).__name__}: {error}", stacklevel=2)

    def _publish(self, update: bool, places: list[tuple[str, str]]) -> None:
        bundle = self._hidden()
        for _live, still in places:
            publish(bundle, still, update=update)

    def changed(self, _change: object = None) -> None:
        """Something else is drawn now."""
        with self._wake:
            # Whoever waits for an earlier moment looks again then: only one that waits for none has to be woken.
            asleep, self._due = self._due is None, time.monotonic() + QUIET_S
            if asleep:
                self._wake.notify()

    def _end(self) -> None:
        with self._wake:
            self._keeper, self._due = None, None
            self._wake.notify()

    def _keep(self) -> None:
        """On a thread of its own: a new picture whenever all has been quiet for a while."""
        while self._is_due():
            # Drawn while something moves on, it may not be drawn at all; then that something asks for the next one.
            try:
                self._put(self._hidden())
            except Exception:
                self._drawing = False

    def _put(self, bundle: dict[str, Any]) -> None:
        """On the keeper's thread: a new picture, unless the widget was frozen or closed while it was drawn."""
        with self._wake:
            self._drawing = False
            if self._keeper is threading.current_thread():
                for _live, still in self._places:
                    publish(bundle, still, update=True)

    def _is_due(self) -> bool:
        """Wait until a picture is due; false when there will be no more."""
        with self._wake:
            while self._keeper is threading.current_thread():
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    self._due, self._drawing = None, True
                    return True
                self._wake.wait(left)
        return False


#: What is displayed somewhere.
_shown: weakref.WeakSet[Stills] = weakref.WeakSet()


def _kernel_ends(_change: object) -> None:
    """A front end that is still there gets the last pictures; nothing is said where one cannot be drawn any more."""
    with _held_open(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for stills in list(_shown):
            stills.bring_up_to_date()


def publish(bundle: dict[str, Any], display_id: str, update: bool = False) -> None:
    """Display something, or put it where something of that id is displayed."""
    from IPython.display import display

    display(bundle, raw=True, display_id=display_id, update=update)  # type: ignore[no-untyped-call]


@contextmanager
def _held_open() -> Iterator[None]:
    """Keep a kernel that ends from closing its channels until what is done here has been sent.

    It is told on one thread that it ends, and a moment later another closes everything.
    """
    shell, done = interactive_shell(), threading.Event()
    loop = getattr(getattr(shell, "kernel", None), "io_loop", None)
    if loop is not None:
        loop.add_callback(done.wait, MOST_HELD_S)
    try:
        yield
    finally:
        # Returns when what was published before has left the process.
        sys.stdout.flush()
        done.set()


def _live_bundle(widget: Any) -> dict[str, Any]:
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    # The whole table comes with the picture.
    return {_VIEW: view, "text/plain": widget.to_text().partition("\n")[0]}


def _hidden_bundle(svg: str, text: str, most_bytes: int) -> dict[str, Any]:
    """A picture that is not seen beside something that is alive."""
    beside = html.escape(text[:_LETTERS_BESIDE])
    image = _small_image(svg, most_bytes - len(text.encode()) - len(beside.encode()))
    markup = (
        f'<div class="lw-still"><img style="max-width:100%" alt="{beside}" src="data:image/png;base64,{image}"></div>'
    )
    return {"text/html": markup, "text/plain": text}


def _picture_bundle(svg: str, text: str, most_bytes: int) -> dict[str, Any]:
    return {"image/png": _small_image(svg, most_bytes - len(text.encode())), "text/plain": text}


def _room(widget: Any) -> int:
    """How large a widget's picture and table may be, in bytes; what Jupyter writes around them takes the rest."""
    left = MOST_BYTES * max(1, len(widget.pictured_views)) - saved_bytes(widget) - 1_000
    return max(_LEAST_ROOM, min(left, _MOST_OF_ALL - 1_000))


def saved_bytes(widget: Any) -> int:
    """How large its state is in a notebook that holds it: views and all else in it, with code and style sheet."""
    return len(json.dumps(dependency_state([widget], drop_defaults=False)))


def _small_image(svg: str, most_bytes: int) -> str:
    """The sharpest picture that is not too large for a notebook, as base64."""
    made = ""
    for scale in _SCALES:
        made = base64.b64encode(png_aside(svg, scale)).decode()
        if len(made) <= most_bytes:
            break
    return made
