"""The benchmark runs, and every row is in its table."""

from __future__ import annotations

import json
import random
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import decoders

import layerwidget as lw
from layerwidget.widgets.page_stack import PageStack
from tests.bench import browser, environments, memory
from tests.bench.__main__ import main
from tests.bench.answers import check_probs
from tests.bench.browser import InBrowser
from tests.bench.contestants import HERE
from tests.bench.environments import PEERS, Peer, PeerProcess, installed
from tests.bench.hidden import InExplorer
from tests.bench.memory import LOOKS, Look, edited, growth
from tests.bench.plot import chart
from tests.bench.report import BEGIN, END, Results, as_json, as_markdown, into_readme
from tests.bench.rows import ABOVE_ALONE, ABOVE_APPEND, DRAG_ROWS, FIRST_PAINTED, FIRST_RATIO, KEY_ROWS, RATIOS, ROWS
from tests.bench.scaling import Curve
from tests.bench.timing import PeerError, Recorded, Summary, take_turns
from tests.bench.workload import Workload
from tests.tiny import hooked, ids, letters, tiny


def test_the_command_writes_every_row(tmp_path: Path) -> None:
    assert main(["--quick", "--only", "here", "--out", str(tmp_path)], lettered()) == 0
    page = (tmp_path / "table.md").read_text()
    browser_rows = (*KEY_ROWS.values(), *DRAG_ROWS.values())
    more = (ABOVE_ALONE, ABOVE_APPEND, FIRST_PAINTED, FIRST_RATIO)
    for line in (*ROWS.values(), *(ratio.name for ratio in RATIOS), *browser_rows, *more):
        assert f"| {line} |" in page
    assert page.count("left out") == len(PEERS) + len(browser_rows) + 2
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


def test_every_paste_begins_with_another_token() -> None:
    work = Workload(lettered())
    texts = [work.pasted(8, turn) for turn in range(-1, 5)]
    ids = [work.model.tokenize(text).ids.tolist() for text in (*texts, work.text(8))]
    assert len({first for first, *_ in ids}) == len(ids)
    assert {tuple(rest) for _, *rest in ids} == {tuple(work.prompt(8)[1:])}


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


def test_the_prompt_as_text_is_read_as_the_prompt() -> None:
    work = Workload(lettered())
    assert work.model.tokenize(work.text(8)).ids.tolist() == work.prompt(8)
    # Without its decoder it puts spaces between the letters.
    with pytest.raises(ValueError, match="read as the prompt of 8 tokens"):
        Workload(lw.HookedModel(tiny("llama"), letters(), "tiny")).text(8)
    with pytest.raises(ValueError, match="read as the prompt of 8 tokens"):
        Workload(hooked("llama")).text(8)


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


def test_the_growth_of_memory_is_judged_from_several_looks_at_each_end() -> None:
    looks = {edits: Look(100.0, 40.0) for around in LOOKS.values() for edits in around}
    # A few looks at each end meet moments in which more is held, or less.
    looks |= {200: Look(150.0, 40.0), 210: Look(150.0, 40.0), 1000: Look(90.0, 30.0), 980: Look(80.0, 40.0)}
    results = Results("toy", (8,), 1, 1, Recorded({}, {}))
    for last, grown, verdict in ((104.0, 0.04, "+4.0% ✓ < 5%"), (106.0, 0.06, "+6.0% ✗ < 5%")):
        results.memory = looks | {edits: Look(last, 40.0) for edits in range(900, 971, 10)} | {990: Look(last, 40.0)}
        assert growth(results.memory) == pytest.approx(grown)
        page = as_markdown(results)
        assert f"| resident memory, MiB | 100 | 100 | 100 | 100 | {last:.0f} | {verdict} |" in page
        assert "30 MiB are pages of files" in page
        assert as_json(results)["memory_mib"][990] == {"resident": last, "mapped": 40.0}


def test_memory_is_looked_at_after_as_many_edits_as_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lw, "load", lambda _: lettered())
    monkeypatch.setattr(memory, "LOOKS", {2: (1, 2, 4), 5: (5,)})
    monkeypatch.setattr(memory, "_IDLE_S", 0)
    assert memory.main() == 0
    looks = {int(edits): Look(**look) for edits, look in json.loads(capsys.readouterr().out).items()}
    assert list(looks) == [1, 2, 4, 5]
    assert all(0 <= look.mapped < look.resident for look in looks.values())


def test_every_length_is_judged_by_what_the_picture_adds_key_by_key() -> None:
    keys = {
        # The middle of the differences is 50, whatever the difference of the medians is.
        ("painted", 8): [150.0, 350.0, 250.0],
        ("alone", 8): [100.0, 310.0, 130.0],
        ("painted", 16): [161.0, 162.0],
        ("alone", 16): [100.0, 100.0],
    }
    times = Recorded({("append", 8): [80.0, 195.0, 190.0], ("append", 32): [1.0]}, {"browser": "it broke"})
    results = Results("toy", (8, 16, 32), 3, 1, times, InBrowser(keys))
    page = as_markdown(results)
    assert f"| {ABOVE_ALONE} | 50.0 ✓ ≤ 60 | 61.5 ✗ ≤ 60 | – |" in page
    assert f"| {ABOVE_APPEND} | 60.0 ✓ ≤ 60 | – | – |" in page
    assert f"| {KEY_ROWS['painted']} | 250 (200–300) | 162 (161–162) | it broke |" in page
    assert f"| {DRAG_ROWS['frames']} | it broke |  |" in page
    assert "compared with the edit alone (k₀): (h) in the same kernel" in page
    found = as_json(results)["above_alone"]
    assert [(one["tokens"], one["limit"], one["met"]) for one in found] == [(8, "≤ 60", True), (16, "≤ 60", False)]
    (found,) = as_json(results)["above_append"]
    assert found == {"tokens": 8, "value": 60.0, "limit": "≤ 60", "met": True}


def test_the_first_part_that_is_painted_is_compared_with_a_plain_pass() -> None:
    times = Recorded({("forward", 8): [100.0, 110.0, 90.0], ("forward", 16): [100.0]}, {})
    pastes = InBrowser(pastes={8: [140.0, 150.0, 160.0], 16: [151.0]})
    results = Results("toy", (8, 16, 32), 3, 1, times, pastes)
    page = as_markdown(results)
    assert f"| {FIRST_PAINTED} | 150 (145–155) | 151 | – |" in page
    assert f"| {FIRST_RATIO} | 1.50 | 1.51 | – |" in page
    found = as_json(results)
    assert [(one["tokens"], one["value"]) for one in found["first_to_forward"]] == [(8, 1.5), (16, 1.51)]
    assert found["pastes"][0]["pastes"] == [140.0, 150.0, 160.0]


def test_what_was_found_before_the_browser_broke_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(found: InBrowser, lengths: tuple[int, ...], turns: int, _say: object) -> None:
        found.keys |= {("painted", lengths[0]): [100.0 + turns], ("alone", lengths[0]): [100.0]}
        raise PeerError("it broke")

    monkeypatch.setattr(browser, "measure", breaks)
    assert main(["--only", "browser", "--lengths", "8,16", "--turns", "3", "--out", str(tmp_path)], lettered()) == 1
    page = (tmp_path / "table.md").read_text()
    assert f"| {KEY_ROWS['painted']} | 103 | it broke |" in page
    assert f"| {DRAG_ROWS['frames']} | it broke |" in page


def test_drags_are_judged() -> None:
    results = Results("toy", (8,), 3, 1, Recorded({}, {}))
    for frames, most, judged in ((50.0, 0, ("50.0 ✓ ≥ 50", "0 ✓ = 0")), (49.9, 1, ("49.9 ✗ ≥ 50", "1.0 ✗ = 0"))):
        fast, sent = [10.0, frames, 60.0], [0, 0, most]
        results.in_browser.drags.update(frames=fast, page=fast, messages=sent, slowest=[33.0, 50.0, 16.0])
        page = as_markdown(results)
        for row, cell in (("frames", judged[0]), ("page", judged[0]), ("messages", judged[1]), ("slowest", "33.0")):
            assert f"| {DRAG_ROWS[row]} | {cell} |" in page
        found = as_json(results)["drags"]
        assert {row: one.get("met") for row, one in found.items() if row != "slowest"} == dict.fromkeys(
            ("frames", "page", "messages"), most == 0
        )
        assert "met" not in found["slowest"]


def test_a_limit_stands_with_its_goal_and_a_new_prompt_is_no_slower_than_transformer_lens() -> None:
    series = {("append", 64): [100.0], ("transformer_lens", 64): [1600.0], ("cold", 64): [1600.0]}
    page = as_markdown(Results("toy", (64,), 1, 1, Recorded(series, {})))
    assert "| one token appended (h) / TransformerLens (e) | 1/16 ✓ ≤ 1/15 (goal 1/20) |" in page
    assert "| new prompt (g) / TransformerLens (e) | 1.00 ✓ ≤ 1.00 |" in page
    series[("cold", 64)] = [1620.0]
    page = as_markdown(Results("toy", (64,), 1, 1, Recorded(series, {})))
    assert "| new prompt (g) / TransformerLens (e) | 1.01 ✗ ≤ 1.00 |" in page


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


def test_runs_alternate_in_another_order_every_time() -> None:
    log: list[str] = []
    recorded = take_turns([_Fake(key, log) for key in "abcd"], [3], 20, lambda _: None)
    turns = ["".join(run[0] for run in log[4:] if run[1:] == str(2 * turn)) for turn in range(20)]
    assert log[:4] == [f"check {key}" for key in "abcd"]
    assert all(sorted(order) == list("abcd") for order in turns)
    # One that is not timed, and one that is.
    runs = [(key, turn) for turn, order in enumerate(turns) for key in order]
    assert log[4:] == [f"{key}{nth}" for key, turn in runs for nth in (2 * turn, 2 * turn + 1)]
    assert recorded.of("a", 3) == [30.0 + 2 * turn + 1 for turn in range(20)]
    # Everybody runs after everybody else.
    assert len({pair for order in turns for pair in pairwise(order)}) == 12


def test_a_peer_that_breaks_is_reported_and_the_others_go_on() -> None:
    recorded = take_turns([_Fake("a", [], fails_at=2), _Fake("b", [])], [3], 3, lambda _: None)
    assert recorded.failures == {"a": "it broke"}
    assert recorded.of("a", 3) == [31.0]
    assert recorded.of("b", 3) == [31.0, 33.0, 35.0]


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
