"""The table as markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.browser import BROWSER_ROWS
from tests.bench.plot import chart
from tests.bench.rows import RATIOS, ROWS, Ratio
from tests.bench.scaling import N_TOKENS, Curve
from tests.bench.timing import Recorded, Summary

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
        curves: how time grows with the size of things.
    """

    model: str
    lengths: Sequence[int]
    turns: int
    threads: int
    times: Recorded
    browser: dict[str, list[float]] = field(default_factory=dict)
    browser_length: int = 64
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
    parts = [_heading(results), _times_table(results), _ratio_table(results), _browser_table(results)]
    if results.curves:
        parts.append("![How time grows with tokens, layers and vocabulary](scaling.svg)")
        parts.append(f"Tokens: {results.model}. Layers and vocabulary: random llamas of width 128, {N_TOKENS} tokens.")
    return "\n\n".join(parts) + "\n"


def _heading(results: Results) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES[1:])
    return (
        "# How fast it is\n\n"
        f"Made by `python -m tests.bench`: {results.model}, fp32, {results.threads} threads of {os.cpu_count()} CPUs, "
        f"{packages}.\nMilliseconds: median and quartiles of {results.turns} turns, in which all rows alternate. "
        "Every answer was compared with a fresh run first.\n"
        "(d), (e) and (f) give every layer's most probable tokens and attention; layerwidget also entropy, KL, ranks "
        "and the probability of the final prediction, and the attention of the 8 layers on screen."
    )


def _times_table(results: Results) -> str:
    head = _line("ms at … tokens", *(str(n) for n in results.lengths))
    return "\n".join([head, _rule(len(results.lengths)), *(_times_row(row, results) for row in ROWS)])


def _times_row(row: str, results: Results) -> str:
    failure = results.times.failures.get(row)
    columns = [results.times.of(row, n) for n in results.lengths]
    if failure and not any(columns):
        return _line(ROWS[row], failure.replace("|", "/"), *[""] * (len(columns) - 1))
    return _line(ROWS[row], *(_cell(Summary.of(times)) if times else (failure or "–") for times in columns))


def _cell(found: Summary) -> str:
    return _number(found.median) if found.n == 1 else f"{_number(found.median)} ({_spread(found)})"


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
    return f"1/{1 / value:.0f}" if value < 0.2 else f"{value:.2f}"


def _browser_table(results: Results) -> str:
    lines = [_line(f"in JupyterLab, Chromium, {results.browser_length} tokens", "median", "quartiles"), _rule(2)]
    failure = results.times.failures.get("browser", "–")
    for row, name in BROWSER_ROWS.items():
        values = results.browser.get(row)
        found = Summary.of(values) if values else None
        lines.append(_line(name, *((_number(found.median), _spread(found)) if found else (failure, ""))))
    lines.append(_line("(k) goal: the engine alone (h) + 60 ms", *_paint_goal(results)))
    return "\n".join(lines)


def _paint_goal(results: Results) -> tuple[str, str]:
    painted, engine = results.browser.get("painted"), results.times.of("append", results.browser_length)
    if not painted or not engine:
        return "–", ""
    goal = Summary.of(engine).median + PAINT_MS
    return f"{_sign(Summary.of(painted).median <= goal)} ≤ {_number(goal)}", ""


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(n_columns: int) -> str:
    return _line("---", *["---:"] * n_columns)
