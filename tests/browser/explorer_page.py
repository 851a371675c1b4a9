"""The explorer of an open notebook, by its parts, as a person would find them."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, ViewportSize, expect

from tests.browser.notebook import Notebook, rest

PROMPT = "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of"
#: How large the window is.
VIEWPORT: ViewportSize = {"width": 1280, "height": 900}
#: Run once in a notebook that is shared, so that `FIRST_STATE` finds back to it.
KEEP_FIRST_STATE = """
from tests.browser.first_state import FirstState
first_state = FirstState(ex, lw.Selection(layer=29, head=6, position=20), view, curves.driver)
"""
FIRST_STATE = "first_state.restore()"
#: Closes what only the page knows to be open.
_CLOSE = """(root) => {
    document.activeElement?.blur();
    root.querySelectorAll("[aria-expanded=true]").forEach((chip) => chip.click());
    root.querySelectorAll("details[open]").forEach((details) => { details.open = false; });
    document.querySelectorAll(".lw-scroll, .lw-gallery, .jp-WindowedPanel-outer").forEach((box) => box.scrollTo(0, 0));
}"""
#: Where the parts of the explorer are in it, and how large.
BOXES = """(nodes) => nodes.map((node) => {
    const [box, root] = [node.getBoundingClientRect(), node.closest(".lw-explorer").getBoundingClientRect()];
    return [box.x - root.x, box.y - root.y, box.width, box.height].map(Math.round);
})"""


def column_width(scroll: Locator) -> int:
    """How wide a column of a grid is, in the grid's own px, as `js/layer_grid.js` says."""
    expect(scroll).to_have_attribute("data-column", re.compile(r"\d+"))
    return int(scroll.get_attribute("data-column") or 0)


class ExplorerPage:
    """The explorer of an open notebook, by its parts."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.root = notebook.page.locator(".lw-explorer").first
        # A page may have another text box, for a second prompt.
        editor = self.root.locator(".lw-editor:not(.lw-second)")
        self.prompt = editor.locator("textarea.lw-prompt")
        self.chips = editor.locator(".lw-chip")
        self.lens = self.root.locator(".lw-lens")
        self.grid = self.root.locator(".lw-lens .lw-scroll canvas")
        self.words = self.root.locator(".lw-words .lw-word")
        self.attention = self.root.locator(".lw-attention")
        self.state = self.root.locator(".lw-state")

    def begin(self) -> None:
        """Bring everything into its first state, from any other one, and wait until that is drawn.

        Raises:
            AssertionError: when it does not get there.
        """
        page = self.notebook.page
        page.mouse.up()
        page.mouse.move(0, 0)
        page.emulate_media(color_scheme="light", forced_colors="none", reduced_motion="no-preference")
        page.set_viewport_size(VIEWPORT)
        self.notebook.use_theme("light")
        expect(page.locator(".lw-explorer")).to_have_count(1, timeout=5_000)
        self.root.evaluate(_CLOSE)
        # What is still on its way to the kernel would come after the first state.
        rest(self.notebook.page)
        self.notebook.run(FIRST_STATE)
        expect(self.prompt).to_have_value(PROMPT)
        self.settle()
        assert self.notebook.value("first_state.holds"), "The first state did not last."

    def open(self, *pages: str, height: int = VIEWPORT["height"]) -> None:
        """Show other pages instead, in a window that is so many px high."""
        self.notebook.page.set_viewport_size({**VIEWPORT, "height": height})
        self.notebook.run(f"ex.pages = {list(pages)}; ex.wait()")
        expect(self.state).to_have_text("fresh", timeout=60_000)
        rest(self.notebook.page)

    def expect_checked(self) -> None:
        """Wait until the model is checked and edits go on from what is known: in idle moments, which may be rare."""
        self.notebook.expect_value("ex.report is not None", True, timeout_s=240)
        # A pass that is run when nothing else is to do begins half a second after the last answer, and takes the model.
        self.notebook.expect_value("ex._answering.live.is_behind", False)

    def settle(self) -> None:
        """Wait until what is drawn belongs to the text in the box, and stays where it is."""
        text = self.prompt.input_value()
        expect(self.lens).to_have_attribute("data-prompt", text, timeout=60_000)
        expect(self.state).to_have_text("fresh" if text else "waiting for a prompt", timeout=60_000)
        rest(self.notebook.page)

    def grab_thumb(self, part: str) -> tuple[float, float, float]:
        """Press the pointer on an end of the slider; where that is, and how high the stack of layers is."""
        thumb_node = self.root.locator(f".lw-thumb-{part}")
        thumb_node.scroll_into_view_if_needed()
        rest(self.notebook.page)
        stage, thumb = self.root.locator(".lw-rail-stage").bounding_box(), thumb_node.bounding_box()
        assert stage is not None
        assert thumb is not None
        x, y = thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2
        self.notebook.page.mouse.move(x, y)
        self.notebook.page.mouse.down()
        return x, y, stage["height"]

    def cell(self, row: int, column: int, rows: int) -> dict[str, float]:
        """Where a cell of the lens grid is, within the canvas; 26 px of layer numbers, 22 px of tokens."""
        box = self.grid.bounding_box()
        assert box is not None
        width = column_width(self.lens.locator(".lw-scroll"))
        return {"x": 26 + (column + 0.5) * width, "y": (row + 0.5) * (box["height"] - 22) / rows}
