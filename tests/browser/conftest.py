"""A JupyterLab, a Chromium and open notebooks. Nothing here skips: without a browser the tests fail."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error as PlaywrightError, expect, sync_playwright

from tests.browser.chromium import require_chromium
from tests.browser.explorer_page import KEEP_FIRST_STATE, VIEWPORT, ExplorerPage
from tests.browser.jupyter import REPOSITORY, JupyterServer, running_server
from tests.browser.notebook import LAUNCH_FLAGS, PATIENCE_MS, Notebook

expect.set_options(timeout=PATIENCE_MS)

OpenNotebook = Callable[[str], Notebook]


@contextmanager
def running_notebook(
    server: JupyterServer, browser: Browser, name: str, height: int = VIEWPORT["height"]
) -> Iterator[Notebook]:
    """A notebook of the served folder that was run once, for many tests; the window is `height` px high."""
    context = browser.new_context(viewport={**VIEWPORT, "height": height})
    notebook = Notebook(server, context, name)
    notebook.run_all()
    yield notebook
    notebook.close()
    context.close()


@contextmanager
def watched(request: pytest.FixtureRequest, notebook: Notebook) -> Iterator[Notebook]:
    """One test of an open notebook: where it fails, a picture; nothing may be left in the console as an error."""
    failed_before = request.session.testsfailed
    yield notebook
    if request.session.testsfailed > failed_before:
        notebook.screenshot(f"failed-{request.node.name}")
    errors, notebook.console_errors = notebook.console_errors, []
    assert not errors, "The browser's console shows errors:\n" + "\n".join(errors)


@pytest.fixture(scope="package")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """One JupyterLab for all browser tests; it serves a copy of `notebooks/`."""
    home = tmp_path_factory.mktemp("jupyter")
    shutil.copytree(REPOSITORY / "notebooks", home / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    with running_server(home) as server:
        yield server


# Not for the whole session: while Playwright lives, its event loop would be in the way of tests that run their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all browser tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=LAUNCH_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def scratch(jupyter_server: JupyterServer, browser: Browser) -> Iterator[Notebook]:
    """A notebook for all modules whose cells need nothing that takes long: each begins it anew with its own."""
    name = jupyter_server.write_notebook("scratch", ["import layerwidget"])
    with running_notebook(jupyter_server, browser, name) as notebook:
        yield notebook


@pytest.fixture
def open_notebook(
    request: pytest.FixtureRequest, jupyter_server: JupyterServer, browser: Browser
) -> Iterator[OpenNotebook]:
    """Open a notebook of the served folder, run all of it and wait until it is idle.

    Afterwards nothing may be left in the console as an error. Where a test fails, `tests/output/` gets a picture.
    """
    context = browser.new_context(viewport=VIEWPORT)
    opened: list[Notebook] = []

    def open_and_run(name: str) -> Notebook:
        opened.append(Notebook(jupyter_server, context, name))
        opened[-1].run_all()
        return opened[-1]

    failed_before = request.session.testsfailed
    yield open_and_run
    failed = request.session.testsfailed > failed_before
    for number, notebook in enumerate(opened):
        if failed:
            notebook.screenshot(f"failed-{Path(request.node.name).name}-{number}")
        notebook.close()
    context.close()
    errors = [error for notebook in opened for error in notebook.console_errors]
    assert not errors, "The browser's console shows errors:\n" + "\n".join(errors)


@pytest.fixture
def write_notebook(jupyter_server: JupyterServer) -> Callable[..., str]:
    """Write a notebook with one cell for each piece of code into the served folder; returns its name."""

    def write(name: str, *cells: str) -> str:
        return jupyter_server.write_notebook(name, cells)

    return write


class Quickstart:
    """The quickstart, opened and run once for many tests; where it is beyond repair, it is opened again.

    Attributes:
        times_opened: how often that was.
    """

    def __init__(self, server: JupyterServer, browser: Browser) -> None:
        self._server, self._browser = server, browser
        self.times_opened = 0
        self._open()

    def _open(self) -> None:
        self.times_opened += 1
        # JupyterLab saves what becomes of a notebook: another opening begins with another copy.
        name = f"quickstart-{self.times_opened}.ipynb"
        shutil.copy(REPOSITORY / "notebooks" / "01_quickstart.ipynb", self._server.root / name)
        self._context = self._browser.new_context(viewport=VIEWPORT)
        self._page = ExplorerPage(Notebook(self._server, self._context, name))
        self._page.notebook.run_all()
        self._page.notebook.run(KEEP_FIRST_STATE)

    def begin(self) -> ExplorerPage:
        """Its explorer in the first state, whatever the test before has left behind.

        Raises:
            AssertionError: when it does not get there although it was opened again.
        """
        try:
            self._page.begin()
        except (AssertionError, PlaywrightError) as error:
            sys.stderr.write(f"The quickstart is opened again: {error}\n")
            self.close()
            self._open()
            self._page.begin()
        return self._page

    def close(self) -> None:
        """End it, in whatever state it is."""
        with suppress(PlaywrightError):
            self._page.notebook.close()
        self._context.close()


@pytest.fixture(scope="package")
def quickstart(jupyter_server: JupyterServer, browser: Browser) -> Iterator[Quickstart]:
    """The quickstart, for all tests of the package."""
    shared = Quickstart(jupyter_server, browser)
    yield shared
    shared.close()


@pytest.fixture
def explorer(request: pytest.FixtureRequest, quickstart: Quickstart) -> Iterator[ExplorerPage]:
    """The quickstart's explorer in its first state, in the light theme; nothing may be left in the console."""
    page = quickstart.begin()
    with watched(request, page.notebook):
        yield page
