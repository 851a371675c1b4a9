"""Look at a notebook as JupyterLab draws it: `python -m tests.browser.look NOTEBOOK OUT.png [--dark]`.

A `.py` file is run as a notebook too, one cell for each `# %%`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import TimeoutError as PlaywrightTimeout, sync_playwright

from tests.browser.chromium import require_chromium
from tests.browser.jupyter import JupyterServer, running_server
from tests.browser.notebook import LAUNCH_FLAGS, KernelError, Notebook


def look(source: Path, picture: Path, options: argparse.Namespace) -> list[str]:
    """Run the notebook in a browser and save a picture of the page; returns what went wrong, if anything."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server, sync_playwright() as driver:
        name = _put(source, server)
        browser = driver.chromium.launch(executable_path=require_chromium(), args=LAUNCH_FLAGS)
        context = browser.new_context(
            viewport={"width": options.width, "height": options.height}, device_scale_factor=options.scale
        )
        notebook = Notebook(server, context, name)
        problems = _run(notebook, options)
        picture.parent.mkdir(parents=True, exist_ok=True)
        target = notebook.page.locator(options.element).first if options.element else notebook.page
        target.screenshot(path=picture)
        notebook.close()
        browser.close()
        return problems + notebook.console_errors


def _run(notebook: Notebook, options: argparse.Namespace) -> list[str]:
    if options.dark:
        notebook.use_theme("dark")
    try:
        notebook.run_all()
    except KernelError as error:
        return [str(error)]
    if notebook.page.locator(".jp-OutputArea-output .jupyter-widgets, .jp-OutputArea-output .lw").count():
        try:
            notebook.page.wait_for_selector(options.ready, timeout=options.timeout * 1000)
        except PlaywrightTimeout:
            return [f"nothing matched {options.ready!r} within {options.timeout} s"]
    if options.script:
        notebook.page.evaluate(options.script)
    return []


def _put(source: Path, server: JupyterServer) -> str:
    """Copy the notebook (or wrap the script) into the folder that the server shows; returns its name there."""
    if source.suffix == ".ipynb":
        shutil.copy(source, server.root / source.name)
        return source.name
    cells = (cell.strip() for cell in re.split(r"(?m)^# %%.*$", source.read_text()))
    return server.write_notebook(source.stem, [cell for cell in cells if cell])


def main() -> None:
    """Read the command line, look, and say what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path, help="a .ipynb, or a .py with `# %%%%` cells")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels per CSS pixel")
    parser.add_argument("--element", help="a CSS selector: picture only its first match")
    parser.add_argument("--ready", default=".lw-ready", help="a CSS selector to wait for")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for --ready")
    parser.add_argument("--script", help="JavaScript to evaluate before the picture, such as a scroll")
    options = parser.parse_args()
    problems = look(options.notebook, options.picture, options)
    sys.stderr.write("".join(f"! {problem}\n" for problem in problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
