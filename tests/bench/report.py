"""The table as markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.browser import BROWSER_ROWS
from tests.bench.memory import ALLOWED, EDITS
from tests.bench.plot import chart
from tests.bench.rows import RATIOS, ROWS, Ratio
from tests.bench.scaling import N_TOKENS, Curve
from tests.bench.timing import Recorded, Summary

#: Lines of the README between which the table stands.
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

#: Key press -> painted may take this much longer than the engine's own answer.
PAINT_MS = 60
_PACKAGES = ("layerwidget", "torch", "transformers", "numpy")


@dataclass
class Results:
    """All that one run of the benchmark found.

    Attributes:
        model: the model's name.
        lengths, turns, threads: the settings.
        times: of the rows of the table.
        browser: row -> values; empty where the browser was not run.
        browser_length: how many tokens the prompt in the browser has.
        memory: number of edits -> resident memory, MiB; empty where it was not measured.
        curves: how time grows with the size of things.
    """

    model: str
    lengths: Sequence[int]
    turns: int
    threads: int
    times: Recorded
    browser: dict[str, list[float]] = field(default_factory=dict)
    browser_length: int = 64
    memory: dict[int, float] = field(default_factory=dict)
    curves: Sequence[Curve] = ()


def write(results: Results, folder: Path) -> Path:
    """Write table.md, table.json and, where sizes were varied, scaling.svg; returns the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps(as_json(results), indent=1) + "\n")
    if results.curves:
        (folder / "scaling.svg").write_text(chart(results.curves))
    path = folder / "table.md"
    path.write_text(as_markdown(results))
    return path


def into_readme(results: Results, readme: Path) -> None:
    """Replace what stands between the two marks in the README by this run's tables, with medians only."""
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise ValueError(f"{readme} has no lines {BEGIN!r} and {END!r} between which the table belongs.")
    tables = (partial(_times_table, brief=True), _ratio_table, partial(_browser_table, brief=True), _memory_table)
    page = "\n\n".join(table(results) for table in tables)
    readme.write_text(f"{before}{BEGIN}\n\n{_settings(results)}\n\n{page}\n\n{END}{after}")


def as_json(results: Results) -> dict[str, Any]:
    """Everything, turn by turn."""
    return {
        "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "packages": {name: version(name) for name in _PACKAGES},
        "settings": {"model": results.model, "turns": results.turns, "threads": results.threads},
        "ms": [
            {"row": row, "tokens": n, "turns": times, **_summary(times)}
            for (row, n), times in results.times.series.items()
        ],
        "failures": results.times.failures,
        "ratios": [found for ratio in RATIOS for n in results.lengths if (found := _ratio_json(ratio, results, n))],
        "browser": {row: {"values": values, **_summary(values)} for row, values in results.browser.items()},
        "memory_mib": results.memory,
        "scaling": [asdict(curve) for curve in results.curves],
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    found = Summary.of(values)
    return {"median": found.median, "low": found.low, "high": found.high}


def _ratio_json(ratio: Ratio, results: Results, n: int) -> dict[str, Any] | None:
    found = ratio.summary(results.times, n)
    if found is None:
        return None
    verdict = {"goal": ratio.goal(n), "met": ratio.met(results.times, n)}
    return {"ratio": ratio.name, "tokens": n, **asdict(found), **verdict}


def as_markdown(results: Results) -> str:
    """The page."""
    tables = (_times_table, _ratio_table, _browser_table, _memory_table)
    parts = [_heading(results), *(table(results) for table in tables)]
    if results.curves:
        parts.append("![How time grows with tokens, layers and vocabulary](scaling.svg)")
        parts.append(f"Tokens: {results.model}. Layers and vocabulary: random llamas of width 128, {N_TOKENS} tokens.")
    return "\n\n".join(parts) + "\n"


def _heading(results: Results) -> str:
    return f"# How fast it is\n\n{_settings(results)}"


def _settings(results: Results) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES[1:])
    return (
        f"Made by `python -m tests.bench`: {results.model}, fp32, {results.threads} threads of {os.cpu_count()} CPUs, "
        f"{packages}.\nMedians of {results.turns} turns, in which all rows alternate; quartiles are in brackets or in "
        "`tests/bench/table.md`. Every answer was compared with a fresh run first.\n"
        "(d), (e) and (f) give every layer's most probable tokens and attention; layerwidget also entropy, KL, ranks "
        "and the probability of the final prediction, and the attention of the 8 layers on screen."
    )


def _times_table(results: Results, brief: bool = False) -> str:
    head = _line("ms at … tokens", *(str(n) for n in results.lengths))
    return "\n".join([head, _rule(len(results.lengths)), *(_times_row(row, results, brief) for row in ROWS)])


def _times_row(row: str, results: Results, brief: bool) -> str:
    failure = results.times.failures.get(row)
    columns = [results.times.of(row, n) for n in results.lengths]
    if failure and not any(columns):
        return _line(ROWS[row], failure.replace("|", "/"), *[""] * (len(columns) - 1))
    return _line(ROWS[row], *(_cell(Summary.of(times), brief) if times else (failure or "–") for times in columns))


def _cell(found: Summary, brief: bool) -> str:
    return _number(found.median) if found.n == 1 or brief else f"{_number(found.median)} ({_spread(found)})"


def _spread(found: Summary) -> str:
    return f"{_number(found.low)}–{_number(found.high)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _ratio_table(results: Results) -> str:
    lines = [_line("ratio at … tokens", *(str(n) for n in results.lengths)), _rule(len(results.lengths))]
    lines += [_line(ratio.name, *(_ratio_cell(ratio, results, n) for n in results.lengths)) for ratio in RATIOS]
    return "\n".join(lines)


def _ratio_cell(ratio: Ratio, results: Results, n: int) -> str:
    found = ratio.summary(results.times, n)
    if found is None:
        return "–"
    goal = ratio.goal(n)
    verdict = "" if goal is None else f" {_sign(ratio.met(results.times, n))} ≤ {_share(goal)}"
    return f"{_share(found.median)}{verdict}"


def _sign(met: bool | None) -> str:
    return "✓" if met else "✗"


def _share(value: float) -> str:
    return f"1/{1 / value:.3g}" if value < 0.2 else f"{value:.2f}"


def _browser_table(results: Results, brief: bool = False) -> str:
    n_columns = 1 if brief else 2
    heads = ("median", "quartiles")[:n_columns]
    lines = [_line(f"in JupyterLab, Chromium, {results.browser_length} tokens", *heads), _rule(n_columns)]
    failure = results.times.failures.get("browser", "–")
    for row, name in BROWSER_ROWS.items():
        values = results.browser.get(row)
        found = Summary.of(values) if values else None
        cells = (_number(found.median), _spread(found)) if found else (failure, "")
        lines.append(_line(name, *cells[:n_columns]))
    lines.append(_line("(k) goal: the engine alone, in the same minutes, + 60 ms", *_paint_goal(results)[:n_columns]))
    return "\n".join(lines)


def _paint_goal(results: Results) -> tuple[str, str]:
    painted, alone = results.browser.get("painted"), results.browser.get("alone")
    if not painted or not alone:
        return "–", ""
    goal = Summary.of(alone).median + PAINT_MS
    return f"{_sign(Summary.of(painted).median <= goal)} ≤ {_number(goal)}", ""


def _memory_table(results: Results) -> str:
    if not results.memory:
        return f"Memory over edits: {results.times.failures.get('memory', '–')}"
    grown = results.memory[EDITS[-1]] / results.memory[EDITS[0]] - 1
    head = _line("random edits in an Explorer", *(str(n) for n in results.memory), "growth")
    verdict = f"{grown:+.1%} {_sign(grown < ALLOWED)} < {ALLOWED:.0%}"
    cells = (*(_number(mib) for mib in results.memory.values()), verdict)
    return "\n".join([head, _rule(len(cells)), _line("resident memory, MiB", *cells)])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(n_columns: int) -> str:
    return _line("---", *["---:"] * n_columns)
