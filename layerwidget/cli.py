"""`layerwidget check MODEL` and `layerwidget trace MODEL PROMPT`: a model in a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from layerwidget import __version__
from layerwidget.errors import LayerWidgetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 fine, 1 a check failed, 2 it could not be run."""
    parser = argparse.ArgumentParser(prog="layerwidget", description="See inside a transformer while you type.")
    parser.add_argument("--version", action="version", version=f"layerwidget {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    check_command = commands.add_parser("check", help="measure on a model that everything shown of it is true")
    check_command.add_argument("model", help="'demo', a model folder, a .gguf file or a hub id")
    trace_command = commands.add_parser("trace", help="run a model on a prompt, and write what happened to a file")
    trace_command.add_argument("model", help="'demo', a model folder, a .gguf file or a hub id")
    trace_command.add_argument("prompt", help="the text")
    trace_command.add_argument("--save", metavar="FILE", help="the trace, for model.load_trace in Python (safetensors)")
    options = parser.parse_args(arguments)
    try:
        return _check(options.model) if options.command == "check" else _trace(options)
    except (LayerWidgetError, OSError) as error:
        sys.stderr.write(f"layerwidget: {error}\n")
        return 2


def _check(source: str) -> int:
    import layerwidget as lw

    report = lw.check(lw.load(source))
    sys.stdout.write(f"{report}\n")
    return 0 if report.ok else 1


def _trace(options: argparse.Namespace) -> int:
    import layerwidget as lw

    if options.save is None:
        raise LayerWidgetError("trace has nothing to write: name a file with --save FILE.")
    trace = lw.load(options.model).trace(options.prompt)
    trace.save(options.save)
    sys.stdout.write(f"{trace!r} -> {options.save}\n")
    return 0
