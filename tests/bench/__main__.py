"""Regenerate the table: `python -m tests.bench [--quick] [--only ROW,...] [--out DIR]`."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

import torch

import layerwidget as lw
from layerwidget.model.demo import demo_folder
from tests.bench import browser, memory, scaling
from tests.bench.contestants import HERE
from tests.bench.environments import CACHE, PEERS, PeerProcess
from tests.bench.hidden import InExplorer
from tests.bench.report import Results, as_markdown, into_readme, write
from tests.bench.rows import ROWS
from tests.bench.timing import Contestant, PeerError, Recorded, take_turns
from tests.bench.workload import Workload

FOLDER = Path(__file__).parent
LENGTHS, QUICK_LENGTHS = (8, 16, 32, 64, 128, 256), (8,)
GROUPS = {
    "here": tuple(HERE),
    "peers": tuple(peer.key for peer in PEERS),
    "browser": ("browser",),
    "scaling": ("scaling",),
    "memory": ("memory",),
}


def main(arguments: list[str] | None = None, model: lw.HookedModel | None = None) -> int:
    """Measure and write the table; of the demo model, unless there is another."""
    given = _parser().parse_args(arguments)
    chosen = _chosen(given.only)
    torch.set_num_threads(given.threads)
    lengths = tuple(int(n) for n in given.lengths.split(",")) if given.lengths else LENGTHS
    lengths, turns = (QUICK_LENGTHS, 1) if given.quick else (lengths, given.turns)
    results = run(model or lw.load("demo"), chosen, lengths, turns, given.threads)
    everything = not (given.quick or given.only or given.lengths)
    if everything:
        into_readme(results, FOLDER.parents[1] / "README.md")
    path = write(results, given.out or (FOLDER if everything else CACHE / "trial"))
    sys.stdout.write(f"{as_markdown(results)}\n{path}\n")
    return int("browser" in chosen and "browser" in results.times.failures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one turn at 8 tokens, to see that it runs")
    parser.add_argument("--only", default="", help=f"rows ({', '.join(ROWS)}) or groups ({', '.join(GROUPS)})")
    parser.add_argument("--out", type=Path, help="folder of the table; of a whole run, that of this module")
    parser.add_argument("--turns", type=int, default=7, help="how often everything is run at each length")
    parser.add_argument("--lengths", default="", help="tokens, separated by commas")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of every process")
    return parser


def _chosen(only: str) -> set[str]:
    names = [name for name in only.split(",") if name] or list(GROUPS)
    chosen = {row for name in names for row in GROUPS.get(name, (name,))}
    unknown = chosen - {*ROWS, "browser", "scaling", "memory"}
    if unknown:
        raise SystemExit(f"No such row or group: {', '.join(sorted(unknown))}.")
    # Two moments of the same runs.
    return chosen | {"cold", "first"} if chosen & {"cold", "first"} else chosen


def run(model: lw.HookedModel, chosen: set[str], lengths: tuple[int, ...], turns: int, threads: int) -> Results:
    """Measure what was chosen; every other row says that it was left out."""
    work = Workload(model)
    with ExitStack() as stack:
        times = Recorded({}, {})
        for group in _groups(_contestants(work, chosen, threads, stack)):
            recorded = take_turns(group, lengths, turns, _say)
            times.series |= recorded.series
            times.failures |= recorded.failures
    times.failures |= {row: "left out" for row in (*ROWS, "browser", "memory") if row not in chosen}
    results = Results(model.name, lengths, turns, threads, times)
    if "browser" in chosen:
        _browser(results)
    if "memory" in chosen:
        _memory(results)
    if "scaling" in chosen:
        over_tokens = scaling.curves_over_tokens(times, lengths)
        results.curves = [*over_tokens, *scaling.curves_over_sizes(turns, _say)]
    return results


def _contestants(work: Workload, chosen: set[str], threads: int, stack: ExitStack) -> list[Contestant]:
    found = {row: make(work) for row, make in HERE.items() if row in chosen}
    for contestant in found.values():
        if isinstance(contestant, InExplorer):
            stack.callback(contestant.close)
    for peer in PEERS:
        if peer.key in chosen:
            found[peer.key] = process = PeerProcess(peer, work, demo_folder(), threads)
            stack.callback(process.close)
    return [found[row] for row in ROWS if row in found]


def _groups(contestants: list[Contestant]) -> list[list[Contestant]]:
    """Who takes turns with whom.

    After an edit, Explorers give memory back to the system, of the whole process; others would get it anew.
    """
    explorers = [each for each in contestants if isinstance(each, InExplorer)]
    others = [each for each in contestants if not isinstance(each, InExplorer)]
    return [group for group in (others, explorers) if group]


def _browser(results: Results) -> None:
    try:
        browser.measure(results.in_browser, results.lengths, results.turns, _say)
    except PeerError as error:
        results.times.failures["browser"] = str(error)


def _memory(results: Results) -> None:
    try:
        results.memory = memory.measure()
    except PeerError as error:
        results.times.failures["memory"] = str(error)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
