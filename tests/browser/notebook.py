"""A notebook that is open in JupyterLab, or in Notebook, in a browser: run it, read its kernel, look at it."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.browser.jupyter import JupyterServer

OUTPUT = Path(__file__).parents[1] / "output"
#: What tests look at.
DRAWN = ".lw-explorer, .lw"
READY_TIMEOUT_S = 120.0
#: How long anything may take that is asked of the kernel, on a machine that does other things, too.
PATIENCE_MS = 60_000
LAUNCH_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--force-color-profile=srgb", "--font-render-hinting=none"),
]

_OPEN = """async () => {
    await jupyterapp.started;
    // `currentWidget` is empty until the router has opened the notebook.
    while (!jupyterapp.shell.currentWidget?.context?.sessionContext) {
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { context } = jupyterapp.shell.currentWidget;
    await context.ready;
    await context.sessionContext.ready;
    await context.sessionContext.session.kernel.info;
    // What the page has told widgets in the kernel and was not heard yet, and how often it has said anything at all.
    window.unheard = new Set();
    window.sentToKernel = 0;
    context.sessionContext.session.kernel.anyMessage.connect((_, { direction, msg }) => {
        if (direction === "send") {
            window.sentToKernel += 1;
            if (msg.header.msg_type.startsWith("comm_")) window.unheard.add(msg.header.msg_id);
        } else if (msg.header.msg_type === "status" && msg.content.execution_state === "idle") {
            window.unheard.delete(msg.parent_header.msg_id);
        }
    });
    jupyterapp.shell.collapseLeft();
    jupyterapp.shell.collapseRight();
    for (const side of ["left", "right"]) {
        // Notebook has no such bars.
        if (jupyterapp.shell.isSideTabBarVisible?.(side)) jupyterapp.shell.toggleSideTabBarVisibility(side);
    }
}"""

_RUN_ALL = """async () => {
    await jupyterapp.commands.execute("notebook:run-all-cells");
    const cells = jupyterapp.shell.currentWidget.context.model.toJSON().cells;
    return cells.flatMap((cell) => cell.outputs ?? []).filter((output) => output.output_type === "error");
}"""

_ADD_CELL = """async (source) => {
    const { content, context } = jupyterapp.shell.currentWidget;
    context.model.sharedModel.addCell({ cell_type: "code", source });
    content.activeCellIndex = content.widgets.length - 1;
    await jupyterapp.commands.execute("notebook:run-cell");
}"""

_REMOVE_CELL = """() => {
    const { sharedModel } = jupyterapp.shell.currentWidget.context.model;
    sharedModel.deleteCell(sharedModel.cells.length - 1);
}"""

_REPLACE_CELLS = """(sources) => {
    const { sharedModel } = jupyterapp.shell.currentWidget.context.model;
    // Never without any: JupyterLab would add one of its own.
    sharedModel.insertCells(0, sources.map((source) => ({ cell_type: "code", source })));
    sharedModel.deleteCellRange(sources.length, sharedModel.cells.length);
}"""

#: Nothing of what ran before is left: neither widgets, of which some listen to each other by name, nor names.
_FORGET = "import ipywidgets\nipywidgets.Widget.close_all()\nget_ipython().reset(new_session=False)"

_EXECUTE = """async ([code, expression]) => {
    const kernel = jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
    const user_expressions = expression === null ? {} : { value: expression };
    const future = kernel.requestExecute({ code, user_expressions, store_history: false, stop_on_error: false });
    let stdout = "";
    future.onIOPub = ({ header, content }) => {
        if (header.msg_type === "stream" && content.name === "stdout") stdout += content.text;
    };
    const reply = (await future.done).content;
    return { reply, stdout };
}"""

#: Waits until nothing moves from one frame to the next, and the kernel has heard all that the page said.
_REST = """async ([selector, patience]) => {
    const end = performance.now() + patience;
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const places = () => JSON.stringify([...document.querySelectorAll(`${selector}, ${selector} *`)].map((node) => {
        const { x, y, width, height } = node.getBoundingClientRect();
        return [x, y, width, height];
    }));
    for (let before = null, now = places(); before !== now || window.unheard?.size;) {
        if (performance.now() > end) throw new Error(`The page does not come to rest: ${window.unheard?.size} unheard`);
        // What a frame asks for is drawn in the next one.
        await frame();
        await frame();
        [before, now] = [now, places()];
    }
}"""

_SHUT_DOWN = "async () => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()"


class KernelError(AssertionError):
    """Python code in the kernel raised."""


class Notebook:
    """One notebook, open in JupyterLab with a live kernel.

    Attributes:
        page: Playwright's page, for clicks, keys and expectations.
        console_errors: What the browser's console reported as an error, and uncaught exceptions.
    """

    def __init__(self, server: JupyterServer, context: BrowserContext, name: str) -> None:
        """Open the notebook `name` of the server's root folder and wait until its kernel answers."""
        self.console_errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.console_errors.append(f"uncaught: {error}"))
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.goto(server.page_of(name))
        self.page.wait_for_function("window.jupyterapp !== undefined", timeout=READY_TIMEOUT_S * 1000)
        self.page.evaluate(_OPEN)

    def run_all(self) -> None:
        """Run all cells and wait until the kernel is idle.

        Raises:
            KernelError: with the traceback of the first cell that raised.
        """
        errors = self.page.evaluate(_RUN_ALL)
        if errors:
            raise KernelError(_plain("\n".join(errors[0]["traceback"])))

    def begin_anew(self, *cells: str) -> None:
        """Put other cells in the place of all, and run them in the same kernel, which forgets all but its imports.

        Raises:
            KernelError: with the traceback of the first cell that raised.
        """
        self.page.mouse.up()
        self.page.mouse.move(0, 0)
        self.use_theme("light")
        self.page.evaluate(_REPLACE_CELLS, cells)
        self.run(_FORGET)
        self.run_all()

    def run(self, code: str) -> str:
        """Run Python statements in the kernel; returns what they printed.

        Raises:
            KernelError: with the traceback, when they raised.
        """
        return str(self._execute(code, None)[1])

    def value(self, expression: str) -> Any:
        """The value of a Python expression in the kernel; it must be something JSON can hold.

        Raises:
            KernelError: with the traceback, when it raised.
        """
        return self._execute("", f"__import__('json').dumps({expression})")[0]

    def rest(self, selector: str = DRAWN) -> None:
        """Wait until what is drawn stays where it is, and the kernel has heard all that the page said."""
        rest(self.page, selector)

    def count_messages(self) -> None:
        """Count in `window.sentToKernel` what the page sends to the kernel from now on, when all else is done."""
        self.rest()
        self.page.evaluate("window.sentToKernel = 0")

    @contextmanager
    def one_more_cell(self, code: str) -> Iterator[Locator]:
        """Run some code in a cell below the others, which is taken away again."""
        cells = self.page.locator(".jp-Notebook .jp-Cell")
        before = cells.count()
        self.page.evaluate(_ADD_CELL, code)
        try:
            yield cells.nth(before)
        finally:
            self.page.evaluate(_REMOVE_CELL)
            expect(cells).to_have_count(before)

    def expect_value(self, expression: str, expected: Any, timeout_s: float = PATIENCE_MS / 1000) -> None:
        """Wait until an expression in the kernel has a value: what the page sends may arrive after the question.

        Raises:
            AssertionError: with the last value, when it does not get there in time.
        """
        deadline = time.monotonic() + timeout_s
        while (value := self.value(expression)) != expected and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        assert value == expected, f"{expression} is {value!r}"

    def use_theme(self, theme: Literal["light", "dark", "dark high contrast"]) -> None:
        """Switch JupyterLab's theme and wait until its style sheet is there."""
        name = f"JupyterLab {theme.title()}"
        if self.page.locator(f"body[data-jp-theme-name='{name}']").count():
            return
        self.page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached")
        self.page.wait_for_load_state("networkidle")
        # JupyterLab's splash screen fades out; a second change meanwhile would remove it twice.
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")
        self.rest()

    def screenshot(self, name: str, selector: str | None = None) -> Path:
        """Save a picture of the page, or of one element, as `tests/output/<name>.png`; returns its path."""
        path = OUTPUT / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if selector is None:
            self.page.screenshot(path=path)
        else:
            self.page.locator(selector).first.screenshot(path=path)
        return path

    def close(self) -> None:
        """Shut the kernel down and close the page."""
        if not self.page.is_closed():
            self.page.evaluate(_SHUT_DOWN)
            self.page.close()

    def _execute(self, code: str, expression: str | None) -> tuple[Any, str]:
        answer = self.page.evaluate(_EXECUTE, [code, expression])
        reply = answer["reply"]
        failed = reply if expression is None or reply["status"] != "ok" else reply["user_expressions"]["value"]
        if failed["status"] != "ok":
            raise KernelError(_plain("\n".join(failed["traceback"])))
        if expression is None:
            return None, answer["stdout"]
        return json.loads(ast.literal_eval(failed["data"]["text/plain"])), answer["stdout"]

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(f"{message.text} ({message.location.get('url', '')})")


def rest(page: Page, selector: str = DRAWN) -> None:
    """Wait until what is drawn on a page stays where it is, and the kernel has heard all that the page said."""
    page.evaluate(_REST, [selector, PATIENCE_MS])


def _plain(traceback: str) -> str:
    """A traceback without terminal colours."""
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", traceback)
