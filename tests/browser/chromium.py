"""The Chromium that browser tests drive: the system's, else Debian's package, else Playwright's download.

Run as `python -m tests.browser.chromium` it makes sure that one exists and prints its path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEBIAN_PACKAGES = ("chromium", "fonts-dejavu-core")


class NoChromiumError(RuntimeError):
    """No Chromium was found and none could be installed: browser tests fail, they are never skipped."""


def find_chromium() -> Path | None:
    """The path of a Chromium that is already here, or None."""
    for command in COMMANDS:
        found = shutil.which(command)
        if found:
            return Path(found)
    return _playwright_chromium()


def require_chromium() -> Path:
    """The path of a Chromium; installs one where this machine lets us.

    Raises:
        NoChromiumError: when there is none and neither apt-get nor Playwright could install one.
    """
    found = find_chromium()
    if found:
        return found
    failures = [failure for failure in (_install_with_apt(), _install_with_playwright()) if failure]
    found = find_chromium()
    if found:
        return found
    raise NoChromiumError(
        f"The browser tests need a Chromium: expected one of {', '.join(COMMANDS)} on PATH, found none, and\n"
        + "\n".join(f"- {failure}" for failure in failures)
        + "\nInstall Chromium or Google Chrome yourself and run the tests again."
    )


def _playwright_chromium() -> Path | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.exists() else None


def _install_with_apt() -> str | None:
    """Install Debian's Chromium; returns why it did not work."""
    apt = shutil.which("apt-get")
    if apt is None:
        return "apt-get is not here"
    if os.geteuid() != 0:
        return f"apt-get needs root (sudo apt-get install {' '.join(DEBIAN_PACKAGES)})"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "-y", "-q", "--no-install-recommends", *DEBIAN_PACKAGES]
    return _run([apt, "update", "-q"], environment) or _run(install, environment)


def _install_with_playwright() -> str | None:
    if find_chromium():
        return None
    return _run([sys.executable, "-m", "playwright", "install", "chromium"], dict(os.environ))


def _run(command: list[str], environment: dict[str, str]) -> str | None:
    """Run a command; returns None, or its last lines when it failed."""
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0:
        return None
    return f"{' '.join(command)} failed ({done.returncode}): {done.stdout.strip()[-500:]}"


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{require_chromium()}\n")
    except NoChromiumError as error:
        sys.exit(str(error))
