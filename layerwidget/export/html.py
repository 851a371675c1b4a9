"""One page that shows recorded prompts by double click: no kernel, no network, and a policy that allows neither."""

from __future__ import annotations

import base64
import hashlib
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from layerwidget import __version__
from layerwidget.errors import ExportError
from layerwidget.export.layout import FIGURE_MODULE
from layerwidget.export.packing import Buffers
from layerwidget.export.page_recording import PageRecording, page_recording
from layerwidget.whole_files import replace_file
from layerwidget.widgets.esm import registry_text, style_text, wrapped

if TYPE_CHECKING:
    from layerwidget.explorer import Explorer
    from layerwidget.export.record import Prompts

_HOST = "recorded_page"
_ALWAYS = ("tab_bar", "scene_bar", FIGURE_MODULE, _HOST)
_STYLE = Path(__file__).with_name("page.css")
_REGISTRY = "recordedModules"
#: A block of data that no browser runs.
_DATA_TYPE = "application/octet-stream"


def write_html(
    explorer: Explorer, path: str | os.PathLike[str], prompts: Prompts = (), title: str | None = None
) -> Path:
    """Record the open pages of an explorer, or its scenes, and write them as one file that needs nothing else.

    Args:
        explorer: what is recorded; it is as before when this returns.
        path: the file; its folder has to exist. It is replaced only by a whole page.
        prompts: what is recorded besides the explorer's own prompt, or its scenes, to switch between; of an
            encoder-decoder, each with its target.
        title: what stands above the page.

    Returns:
        The path of the file.

    Raises:
        ExportError: when there is nothing to record, or the file cannot be written.
        LayerWidgetError: when a prompt cannot be computed.
    """
    target = checked_path(path)
    if isinstance(prompts, str):
        raise ExportError(f"prompts is a list of texts; got one text. Write prompts=[{prompts!r}].")
    _write_whole(target, page_text(page_recording(explorer, prompts), title).encode())
    return target


def page_text(recorded: PageRecording, title: str | None = None) -> str:
    """The page as text."""
    head = Buffers().packed({**recorded.head, "title": title or "", "version": __version__})
    blocks = [_block("lw-head", head), *(_block(f"lw-prompt-{n}", block) for n, block in enumerate(recorded.blocks))]
    script, style = _script(recorded), f"{style_text()}\n{_STYLE.read_text(encoding='utf-8')}"
    first = str(recorded.head["prompts"][0]["text"])
    name = title or f"{recorded.model_name}: {first if len(first) <= 60 else first[:59] + '…'}"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(name)}</title>",
            f"<style>{style}</style></head>",
            '<body><main id="lw-page" class="lw-page"><noscript>This page draws what was recorded of a model with '
            "JavaScript, which is switched off here.</noscript></main>",
            *blocks,
            f"<script>{script}</script>",
            "</body></html>",
            "",
        ]
    )


def _script(recorded: PageRecording) -> str:
    """Every module once, and then the start of the page."""
    modules = registry_text([*recorded.modules, *_ALWAYS], _REGISTRY)
    own = [_own_module(name, text) for name, text in recorded.own_modules.items()]
    start = f'{_REGISTRY}.{_HOST}.default(document.getElementById("lw-page"), {_REGISTRY});'
    script = "\n".join(['(() => {\n"use strict";', modules, *own, start, "})();"])
    # Neither can be part of JavaScript but in a text, a pattern or a comment, where the stroke says the same.
    return script.replace("</", "<\\/").replace("<!--", "<\\!--")


def _own_module(name: str, text: str) -> str:
    """A module that is not one of this package."""
    try:
        return wrapped(name, text, _REGISTRY)
    except ValueError as error:
        raise ExportError(f"The JavaScript of {name} cannot be put into a page. {error}") from error


def _block(name: str, data: str) -> str:
    return f'<script type="{_DATA_TYPE}" id="{name}">{data}</script>'


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file that can be written, before minutes are spent on what is in it.

    Raises:
        ExportError: when it is a folder, or its folder does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path} is a folder; name a file in it, such as {path / 'talk.html'}.")
    if not path.parent.is_dir():
        raise ExportError(f"There is no folder {path.parent}; make it first, or write the page elsewhere.")
    return path


def _write_whole(path: Path, data: bytes) -> None:
    """Replace a file by another in one step."""
    try:
        replace_file(path, lambda partial: partial.write_bytes(data))
    except OSError as error:
        raise ExportError(f"{path} could not be written: {error.strerror or error}.") from error
