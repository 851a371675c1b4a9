"""SVG as PNG and PDF, without a browser; and the way to a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

from layerwidget.errors import FigureError
from layerwidget.figures.scripts import with_fonts
from layerwidget.whole_files import replace_file

StrPath: TypeAlias = str | os.PathLike[str]
_FAMILY, _MONO = "DejaVu Sans", "DejaVu Sans Mono"
#: What resvg can hold in memory on an ordinary machine.
_MOST_PIXELS = 200_000_000


def png(svg: str, scale: float = 2.0) -> bytes:
    """An SVG file as PNG, `scale` pixels for each of its px.

    Raises:
        FigureError: when the scale is no positive number, or the picture would be too large.
    """
    width, height = size_of(svg)
    if not scale > 0 or width * height * scale**2 > _MOST_PIXELS:
        raise FigureError(
            f"Expected a scale above 0 with which {width:g} × {height:g} px are at most {_MOST_PIXELS:,} pixels; "
            f"got {scale!r}. Draw fewer columns with a smaller width, or save an SVG or PDF."
        )
    import resvg_py

    made = resvg_py.svg_to_bytes(
        svg_string=with_fonts(svg), zoom=scale, font_family=_FAMILY, sans_serif_family=_FAMILY, monospace_family=_MONO
    )
    return bytes(made)


def png_aside(svg: str, scale: float = 2.0) -> bytes:
    """The same, made by another process: whoever types meanwhile waits for nothing."""
    command = [sys.executable, "-m", "layerwidget.figures.raster", str(scale)]
    return subprocess.run(command, input=svg.encode(), capture_output=True, check=True).stdout


def pdf(svg: str) -> bytes:
    """An SVG file as PDF of one page of its size (1 px is 0.75 pt); its text can be selected."""
    import typst

    width, height = (side * 0.75 for side in size_of(svg))
    page = (
        f"#set page(width: {width}pt, height: {height}pt, margin: 0pt)\n"
        f'#image("figure.svg", width: {width}pt, height: {height}pt)'
    )
    # Its stubs know nothing of files by name.
    files: Any = {"main.typ": page.encode(), "figure.svg": with_fonts(svg).encode()}
    made = typst.compile(files, format="pdf")
    return bytes(made)


def size_of(svg: str) -> tuple[float, float]:
    """Width and height of an SVG file, in px."""
    root = ElementTree.fromstring(svg)
    return float(root.get("width", "0")), float(root.get("height", "0"))


def written(data: bytes, path: StrPath | None, suffix: str) -> bytes:
    """The data, written to a path where there is one: whole, or not at all.

    Raises:
        FigureError: when the path has another suffix, or its folder is not there.
    """
    if path is None:
        return data
    goal = Path(path)
    if goal.suffix.lower() != suffix:
        raise FigureError(
            f"Expected a path that ends in {suffix}; got {str(goal)!r}. Other formats: to_{_other(goal)}."
        )
    if not goal.parent.is_dir():
        raise FigureError(f"There is no folder {str(goal.parent)!r} to write {goal.name!r} into; make it first.")
    replace_file(goal, lambda partial: partial.write_bytes(data))
    return data


def _other(path: Path) -> str:
    known = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".html": "html"}
    return known.get(path.suffix.lower(), "svg, to_png or to_pdf")


if __name__ == "__main__":
    sys.stdout.buffer.write(png(sys.stdin.buffer.read().decode(), float(sys.argv[1])))
