"""The explorer of an open notebook, by its parts, as a person would find them."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.notebook import Notebook

PROMPT = "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of"


#: Counts what the page sends to the kernel from now on, in `window.sentToKernel`.
KERNEL_MESSAGES = """() => {
    const { kernel } = jupyterapp.shell.currentWidget.context.sessionContext.session;
    if (window.sentToKernel === undefined) {
        kernel.anyMessage.connect((_, { direction }) => { if (direction === "send") window.sentToKernel += 1; });
    }
    window.sentToKernel = 0;
}"""


class ExplorerPage:
    """The explorer of an open notebook, by its parts."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.root = notebook.page.locator(".lw-explorer").first
        self.prompt = self.root.locator("textarea.lw-prompt")
        self.chips = self.root.locator(".lw-chip")
        self.lens = self.root.locator(".lw-lens")
        self.grid = self.root.locator(".lw-lens .lw-scroll canvas")
        self.words = self.root.locator(".lw-words .lw-word")
        self.attention = self.root.locator(".lw-attention")
        self.state = self.root.locator(".lw-state")

    def settle(self) -> None:
        """Wait until what is drawn belongs to the text in the box."""
        text = self.prompt.input_value()
        expect(self.lens).to_have_attribute("data-prompt", text, timeout=60_000)
        expect(self.state).to_have_text("fresh" if text else "waiting for a prompt", timeout=60_000)

    def grab_thumb(self, part: str) -> tuple[float, float, float]:
        """Press the pointer on an end of the slider; where that is, and how high the stack of layers is."""
        stage = self.root.locator(".lw-rail-stage").bounding_box()
        thumb = self.root.locator(f".lw-thumb-{part}").bounding_box()
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
        width = 36 if self.chips.count() > 14 else 52 if self.chips.count() > 11 else 68
        return {"x": 26 + (column + 0.5) * width, "y": (row + 0.5) * (box["height"] - 22) / rows}


FIRST_STATE = f"""
ex.prompt, ex.layers, ex.tokens, ex.token = {PROMPT!r}, "18-29", [], None
ex.wait()
ex.selection = lw.Selection(layer=29, head=6, position=20)
ex.attention_view.show_heads, ex.lens_view.colour = "head", "faded"
"""
