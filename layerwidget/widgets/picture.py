"""Pictures for papers: what a view shows now as SVG, PNG, PDF and as a table of letters, made without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import anywidget
import ipywidgets

from layerwidget.figures.header_figure import note_picture
from layerwidget.figures.raster import StrPath, pdf, png, written
from layerwidget.figures.shown import Place
from layerwidget.figures.svg import Picture, above, beside, document
from layerwidget.figures.tables import said
from layerwidget.figures.themes import PAPER, Theme, theme_of
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.still import Stills
from layerwidget.widgets.traits import SelectionTraits

_GAP = 16
#: Nothing is narrower, in px.
_NARROW = 260.0


class Pictured:
    """What can be saved as a picture: the same rows, colours, numbers and choices that are on the screen.

    A view answers `_picture` and `to_text`; the files are made here.
    """

    #: How wide its picture is unless somebody says otherwise, in px.
    picture_width: ClassVar[float] = 960
    #: The width it keeps beside others; None where it takes what is left.
    kept_width: ClassVar[float | None] = None

    def to_svg(self, path: StrPath | None = None, *, theme: Theme | str = PAPER, width: float | None = None) -> str:
        """What is shown now as SVG text.

        Args:
            path: where it is written, too; ends in `.svg`.
            theme: `"paper"` or `"dark"`.
            width: how wide it may become, in px; a narrow one cuts columns of long prompts, and says so.

        Raises:
            FigureError: when the path has another suffix, or its folder is not there.
        """
        look = theme_of(theme)
        picture = self._picture(look, self.picture_width if width is None else width)
        made = document(picture, look, self._picture_name())
        written(made.encode(), path, ".svg")
        return made

    def to_png(
        self, path: StrPath | None = None, scale: float = 2.0, *, theme: Theme | str = PAPER, width: float | None = None
    ) -> bytes:
        """What is shown now as a PNG file, `scale` pixels for each px.

        Chinese, Japanese, Korean, emoji and other scripts that DejaVu lacks need an installed font (on Debian and
        Ubuntu `fonts-noto-cjk`, `fonts-noto-color-emoji`, `fonts-noto-core`); without one their place shows a box.

        Args:
            path: where it is written, too; ends in `.png`.
            scale: 2 is enough for a screen, 4 for print.
            theme: `"paper"` or `"dark"`.
            width: as for `to_svg`.

        Raises:
            FigureError: when the path has another suffix, or the picture would be too large.
        """
        return written(png(self.to_svg(theme=theme, width=width), scale), path, ".png")

    def to_pdf(self, path: StrPath | None = None, *, theme: Theme | str = PAPER, width: float | None = None) -> bytes:
        """What is shown now as a PDF file of one page of its size; its words can be selected.

        Scripts that DejaVu lacks need an installed font, as for `to_png`.

        Args:
            path: where it is written, too; ends in `.pdf`.
            theme: `"paper"` or `"dark"`.
            width: as for `to_svg`.

        Raises:
            FigureError: when the path has another suffix, or its folder is not there.
        """
        return written(pdf(self.to_svg(theme=theme, width=width)), path, ".pdf")

    def freeze(self) -> None:
        """Replace the live output, wherever it is displayed, by its picture; the widget itself goes on."""
        self._stills.freeze()

    @property
    def pictured_views(self) -> list[Any]:
        """The views that it is made of: what holds others is none itself."""
        held = (one for one in parts_of(self) if isinstance(one, Pictured))
        return [one for one in held if isinstance(one, anywidget.AnyWidget) or getattr(one, "is_figure", False)]

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing of it to be drawn among others."""
        return False

    def to_text(self) -> str:
        """What is shown now as a table of letters; of many columns those around the chosen one."""
        raise NotImplementedError

    def _picture(self, theme: Theme, width: float) -> Picture:
        """What is drawn now."""
        raise NotImplementedError

    @cached_property
    def _stills(self) -> Stills:
        return Stills(self, self._settle, lambda: self._watched)

    def _ipython_display_(self) -> None:
        """Display it alive, with a picture for where no kernel runs."""
        self._stills.display()

    def close(self) -> None:
        """Close the widget; its last picture stays in the notebook."""
        self._leave_picture()
        super().close()  # type: ignore[misc]  # it stands before a widget

    def _leave_picture(self) -> None:
        """Bring the picture in the notebook up to date for the last time, while everything can still be drawn."""
        if "_stills" in vars(self):
            self._stills.close()

    def _settle(self) -> None:
        """Wait, but not for long, until there is something to be seen."""

    def _picture_changed(self) -> None:
        """Something else is drawn now."""
        if "_stills" in vars(self):
            self._stills.changed()

    @property
    def _watched(self) -> list[Any]:
        """Whose changes change the picture."""
        kinds = (Pictured, anywidget.AnyWidget, SelectionTraits)
        return [widget for widget in parts_of(self) if isinstance(widget, kinds)]

    def _picture_name(self) -> str:
        """What it is, for those who cannot see it: the first line of its text."""
        return self.to_text().partition("\n")[0]


def place_of(view: SelectionTraits) -> Place:
    """Where the reader is, by the traits of a view."""
    return Place(view.layers, view.layer, view.head, view.position, view.token, tuple(view.tokens))


def picture_of(widget: Any, theme: Theme, width: float) -> Picture | None:
    """What is drawn of a widget and of everything in it; None where nothing is."""
    if not is_seen(widget):
        return None
    if isinstance(widget, Pictured):
        return None if widget.is_blank else widget._picture(theme, width)
    if isinstance(widget, ipywidgets.Label):
        return note_picture(widget.value, width, theme) if widget.value else None
    return boxed(widget, theme, width) if isinstance(widget, ipywidgets.Box) else None


def boxed(box: Any, theme: Theme, width: float) -> Picture | None:
    """The pictures of what a box holds: beside each other in a row, else under each other."""
    if not isinstance(box, ipywidgets.HBox):
        found = [picture_of(child, theme, width) for child in box.children]
        pictures = [picture for picture in found if picture is not None]
        return above(pictures, _GAP) if pictures else None
    drawn = [child for child in box.children if is_seen(child) and next(pictured(child), None) is not None]
    notes = [child for child in box.children if isinstance(child, ipywidgets.Label)]
    lines = _lines(drawn, width) if "wrap" in (box.layout.flex_flow or "") else [drawn]
    rows = [[*zip(line, _rooms(line, width), strict=True)] for line in lines]
    rows[-1] += [(note, width) for note in notes]
    made = [[picture_of(child, theme, room) for child, room in row] for row in rows]
    shown = [beside([one for one in row if one is not None], _GAP) for row in made if any(row)]
    return above(shown, _GAP) if shown else None


def _lines(children: list[Any], width: float) -> list[list[Any]]:
    """Children of a row that may take several lines: as many beside each other as have room."""
    lines: list[list[Any]] = [[]]
    for child in children:
        if lines[-1] and sum(map(_basis, [*lines[-1], child])) + _GAP * len(lines[-1]) > width:
            lines.append([])
        lines[-1].append(child)
    return lines


def _basis(child: Any) -> float:
    """How wide its layout wants a child to be, in px."""
    return float((child.layout.flex or "").rpartition(" ")[2].removesuffix("px") or _NARROW)


def _share(child: Any) -> float:
    """How much of a row a child takes, as its layout says: 1, where it says nothing else."""
    return max(1.0, float((child.layout.flex or "1").split()[0]))


def _rooms(children: list[Any], width: float) -> list[float]:
    """Widths of children in a row: some keep theirs, the others share what is left."""
    kept = [child.kept_width if isinstance(child, Pictured) else None for child in children]
    left = width - _GAP * (len(children) - 1)
    if all(own is not None for own in kept):
        return [min(own or 0, max(_NARROW, left / len(children))) for own in kept]
    shares = [_share(child) for child in children]
    free = (left - sum(own or 0 for own in kept)) / sum(
        share for share, own in zip(shares, kept, strict=True) if own is None
    )
    return [max(_NARROW, share * free) if own is None else own for share, own in zip(shares, kept, strict=True)]


def pictured(widget: Any) -> Iterator[Pictured]:
    """The views in a widget that can be seen, in their order."""
    if not is_seen(widget):
        return
    if isinstance(widget, Pictured):
        if not widget.is_blank:
            yield widget
    elif isinstance(widget, ipywidgets.Box):
        for child in widget.children:
            yield from pictured(child)


def texts_of(box: Any) -> str:
    """The tables of what a box holds, and its notes."""
    parts = []
    for child in box.children:
        if isinstance(child, ipywidgets.Label) and is_seen(child):
            parts.append(child.value)
        elif isinstance(child, ipywidgets.Box) and not isinstance(child, Pictured):
            parts.append(texts_of(child))
        elif isinstance(child, Pictured) and is_seen(child) and not child.is_blank:
            parts.append(child.to_text() + "\n")
    return said(*parts).rstrip("\n")


def is_seen(widget: Any) -> bool:
    """Whether its layout leaves it in sight; of a box around it this says nothing."""
    layout = getattr(widget, "layout", None)
    return layout is None or (layout.display != "none" and layout.visibility != "hidden")
