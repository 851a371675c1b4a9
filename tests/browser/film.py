"""A short film of the explorer, and its pages, for the README: `python -m tests.browser.film notebooks/pictures`.

Every frame is a screenshot of what was answered; only the time between them is that of the film.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, sync_playwright

from tests.browser.chromium import require_chromium
from tests.browser.explorer_page import ExplorerPage
from tests.browser.jupyter import running_server
from tests.browser.notebook import LAUNCH_FLAGS, Notebook

BEGIN, TYPED = "The Eiffel Tower is in the city of Paris, and the Colosseum is in the", " city of"
CELLS = (
    "import layerwidget as lw\nmodel = lw.load('demo')",
    f"ex = lw.Explorer(model, prompt={BEGIN!r}, layers='18-29')\nex",
)
GALLERY = ("lens", "residual", "attention", "attribution", "neurons", "depth", "compare", "map")
OTHER = "The Eiffel Tower is in the city of Paris, and the Kremlin is in the city of"
KEY_MS, DRAG_MS, LOOK_MS, END_MS = 140, 60, 900, 2200

Frame = tuple[Image.Image, int]


def main() -> int:
    """Play, and write the film and the gallery."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.film", description=__doc__)
    parser.add_argument("folder", type=Path, help="where live.webp and gallery.png are written")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as home, running_server(Path(home)) as server, sync_playwright() as drive:
        browser = drive.chromium.launch(executable_path=require_chromium(), args=LAUNCH_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 1400})
        notebook = Notebook(server, context, server.write_notebook("film", CELLS))
        notebook.run_all()
        page = ExplorerPage(notebook)
        frames = list(_frames(page))
        shots = [_page(page, name) for name in GALLERY]
    pictures, times = [picture for picture, _ in frames], [time for _, time in frames]
    film = folder / "live.webp"
    pictures[0].save(film, save_all=True, append_images=pictures[1:], duration=times, loop=0, quality=72, method=4)
    _sheet(shots).save(folder / "gallery.png", optimize=True)
    sys.stdout.write(f"{film}: {len(frames)} frames, {film.stat().st_size >> 10} KiB\n")
    return 0


def _page(page: ExplorerPage, name: str) -> Image.Image:
    page.notebook.run(f"ex.pages = [{name!r}]\nex.wait()")
    if name == "compare":
        page.notebook.run(f"ex.page('compare').prompt = {OTHER!r}\nex.wait()")
    page.notebook.page.wait_for_timeout(1500)
    return Image.open(io.BytesIO(page.root.screenshot())).convert("RGB")


def _sheet(shots: list[Image.Image]) -> Image.Image:
    """Two in a row, the upper part of each."""
    width, height, gap = 800, 560, 16
    rows = (len(shots) + 1) // 2
    sheet = Image.new("RGB", (2 * width + gap, rows * height + (rows - 1) * gap), "white")
    for place, shot in enumerate(shots):
        share = width / shot.width
        small = shot.resize((width, round(shot.height * share)), Image.Resampling.LANCZOS)
        small = small.crop((0, 0, width, min(height, small.height)))
        sheet.paste(small, ((place % 2) * (width + gap), (place // 2) * (height + gap)))
    return sheet.quantize(160)


def _frames(page: ExplorerPage) -> Iterator[Frame]:
    page.settle()
    frame = page.root.bounding_box()
    assert frame is not None
    page.prompt.press("End")
    yield _look(page, frame, LOOK_MS)
    for key in TYPED:
        page.notebook.page.keyboard.type(key)
        page.settle()
        yield _look(page, frame, KEY_MS)
    yield _look(page, frame, LOOK_MS)
    yield from _drag(page, frame)
    page.notebook.run("ex.wait()\nex.selection = lw.Selection(layer=18, head=6, position=20)\nex.wait()")
    page.settle()
    yield _look(page, frame, END_MS)
    page.notebook.run("ex.pages = ['attribution']\nex.wait()")
    page.notebook.page.wait_for_timeout(500)
    yield _look(page, frame, END_MS)


def _drag(page: ExplorerPage, frame: FloatRect) -> Iterator[Frame]:
    """The lower end of the range down and up again."""
    x, y, height = page.grab_thumb("first")
    for share in (*range(13), *range(12, -1, -2)):
        page.notebook.page.mouse.move(x, y + height * share * 0.045)
        page.notebook.page.wait_for_timeout(50)
        yield _look(page, frame, DRAG_MS)
    page.notebook.page.mouse.up()


def _look(page: ExplorerPage, frame: FloatRect, lasts_ms: int) -> Frame:
    # The same part of the page whatever stands in it.
    picture = page.notebook.page.screenshot(clip=frame)
    return Image.open(io.BytesIO(picture)).convert("RGB"), lasts_ms


if __name__ == "__main__":
    sys.exit(main())
