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

from tests.bench.browser import DRAG_TOKENS, KEYS_PER_TURN, InBrowser
from tests.bench.memory import ALLOWED, LOOKS, Look, growth, medians
from tests.bench.plot import chart
from tests.bench.rows import (
    ABOVE_ALONE,
    ABOVE_APPEND,
    DRAG_LIMITS,
    DRAG_ROWS,
    FIRST_PAINTED,
    FIRST_RATIO,
    KEY_ROWS,
    PAINT_LIMIT,
    RATIOS,
    ROWS,
    Limit,
    Ratio,
    above_alone,
    above_append,
    first_to_forward,
)
from tests.bench.scaling import N_TOKENS, Curve
from tests.bench.timing import Recorded, Summary

#: Lines of the README between which the table stands.
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

_PACKAGES = ("layerwidget", "torch", "transformers", "numpy")


@dataclass
class Results:
    """All that one run of the benchmark found.

    Attributes:
        model: the model's name.
        lengths, turns, threads: the settings.
        times: of the rows of the table.
        in_browser: keys, pastes and drags; empty where the browser was not run.
        memory: number of edits -> what is in memory; empty where it was not measured.
        curves: how time grows with the size of things.
    """

    model: str
    lengths: Sequence[int]
    turns: int
    threads: int
    times: Recorded
    in_browser: InBrowser = field(default_factory=InBrowser)
    memory: dict[int, Look] = field(default_factory=dict)
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
    brief = (partial(table, brief=True) for table in (_times_table, _keys_table, _drags_table))
    times, keys, drags = (table(results) for table in brief)
    page = "\n\n".join((times, _ratio_table(results), keys, drags, _memory_table(results)))
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
        "keys": [
            {"row": row, "tokens": n, "keys": times, **_summary(times)}
            for (row, n), times in results.in_browser.keys.items()
        ],
        "above_alone": [
            {"tokens": n, "keys": values, **_summary(values), **_verdict(PAINT_LIMIT, values)}
            for n in results.lengths
            if (values := above_alone(results.in_browser.keys, n))
        ],
        "pastes": [{"tokens": n, "pastes": times, **_summary(times)} for n, times in results.in_browser.pastes.items()],
        "first_to_forward": [
            {"tokens": n, "value": values[0]}
            for n in results.lengths
            if (values := first_to_forward(results.in_browser.pastes, results.times, n))
        ],
        "above_append": [
            {"tokens": n, "value": values[0], **_verdict(PAINT_LIMIT, values)}
            for n in results.lengths
            if (values := above_append(results.in_browser.keys, results.times, n))
        ],
        "drags": {
            row: {"values": values, **_summary(values), **_verdict(DRAG_LIMITS.get(row), values)}
            for row, values in results.in_browser.drags.items()
        },
        "memory_mib": {edits: asdict(look) for edits, look in results.memory.items()},
        "scaling": [asdict(curve) for curve in results.curves],
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    found = Summary.of(values)
    return {"median": found.median, "low": found.low, "high": found.high}


def _verdict(limit: Limit | None, values: Sequence[float]) -> dict[str, Any]:
    return {"limit": f"{limit.sign} {limit.figure:g}", "met": limit.met(values)} if limit else {}


def _ratio_json(ratio: Ratio, results: Results, n: int) -> dict[str, Any] | None:
    found = ratio.summary(results.times, n)
    if found is None:
        return None
    verdict = {"limit": ratio.limit(n), "goal": ratio.goals.get(n), "met": ratio.met(results.times, n)}
    return {"ratio": ratio.name, "tokens": n, **asdict(found), **verdict}


def as_markdown(results: Results) -> str:
    """The page."""
    tables = (_times_table, _ratio_table, _keys_table, _drags_table, _memory_table)
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
        f"{packages}.\nMedians of {results.turns} turns, in which all rows alternate, each after a run of its own "
        "that is not timed; (h₁) and (h₂) by themselves afterwards, for an Explorer gives memory of the whole process "
        "back. Quartiles are in brackets or in `tests/bench/table.md`. Every answer was compared with a fresh run "
        "first.\n"
        "(d), (e) and (f) give every layer's most probable tokens and attention; layerwidget also entropy, KL, ranks "
        "and the probability of the final prediction, and the attention of the 8 layers on screen.\n"
        "(b) and (h) go on from a cache of the tokens before the last one: cutting off what the turn before has "
        "left there is not timed.\n"
        f"(k) is of {KEYS_PER_TURN * results.turns} keys at each length, after one that warms up, and is compared with "
        "the edit alone (k₀): (h) in the same kernel, in the same minutes, an edit after each key."
    )


def _times_table(results: Results, brief: bool = False) -> str:
    lines = [_line("ms at … tokens", *(str(n) for n in results.lengths)), _rule(len(results.lengths))]
    for row, name in ROWS.items():
        columns = [results.times.of(row, n) for n in results.lengths]
        lines.append(_times_row(name, columns, results.times.failures.get(row), brief))
    return "\n".join(lines)


def _times_row(name: str, columns: Sequence[Sequence[float]], failure: str | None, brief: bool) -> str:
    if failure and not any(columns):
        return _line(name, failure.replace("|", "/"), *[""] * (len(columns) - 1))
    return _line(name, *(_cell(Summary.of(times), brief) if times else (failure or "–") for times in columns))


def _cell(found: Summary, brief: bool) -> str:
    return _number(found.median) if found.n == 1 or brief else f"{_number(found.median)} ({_spread(found)})"


def _spread(found: Summary) -> str:
    return f"{_number(found.low)}–{_number(found.high)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.1f}"


def _ratio_table(results: Results) -> str:
    lines = [_line("ratio at … tokens", *(str(n) for n in results.lengths)), _rule(len(results.lengths))]
    lines += [_line(ratio.name, *(_ratio_cell(ratio, results, n) for n in results.lengths)) for ratio in RATIOS]
    return "\n".join(lines)


def _ratio_cell(ratio: Ratio, results: Results, n: int) -> str:
    found = ratio.summary(results.times, n)
    if found is None:
        return "–"
    limit, goal = ratio.limit(n), ratio.goals.get(n)
    verdict = "" if limit is None else f" {_sign(ratio.met(results.times, n))} ≤ {_share(limit)}"
    return f"{_share(found.median)}{verdict}{'' if goal is None else f' (goal {_share(goal)})'}"


def _sign(met: bool | None) -> str:
    return "✓" if met else "✗"


def _share(value: float) -> str:
    return f"1/{1 / value:.3g}" if value < 0.3 else f"{value:.2f}"


def _keys_table(results: Results, brief: bool = False) -> str:
    head = _line("ms in JupyterLab, Chromium, at … tokens", *(str(n) for n in results.lengths))
    lines = [head, _rule(len(results.lengths))]
    keys, failure = results.in_browser.keys, results.times.failures.get("browser")
    for row, name in KEY_ROWS.items():
        lines.append(_times_row(name, [keys.get((row, n), []) for n in results.lengths], failure, brief))
    pastes = results.in_browser.pastes
    lines.append(_times_row(FIRST_PAINTED, [pastes.get(n, []) for n in results.lengths], failure, brief))
    alone = (above_alone(keys, n) for n in results.lengths)
    append = (above_append(keys, results.times, n) for n in results.lengths)
    for name, above in ((ABOVE_ALONE, alone), (ABOVE_APPEND, append)):
        lines.append(_line(name, *(_judged(values, PAINT_LIMIT) if values else "–" for values in above)))
    first = (first_to_forward(pastes, results.times, n) for n in results.lengths)
    lines.append(_line(FIRST_RATIO, *(_share(*values) if values else "–" for values in first)))
    return "\n".join(lines)


def _drags_table(results: Results, brief: bool = False) -> str:
    n_columns = 1 if brief else 2
    heads = ("median", "quartiles")[:n_columns]
    lines = [_line(f"in JupyterLab, Chromium, {DRAG_TOKENS} tokens", *heads), _rule(n_columns)]
    failure = results.times.failures.get("browser", "–")
    for row, name in DRAG_ROWS.items():
        values, limit = results.in_browser.drags.get(row), DRAG_LIMITS.get(row)
        cells = (_judged(values, limit), _spread(Summary.of(values))) if values else (failure.replace("|", "/"), "")
        lines.append(_line(name, *cells[:n_columns]))
    return "\n".join(lines)


def _judged(values: Sequence[float], limit: Limit | None) -> str:
    if limit is None:
        return _number(Summary.of(values).median)
    return f"{_number(limit.judged(values))} {_sign(limit.met(values))} {limit.sign} {limit.figure:g}"


def _memory_table(results: Results) -> str:
    if not results.memory:
        return f"Memory over edits: {results.times.failures.get('memory', '–')}"
    grown, columns = growth(results.memory), medians(results.memory)
    head = _line("random edits in an Explorer", *(str(n) for n in columns), "growth")
    verdict = f"{grown:+.1%} {_sign(grown < ALLOWED)} < {ALLOWED:.0%}"
    cells = (*(_number(mib) for mib in columns.values()), verdict)
    *_, last = results.memory.values()
    note = (
        f"Medians: the first and the last of {len(LOOKS[min(LOOKS)])} looks, which go up and down by a tenth. "
        f"Of the last look, {last.mapped:.0f} MiB are pages of files, mostly of the model's weights."
    )
    return "\n".join([head, _rule(len(cells)), _line("resident memory, MiB", *cells), "", note])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(n_columns: int) -> str:
    return _line("---", *["---:"] * n_columns)
