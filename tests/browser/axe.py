"""What axe-core says of an explorer."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def found_by_axe(page: Page) -> list[str]:
    """What is serious or critical in the explorer of a page."""
    violations: list[dict[str, Any]] = Axe().run(page, ".lw-explorer").response["violations"]
    grave = [one for one in violations if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in grave for node in one["nodes"]]
