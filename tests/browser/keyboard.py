"""A person who has a keyboard and no pointer."""

from __future__ import annotations

from playwright.sync_api import Locator

from tests.browser.notebook import Notebook

#: How many times Tab, below zero Shift and Tab, leads from what has the focus to an element, as far as the page tells.
_STEPS = """(target) => {
    const active = document.activeElement;
    if (active === target) return 0;
    if (active === null || active === document.body) return 1;
    const [earlier, later] = [Node.DOCUMENT_POSITION_PRECEDING, Node.DOCUMENT_POSITION_FOLLOWING];
    const back = Boolean(active.compareDocumentPosition(target) & earlier);
    const [first, last] = back ? [target, active] : [active, target];
    const between = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
        .filter((node) => first.compareDocumentPosition(node) & later && last.compareDocumentPosition(node) & earlier)
        .filter((node) => node.tabIndex >= 0 && !node.disabled && node.checkVisibility({ visibilityProperty: true }));
    return (between.length + 1) * (back ? -1 : 1);
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
        end = self.pressed + most
        while (steps := target.evaluate(_STEPS)) and self.pressed < end:
            for _ in range(abs(steps)):
                self.press("Shift+Tab" if steps < 0 else "Tab")
        if not steps:
            assert target.evaluate("node => node.matches(':focus-visible')")
            assert target.evaluate("node => getComputedStyle(node).outlineStyle !== 'none'"), "no ring"
            return target
        raise AssertionError(f"{target} is not reached by Tab within {most} steps.")

    def on(self, target: Locator, *keys: str) -> None:
        """Reach an element and press keys on it."""
        self.reach(target)
        self.press(*keys)
