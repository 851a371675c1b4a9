"""Regenerate the table: `python -m tests.conformance.run [--jobs 2] [--only NAME,...] [--dtype bfloat16]`."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import argparse
import json
import multiprocessing
import resource
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.conformance.build import GROUPS, Entry, entries
from tests.conformance.rows import ABSENT, FAIL, PASS, Row, check, checks_of, stopped

FOLDER = Path(__file__).parent
TIME_LIMIT_S = 180
MEMORY_LIMIT_BYTES = 8 << 30

_SIGNS = {PASS: "✓", FAIL: "✗", ABSENT: "n/a"}


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and write the table; of chosen configurations, only where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="models at a time")
    parser.add_argument("--only", default="", help="configurations, or group/configuration, separated by commas")
    parser.add_argument(
        "--out", type=Path, help=f"folder of table.md and table.json; of the whole table, {FOLDER.name}"
    )
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="of the copies")
    given = parser.parse_args(arguments)
    dtype: torch.dtype = getattr(torch, given.dtype)
    only = {name for name in given.only.split(",") if name}
    chosen = [one for one in entries() if not only or one.name in only or one.config in only]
    unknown = only - {one.name for one in chosen} - {one.config for one in chosen}
    if unknown:
        parser.error(f"no such configuration: {', '.join(sorted(unknown))}")
    done: dict[str, Row] = {}
    for row in run(chosen, given.jobs, dtype):
        done[row.name] = row
        _say(f"[{len(done)}/{len(chosen)}] {row.name}: {_verdict(row)}")
    rows = [done[one.name] for one in chosen]
    _say(summary(rows, dtype))
    if given.out or not only:
        write(rows, given.out or FOLDER, dtype)
    return 0


def run(chosen: Iterable[Entry], jobs: int, dtype: torch.dtype = torch.float32) -> Iterator[Row]:
    """Rows in the order in which they are done, each from a process of its own with limits on time and memory."""
    # Forked, so that the libraries are imported once; with one thread each, which forking needs.
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    waiting = list(chosen)[::-1]
    running: dict[Connection, tuple[Entry, Any, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            one = waiting.pop()
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(one, there, dtype))
            process.start()
            there.close()
            running[here] = (one, process, time.monotonic())
        ready = wait(list(running), timeout=0.2)
        for connection in list(running):
            one, process, started = running[connection]
            late = time.monotonic() - started > TIME_LIMIT_S
            if connection in ready or late:
                yield _result(one, connection, process, late and connection not in ready, checks_of(dtype))
                del running[connection]


def _child(one: Entry, connection: Connection, dtype: torch.dtype) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    connection.send(check(one, dtype))


def _result(one: Entry, connection: Connection, process: Any, late: bool, names: tuple[str, ...]) -> Row:
    try:
        row: Row | None = None if late else connection.recv()
    except EOFError:
        row = None
    if late:
        process.kill()
    process.join()
    connection.close()
    if row is None:
        row = Row(one.name, one.model)
        why = f"took more than {TIME_LIMIT_S} s" if late else f"its process ended with {process.exitcode}"
        stopped(row, why, names)
    return row


def summary(rows: list[Row], dtype: torch.dtype = torch.float32) -> str:
    """Counts per group, as a markdown table."""
    groups = [*GROUPS, "all"]
    lines = ["| check | " + " | ".join(f"{group} ({len(_of(rows, group))})" for group in groups) + " |"]
    lines.append("|---" * (len(groups) + 1) + "|")
    for name in checks_of(dtype):
        lines.append(f"| {name} | " + " | ".join(_count(_of(rows, group), name) for group in groups) + " |")
    for title, holds in (("**all together**", _all_passed), ("all that apply", _none_failed)):
        lines.append(f"| {title} | " + " | ".join(str(sum(map(holds, _of(rows, group)))) for group in groups) + " |")
    return "\n".join(lines)


def write(rows: list[Row], folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Keep the table as markdown and as JSON."""
    names, short = checks_of(dtype), str(dtype).removeprefix("torch.")
    suffix, copies = ("", "") if dtype == torch.float32 else (f"-{short}", f", in {short}")
    head = (
        f"# Conformance: every language model of transformers {transformers.__version__}, small and random{copies}\n\n"
        f"Made by `python -m tests.conformance.run{f' --dtype {short}' if suffix else ''}`; what the checks are is in "
        f"`{'half.py' if suffix else 'checks.py'}`. "
        "*n/a* (not applicable) is counted apart and is never a pass: *all together* counts the models that pass every "
        "check, *all that apply* those that fail none. Attribution is n/a where layerwidget refuses it, as the "
        "logit is not a sum of parts, and edits where each is computed anew, or plain transformers itself says "
        "something else of a beginning with what follows it; there *all together* does not ask for them.\n"
    )
    lines = ["| configuration | " + " | ".join(names) + " | why |", "|---" * (len(names) + 2) + "|"]
    lines += [
        f"| {row.name} | " + " | ".join(_SIGNS[row.results[name]] for name in names) + f" | {_reason(row)} |"
        for row in rows
    ]
    (folder / f"table{suffix}.md").write_text(f"{head}\n{summary(rows, dtype)}\n\n" + "\n".join(lines) + "\n")
    content = {"transformers": transformers.__version__, "rows": [asdict(row) for row in rows]}
    (folder / f"table{suffix}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _of(rows: list[Row], group: str) -> list[Row]:
    return [row for row in rows if group == "all" or row.name.startswith(f"{group}/")]


def _count(rows: list[Row], name: str) -> str:
    results = [row.results[name] for row in rows]
    absent = results.count(ABSENT)
    return f"{results.count(PASS)}" + (f" (n/a {absent})" if absent else "")


def _all_passed(row: Row) -> bool:
    """Whether it passes every check; a refusal of attribution is right as well, and so is computing edits anew."""
    right = {("attribution", ABSENT), ("edits", ABSENT)}
    return all(result == PASS or (name, result) in right for name, result in row.results.items())


def _none_failed(row: Row) -> bool:
    return not row.failed


def _reason(row: Row) -> str:
    """Why, once per check that is not a pass; what follows from an earlier failure is not repeated."""
    said = [f"{name}: {why}" for name, why in row.why.items() if not why.startswith(("not built", "not located"))]
    return "; ".join(dict.fromkeys(said)).replace("|", "\\|")


def _verdict(row: Row) -> str:
    return "ok" if _all_passed(row) and not _reason(row) else _reason(row)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
