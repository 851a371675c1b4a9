"""The benchmark runs, and every row is in its table."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import decoders

import layerwidget as lw
from layerwidget.widgets.page_stack import PageStack
from tests.bench import environments
from tests.bench.__main__ import main
from tests.bench.answers import check_probs
from tests.bench.browser import BROWSER_ROWS
from tests.bench.contestants import HERE
from tests.bench.environments import PEERS, Peer, PeerProcess, installed
from tests.bench.hidden import InExplorer
from tests.bench.memory import edited
from tests.bench.plot import chart
from tests.bench.report import BEGIN, END, Results, as_markdown, into_readme
from tests.bench.rows import RATIOS, ROWS
from tests.bench.scaling import Curve
from tests.bench.timing import PeerError, Recorded, Summary, take_turns
from tests.bench.workload import Workload
from tests.tiny import hooked, ids, letters, tiny


def test_the_command_writes_every_row(tmp_path: Path) -> None:
    assert main(["--quick", "--only", "here", "--out", str(tmp_path)], lettered()) == 0
    page = (tmp_path / "table.md").read_text()
    for line in (*ROWS.values(), *BROWSER_ROWS.values(), *(ratio.name for ratio in RATIOS)):
        assert f"| {line} |" in page
    assert page.count("left out") == len(PEERS) + len(BROWSER_ROWS) + 1
    found = json.loads((tmp_path / "table.json").read_text())
    assert {one["row"] for one in found["ms"]} == {*HERE, "first"}
    assert all(one["median"] > 0 for one in found["ms"])
    ratios = {one["ratio"] for one in found["ratios"]}
    assert "new prompt (g) / pass and product alone (a + c)" in ratios
    assert "one token appended with all pages hidden (h₂) / never opened (h₁)" in ratios


def lettered() -> lw.HookedModel:
    """A tiny model with a tokenizer that reads what it writes."""
    tokenizer = letters()
    tokenizer.backend_tokenizer.decoder = decoders.Fuse()
    return lw.HookedModel(tiny("llama"), tokenizer, "tiny")


def test_every_turn_types_another_token() -> None:
    work = Workload(lettered())
    typed = [work.typed(8, turn) for turn in range(-2, 7)]
    assert {before for before, _ in typed} == {typed[0][0]}
    assert len({after for _, after in typed}) == len(typed)
    ids = work.model.tokenize(typed[0][0]).ids.tolist()
    assert len(ids) == 7
    assert all(work.model.tokenize(after).ids.tolist()[:-1] == ids for _, after in typed)
    with pytest.raises(ValueError, match="No text of 8 tokens"):
        Workload(hooked("llama")).typed(8, 0)
    with pytest.raises(ValueError, match="for turn 1000"):
        work.typed(8, 1000)


def test_a_hidden_page_that_asks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = InExplorer(Workload(lettered()), hides_all=True)
    hidden.check(6)
    monkeypatch.setattr(PageStack, "open_pages", property(lambda self: self.made_pages))
    with pytest.raises(AssertionError, match="hidden pages to ask nothing"):
        hidden.check(6)
    hidden.close()


def test_rows_are_made_here_or_by_peers() -> None:
    assert {*HERE, "first", *(peer.key for peer in PEERS)} == set(ROWS)


def test_random_edits_neither_grow_without_end_nor_empty_the_prompt() -> None:
    chance = random.Random(0)
    text, lengths = "The", set()
    for _ in range(500):
        before, text = text, edited(text, chance)
        assert 0 < len(text) <= 240
        lengths.add(len(text) - len(before))
    assert min(lengths) < 0 < max(lengths)
    assert len(lengths) > 10


def test_the_growth_of_memory_is_judged() -> None:
    results = Results("toy", (8,), 1, 1, Recorded({}, {}))
    for last, verdict in ((104.0, "+4.0% ✓ < 5%"), (106.0, "+6.0% ✗ < 5%")):
        results.memory = {200: 100.0, 1000: last}
        assert verdict in as_markdown(results)


def test_the_readme_gets_the_table_and_keeps_the_rest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    results = Results("toy", (8,), 3, 1, Recorded({("append", 8): [100.0, 200.0, 300.0]}, {}))
    for _ in range(2):
        into_readme(results, readme)
    text = readme.read_text()
    assert text.startswith(f"above\n{BEGIN}\n")
    assert text.endswith(f"{END}\nbelow\n")
    assert f"| {ROWS['append']} | 200 |" in text
    assert "old" not in text
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="bench: begin"):
        into_readme(results, readme)


def test_the_projects_readme_has_the_place() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(SystemExit, match="nothing_of_this_name"):
        main(["--only", "nothing_of_this_name"])


class _Fake:
    def __init__(self, key: str, log: list[str], fails_at: int = -1) -> None:
        self.key, self.log, self.fails_at = key, log, fails_at

    def check(self, n: int) -> None:
        self.log.append(f"check {self.key}")

    def times_ms(self, n: int, turn: int) -> dict[str, float]:
        if turn == self.fails_at:
            raise PeerError("it broke")
        self.log.append(f"{self.key}{turn}")
        return {self.key: 10.0 * n + turn}


def test_runs_alternate_and_every_turn_begins_with_another() -> None:
    log: list[str] = []
    take_turns([_Fake("a", log), _Fake("b", log)], [3], 3, lambda _: None)
    assert log == ["check a", "check b", "a0", "b0", "b1", "a1", "a2", "b2"]


def test_a_peer_that_breaks_is_reported_and_the_others_go_on() -> None:
    recorded = take_turns([_Fake("a", [], fails_at=1), _Fake("b", [])], [3], 3, lambda _: None)
    assert recorded.failures == {"a": "it broke"}
    assert recorded.of("a", 3) == [30.0]
    assert recorded.of("b", 3) == [30.0, 31.0, 32.0]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise ImportError('no such part')", "its process ended: ImportError: no such part"),
        ("print('{}', flush=True); raise ValueError('too long')", "its process ended: ValueError: too long"),
        ("import time; time.sleep(60)", "gave no answer within 1 s"),
        ("print('{}', flush=True); input(); print('{\"top_probs\": [[[0.5]]]}', flush=True); input()", "shape"),
    ],
)
def test_a_process_that_fails_says_why(code: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "script.py").write_text(code)
    monkeypatch.setattr(environments, "CACHE", tmp_path)
    monkeypatch.setattr(environments, "BOOT_S", 1)
    monkeypatch.setattr(environments, "installed", lambda _: Path(sys.executable))
    peer = Peer("fake", "fake", (), str(tmp_path / "script.py"))
    process = PeerProcess(peer, Workload(hooked("llama")), tmp_path, threads=1)
    try:
        with pytest.raises(PeerError, match=why):
            process.check(4)
    finally:
        process.close()


def test_what_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "CACHE", tmp_path)
    with pytest.raises(PeerError, match="could not be installed: ERROR: "):
        installed(Peer("fake", "fake", (str(tmp_path / "absent.whl"),), "script.py"))


def test_ratios_are_taken_turn_by_turn() -> None:
    series = {("append", 8): [6.0, 12.0, 90.0], ("cached", 8): [1.0, 2.0, 20.0], ("gemm_append", 8): [2.0, 4.0, 10.0]}
    recorded = Recorded(series, {})
    assert RATIOS[0].summary(recorded, 8) == Summary(2.0, 2.0, 2.5, 3)
    assert RATIOS[0].met(recorded, 8) is False
    assert RATIOS[0].met(recorded, 16) is None


def test_wrong_answers_are_not_timed() -> None:
    model, prompt = hooked("llama"), ids(5)
    right = lw.LogitLens().run(model.trace(prompt)).top_probs
    check_probs(right, model, prompt)
    with pytest.raises(AssertionError, match="differs by"):
        check_probs(right + 2e-4 * np.eye(5)[None, :, :, None].any(-1), model, prompt)
    with pytest.raises(AssertionError, match="shape"):
        check_probs(right[:, :-1], model, prompt)


def test_the_picture_has_a_panel_for_each_size() -> None:
    curves = [Curve("cold", "tokens", (8, 16), (100.0, 210.0)), Curve("append", "layers", (8,), (20.0,))]
    picture = chart(curves)
    assert picture.count("<rect") == 2
    assert picture.count("<circle") == 3
