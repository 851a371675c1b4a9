"""`layerwidget demo | check MODEL | trace MODEL PROMPT`: from a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layerwidget import __version__
from layerwidget.demo_notebook import open_demo
from layerwidget.errors import LayerWidgetError

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

_MODEL = "'demo', a model folder, a .gguf file or a hub id"
_PATIENCE_S = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 fine, 1 a check failed, 2 it could not be run."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except (LayerWidgetError, OSError) as error:
        sys.stderr.write(f"layerwidget: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="layerwidget", description="See inside a transformer while you type.")
    parser.add_argument("--version", action="version", version=f"layerwidget {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="put the quickstart notebook into this folder and open it in JupyterLab")
    demo.add_argument("--no-browser", action="store_true", help="only say the address")
    demo.set_defaults(run=_demo)
    check = commands.add_parser("check", help="measure on a model that everything shown of it is true")
    check.add_argument("model", help=_MODEL)
    check.set_defaults(run=_check)
    trace = commands.add_parser(
        "trace",
        help="run a model on prompts, and write what happened to a file: to show around, or to go on with",
        description="Write what an explorer shows of some prompts as one page for any browser, offline; or one trace.",
    )
    trace.add_argument("model", help=_MODEL)
    trace.set_defaults(run=_trace)
    trace.add_argument("prompts", nargs="+", metavar="PROMPT", help="a text; the page switches between several")
    trace.add_argument("--html", metavar="FILE", help="the page: a double click opens it")
    trace.add_argument("--save", metavar="FILE", help="the trace, for model.load_trace in Python (safetensors)")
    trace.add_argument("--layers", default="all", help="the layers in view, such as 18-29 or late (default: all)")
    trace.add_argument("--pages", default="lens", help="the pages, such as lens,residual (default: lens)")
    trace.add_argument("--title", help="what stands above the page")
    return parser


def _demo(options: argparse.Namespace) -> int:
    return open_demo(Path.cwd(), ["--no-browser"] if options.no_browser else [])


def _check(options: argparse.Namespace) -> int:
    import layerwidget as lw

    report = lw.check(lw.load(options.model))
    sys.stdout.write(f"{report}\n")
    return 0 if report.ok else 1


def _trace(options: argparse.Namespace) -> int:
    import layerwidget as lw
    from layerwidget.export.html import checked_path

    if options.save is None and options.html is None:
        raise LayerWidgetError("trace has nothing to write: name a file with --html FILE or --save FILE.")
    if options.save is not None and len(options.prompts) > 1:
        raise LayerWidgetError(f"--save writes the trace of one prompt; got {len(options.prompts)}.")
    # A model takes a while to load: what is wrong with the rest is said before.
    page = None if options.html is None else checked_path(options.html)
    model = lw.load(options.model)
    if options.save is not None:
        trace = model.trace(options.prompts[0])
        trace.save(options.save)
        sys.stdout.write(f"{trace!r} -> {options.save}\n")
    if page is not None:
        _write_page(model, page, options)
    return 0


def _write_page(model: HookedModel, path: Path, options: argparse.Namespace) -> None:
    import layerwidget as lw

    first, *others = options.prompts
    pages = [name.strip() for name in options.pages.split(",") if name.strip()]
    explorer = lw.Explorer(model, first, layers=options.layers, pages=pages)
    try:
        explorer.wait(_PATIENCE_S)
        explorer.to_html(path, others, options.title)
    finally:
        explorer.close()
    n_prompts = len(set(options.prompts))
    said = f"{n_prompts} prompt{'s' if n_prompts > 1 else ''}, {path.stat().st_size / 1e6:.1f} MB"
    sys.stdout.write(f"{path}: {said}. A double click opens it, offline too.\n")
