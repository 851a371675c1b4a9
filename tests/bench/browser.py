"""Key press -> painted, and frames while the layers are dragged: in a real JupyterLab in Chromium."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, expect, sync_playwright

from tests.bench.rows import KEY_ROWS
from tests.bench.timing import PeerError, last_line
from tests.browser.chromium import NoChromiumError, require_chromium
from tests.browser.explorer_page import ExplorerPage
from tests.browser.jupyter import running_server
from tests.browser.notebook import LAUNCH_FLAGS, Notebook

VIEWPORT = {"width": 1280, "height": 1400}
DRAG_S = 2.0
#: The prompt in which the layers are dragged.
DRAG_TOKENS = 64
SETTLED_MS = 60_000
#: At each length; single keys vary more than whole edits do.
KEYS_PER_TURN = 4
#: Each of them makes another last token, and changes no other.
_KEYS = " rain on the sea now"

_CELLS = (
    "import layerwidget as lw\nfrom tests.bench.contestants import Append\nfrom tests.bench.timing import clock_ms\n"
    "from tests.bench.workload import Workload\n"
    "model = lw.load('demo')\nwork = Workload(model)\n"
    "ex = lw.Explorer(model, prompt=work.text({n}), layers='22-29')\nex",
    "import time\nex.wait()\n"
    # The idle work of a new explorer, and what is done once for each model, come before the first key.
    "while ex.report is None:\n    time.sleep(0.1)",
)

_TO_THE_END = "(area) => { area.focus(); area.setSelectionRange(area.value.length, area.value.length); }"

# The grid says in its attributes what it shows, in the frame in which it draws it. A message that it posts then
# is delivered after that frame has been painted.
_WATCH_KEYS = """() => {
    const root = document.querySelector(".lw-explorer");
    const [area, lens, state] = ["textarea.lw-prompt", ".lw-lens", ".lw-state"].map((name) => root.querySelector(name));
    const bench = window.bench = { first: null, painted: null, settled: null };
    bench.begin = (now) => {
        bench.pressed = now;
        bench.revision = lens.dataset.revision;
        bench.first = bench.painted = bench.settled = null;
        bench.quiet = new Promise((resolve) => { bench.tell = resolve; });
    };
    area.addEventListener("keydown", (event) => bench.begin(event.timeStamp), true);
    const note = (moment, holds) => {
        if (bench.pressed === undefined || bench[moment] !== null || !holds()) return;
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
            if (holds()) bench[moment] ??= performance.now() - bench.pressed;
            if (bench.settled !== null) bench.tell();
        };
        port2.postMessage(null);
    };
    const grid = () => lens.dataset.prompt === area.value;
    const part = () => lens.dataset.revision !== bench.revision && (grid() || lens.classList.contains("lw-partial"));
    const all = () => grid() && state.dataset.state === "fresh";
    const look = () => { note("first", part); note("painted", grid); note("settled", all); };
    new MutationObserver(look).observe(lens, { attributes: true });
    new MutationObserver(look).observe(state, { attributes: true });
}"""

# Nobody may ask the page meanwhile, as Playwright does at every frame: that takes the cores which the model runs on.
_WAIT_UNTIL_SETTLED = f"""() => new Promise((resolve, reject) => {{
    const {{ bench }} = window;
    const late = setTimeout(() => reject(new Error("nothing was painted in time")), {SETTLED_MS});
    bench.quiet.then(() => {{
        clearTimeout(late);
        const {{ first, painted, settled }} = bench;
        resolve({{ first, painted, settled }});
    }});
}})"""

# As the editor's own command, which is what a paste ends in.
_PASTE = """(area, text) => {
    area.focus();
    area.select();
    window.bench.begin(performance.now());
    document.execCommand("insertText", false, text);
}"""

_FRAMES = """
    let last = null;
    const frame = (now) => {
        if (last !== null) bench.frames.push(now - last);
        last = now;
        if (bench.running) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}"""

_WATCH_FRAMES = (
    """() => {
    const bench = window.bench = { frames: [], sent: 0, running: true };
    const { kernel } = jupyterapp.shell.currentWidget.context.sessionContext.session;
    kernel.anyMessage.connect((_, { direction }) => { if (bench.running && direction === "send") bench.sent += 1; });"""
    + _FRAMES
)

_COUNT_FRAMES = "() => { const bench = window.bench = { frames: [], running: true };" + _FRAMES

_STOP_FRAMES = "() => { window.bench.running = false; return [window.bench.frames, window.bench.sent]; }"


@dataclass
class InBrowser:
    """What was found in the browser.

    Attributes:
        keys: (row of `KEY_ROWS`, n tokens) -> milliseconds, key by key.
        pastes: n tokens -> milliseconds until the first part of the answer to a new prompt is painted, paste by paste.
        drags: row of `DRAG_ROWS` -> values, drag by drag.
    """

    keys: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    pastes: dict[int, list[float]] = field(default_factory=dict)
    drags: dict[str, list[float]] = field(default_factory=dict)


def measure(found: InBrowser, lengths: Sequence[int], turns: int, say: Callable[[str], None]) -> None:
    """Press keys in a prompt of each length, paste others, and drag in one of `DRAG_TOKENS`; adds to `found`.

    Args:
        found: where the values go.
        lengths: of the prompts in which keys are pressed, tokens.
        turns: how often the layers are dragged; `KEYS_PER_TURN` as many keys are timed at each length.
        say: told of the progress.

    Raises:
        PeerError: when there is no browser, or something could not be done in it; what was found before stays.
    """
    try:
        with tempfile.TemporaryDirectory() as home, running_server(Path(home)) as server, sync_playwright() as drive:
            name = server.write_notebook("bench", [cell.format(n=lengths[0]) for cell in _CELLS])
            browser = drive.chromium.launch(executable_path=require_chromium(), args=LAUNCH_FLAGS)
            context = _context(browser)
            notebook = Notebook(server, context, name)
            notebook.run_all()
            page = ExplorerPage(notebook)
            notebook.page.evaluate(_WATCH_KEYS)
            for n in lengths:
                found.keys |= {(row, n): values for row, values in _type(page, n, KEYS_PER_TURN * turns).items()}
                found.pastes[n] = _paste(page, n, turns)
                say(f"in the browser: {n} tokens")
            found.drags |= _drag(page, turns)
            path = _exported(notebook, Path(home))
            notebook.close()
            found.drags["page"] = frames_of_page(browser, path, turns)
            say("in the browser: dragged")
    except (Error, AssertionError, NoChromiumError, RuntimeError) as error:
        raise PeerError(f"{type(error).__name__}: {last_line(str(error))}") from error


def _context(browser: Browser) -> Any:
    return browser.new_context(viewport=VIEWPORT)


def _show(page: ExplorerPage, n: int) -> None:
    """Show the prompt of n tokens, and wait until all is quiet."""
    # The text belongs to the browser while it is being edited.
    page.prompt.blur()
    text = page.notebook.value(f"work.text({n})")
    page.notebook.run(f"ex.prompt = work.text({n}); ex.wait()")
    expect(page.prompt).to_have_value(text)
    page.settle()


def _type(page: ExplorerPage, n: int, n_keys: int) -> dict[str, list[float]]:
    """Press a key at the end of the prompt, wait until all is quiet, and press the next; the first warms up.

    Between two keys the kernel answers an edit like it for nobody: what a machine that others use takes changes from
    minute to minute, and what the picture adds is seen in the same minute only.
    """
    found: dict[str, list[float]] = {row: [] for row in KEY_ROWS}
    _show(page, n)
    page.notebook.run(f"alone = Append(work); alone.check({n})")
    page.prompt.evaluate(_TO_THE_END)
    for turn in range(n_keys + 1):
        page.notebook.page.wait_for_timeout(300)
        page.notebook.page.keyboard.press(_KEYS[turn % len(_KEYS)])
        moments = page.notebook.page.evaluate(_WAIT_UNTIL_SETTLED)
        found["painted"].append(moments["painted"])
        found["settled"].append(moments["settled"])
        found["engine"].append(_engine_ms(page))
        page.notebook.run(f"edit = alone.prepared({n}, {turn})")
        # In a cell, after which Explorers tidy up; they do not after the value of an expression. It rests as long as
        # before a key, for what a machine has not done for a while takes it longer, and while JupyterLab draws that a
        # cell has begun, which is no part of an edit.
        page.notebook.run("time.sleep(0.3)\ntook_ms = clock_ms(edit)")
        found["alone"].append(page.notebook.value("took_ms"))
    return {row: values[1:] for row, values in found.items()}


def _paste(page: ExplorerPage, n: int, n_pastes: int) -> list[float]:
    """Paste prompts of n tokens of which nothing is known; the first warms up.

    Returns:
        Milliseconds until the first part of each answer is painted: the last position of the layers on screen.
    """
    found = []
    for turn in range(-1, n_pastes):
        text = page.notebook.value(f"work.pasted({n}, {turn})")
        page.notebook.page.wait_for_timeout(300)
        page.prompt.evaluate(_PASTE, text)
        found.append(page.notebook.page.evaluate(_WAIT_UNTIL_SETTLED)["first"])
        expect(page.root.locator(".lw-work")).to_contain_text(f"{n} tokens")
        page.settle()
    return found[1:]


def _engine_ms(page: ExplorerPage) -> float:
    """What the line above the prompt says, such as `65 tokens · 1 recomputed · 112 ms`; of one token, as (h) is."""
    text = page.root.locator(".lw-work").text_content() or ""
    said = re.search(r"([\d.]+) (m?)s\b", text)
    assert said is not None, f"The status line says no time: {text!r}"
    assert re.search(r"\b1 recomputed", text), f"Expected a key that makes one token: {text!r}"
    return float(said.group(1)) * (1 if said.group(2) else 1000)


def _drag(page: ExplorerPage, turns: int) -> dict[str, list[float]]:
    """Drag the lower end of all layers up and down."""
    _show(page, DRAG_TOKENS)
    page.notebook.run("ex.layers = 'all'; ex.wait()")
    expect(page.lens.locator(".lw-detail")).to_contain_text("layers 0–29")
    page.settle()
    found: dict[str, list[float]] = {"frames": [], "slowest": [], "messages": []}
    for _ in range(turns):
        frames, sent = _one_drag(page)
        found["frames"].append(1000 * len(frames) / sum(frames))
        found["slowest"].append(max(frames))
        found["messages"].append(sent)
    return found


def _exported(notebook: Notebook, folder: Path) -> Path:
    """The explorer of the notebook as one file."""
    path = folder / "page.html"
    notebook.run(f"_ = ex.to_html({str(path)!r})")
    return path


def frames_of_page(browser: Browser, path: Path, turns: int) -> list[float]:
    """Frames per second while the lower end of all layers is dragged up and down in an exported page."""
    context = browser.new_context(viewport=VIEWPORT, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    expect(page.locator(".lw-lens.lw-ready")).to_be_visible(timeout=SETTLED_MS)
    found = []
    for _ in range(turns):
        stage, thumb = (page.locator(name).bounding_box() for name in (".lw-rail-stage", ".lw-thumb-first"))
        assert stage is not None
        assert thumb is not None
        x, y = thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.evaluate(_COUNT_FRAMES)
        deadline = time.monotonic() + DRAG_S
        while time.monotonic() < deadline:
            page.mouse.move(x, y - 0.6 * stage["height"], steps=30)
            page.mouse.move(x, y, steps=30)
        frames = page.evaluate("() => { window.bench.running = false; return window.bench.frames; }")
        page.mouse.up()
        found.append(1000 * len(frames) / sum(frames))
    context.close()
    return found


def _one_drag(page: ExplorerPage) -> tuple[list[float], int]:
    x, y, height = page.grab_thumb("first")
    mouse = page.notebook.page.mouse
    page.notebook.page.evaluate(_WATCH_FRAMES)
    deadline = time.monotonic() + DRAG_S
    while time.monotonic() < deadline:
        mouse.move(x, y - 0.6 * height, steps=30)
        mouse.move(x, y, steps=30)
    frames, sent = page.notebook.page.evaluate(_STOP_FRAMES)
    mouse.up()
    page.notebook.run("ex.wait()")
    return frames, int(sent)
