"""A person who has a keyboard and no pointer."""

from __future__ import annotations

from playwright.sync_api import Locator

from tests.browser.notebook import Notebook

#: Where an element stands as seen from what has the focus: "here", "later", "earlier"; "none" where nothing has it.
_WAY = """(target) => {
    const active = document.activeElement;
    if (active === target) return "here";
    if (active === null || active === document.body) return "none";
    return active.compareDocumentPosition(target) & Node.DOCUMENT_POSITION_PRECEDING ? "earlier" : "later";
}"""


class Keyboard:
    """Keys, and nothing else: an element is reached by Tab, in the order in which the page offers them."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.pressed = 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.notebook.page.keyboard.press(key)
            self.pressed += 1

    def type(self, text: str) -> None:
        self.notebook.page.keyboard.type(text)

    def reach(self, target: Locator, most: int = 250) -> Locator:
        """Press Tab, or Shift and Tab, until the element has the focus.

        Raises:
            AssertionError: when it does not come, or has no ring that shows it.
        """
        for _ in range(most):
            way = target.evaluate(_WAY)
            if way == "here":
                assert target.evaluate("node => node.matches(':focus-visible')")
                assert target.evaluate("node => getComputedStyle(node).outlineStyle !== 'none'"), "no ring"
                return target
            self.press("Shift+Tab" if way == "earlier" else "Tab")
        raise AssertionError(f"{target} is not reached by Tab within {most} steps.")

    def on(self, target: Locator, *keys: str) -> None:
        """Reach an element and press keys on it."""
        self.reach(target)
        self.press(*keys)
