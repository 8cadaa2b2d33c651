"""The browser of the tests: found, driven, and watched, so that no page does what it must not."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OVERRIDE = "DTIMER_TEST_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FOLDER = Path(__file__).resolve().parents[1] / "browser"
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"

#: No sandbox: tests in containers run as root, and the pages are our own. The rest keeps the browser's hands still.
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--force-color-profile=srgb")

#: Milliseconds that a page may take for anything: the machine may be busy.
PATIENCE_MS = 20_000


class BrowserNotFoundError(FileNotFoundError):
    """What drives or judges the pages is missing; nothing is proved without it, so no test is skipped."""


def chromium_program() -> str:
    """The browser: the program that ``DTIMER_TEST_CHROMIUM`` names, or the first on the path.

    Raises:
        BrowserNotFoundError: There is none; the text says what to install.
    """
    chosen = os.environ.get(OVERRIDE)
    for name in [chosen] if chosen else NAMES:
        if found := shutil.which(name):
            return found
    raise BrowserNotFoundError(
        f"Chromium is not installed: on Debian, apt-get install chromium; elsewhere let {OVERRIDE} name its program"
    )


def axe_script() -> str:
    """The text of axe-core, which judges how accessible a page is.

    Raises:
        BrowserNotFoundError: It is not installed; the text says how.
    """
    if not AXE.is_file():
        raise BrowserNotFoundError("axe-core is not installed: npm ci --prefix tests/browser")
    return AXE.read_text(encoding="utf-8")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser, as Playwright has it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_program(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Writes down what the pages of a browser context do that no page of the console may do.

    That is: a request to another origin, an error in the browser's console (the content security policy writes its
    refusals there), and an exception that nobody caught.

    Args:
        context: Of Playwright.
        origin: Scheme, host and port: where the pages may send requests to.
    """

    def __init__(self, context: Any, origin: str) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._origins = {origin}
        self._allowed: list[str] = []
        context.on("request", self._on_request)
        context.on("console", self._on_message)
        context.on("weberror", lambda error: self.problems.append(f"exception: {error.error}"))

    def allow(self, part: str) -> None:
        """Problems with this in their text are what the test provokes."""
        self._allowed.append(part)

    def allow_origin(self, origin: str) -> None:
        """Another origin that the test itself visits."""
        self._origins.add(origin)

    def check(self) -> None:
        """Fail if anything was written down that was not allowed, and begin anew.

        Raises:
            AssertionError: With all of it.
        """
        wrong = [problem for problem in self.problems if not any(part in problem for part in self._allowed)]
        self.problems.clear()
        self._allowed.clear()
        assert not wrong, "\n".join(wrong)

    def _on_request(self, request: Any) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" not in self._origins:
            self.problems.append(f"request to another origin: {request.method} {request.url[:200]}")

    def _on_message(self, message: Any) -> None:
        if message.type in {"error", "assert"}:
            self.problems.append(f"console: {message.text}")
