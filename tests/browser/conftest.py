"""A browser, a fleet, and the web consoles to look at it through."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import seeds
from fleet import Console, Fleet, running_fleet, sign_in
from looks import DESK
from rig.browser import PATIENCE_MS, Watch, axe_script, chromium


@pytest.fixture(scope="session")
def browser():
    """Chromium, without a window."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core."""
    return axe_script()


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """A shop at work, in an incident and under attack; the tests share it: each changes only what it posts itself."""
    with running_fleet() as started:
        seeds.at_rest(started)
        seeds.at_work(started)
        seeds.incident(started)
        started.hostile = seeds.hostile(started)
        yield started


@pytest.fixture(scope="session")
def console(fleet: Fleet, browser) -> Console:
    """A console that lets those change things who know its token, and the session of one who has signed in."""
    console = fleet.start_writing_console()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, console)
    console.session = context.storage_state()
    context.close()
    return console


@pytest.fixture(scope="session")
def reader(fleet: Fleet) -> Console:
    """A console that only shows."""
    return fleet.start_console()


class Visits:
    """Opens pages, each in a browser of its own as far as cookies go, and checks in the end what they did."""

    def __init__(self, browser) -> None:
        self._browser = browser
        self._stack = ExitStack()
        self._watches = {}

    def __call__(
        self,
        console: Console,
        path: str = "/",
        *,
        javascript: bool = True,
        width: int = DESK,
        scheme: str = "light",
        signed_in: bool = True,
    ):
        """Open a page of a console and return it, as Playwright has it; signed in, if the console asks for that."""
        context = self._browser.new_context(
            java_script_enabled=javascript,
            color_scheme=scheme,
            viewport={"width": width, "height": 800},
            reduced_motion="reduce",
            storage_state=console.session if signed_in else None,
        )
        self._stack.callback(context.close)
        context.set_default_timeout(PATIENCE_MS)
        watch = Watch(context, console.origin)
        page = context.new_page()
        self._watches[page] = watch
        page.goto(console.origin + path)
        return page

    def watch(self, page) -> Watch:
        """What that page is asked not to do."""
        return self._watches[page]

    def check(self) -> None:
        """Fail for what the pages did so far."""
        for watch in self._watches.values():
            watch.check()

    def close(self) -> None:
        """Close all pages."""
        self._stack.close()


@pytest.fixture
def visit(browser) -> Iterator[Visits]:
    """Opens pages of a console; see `Visits`."""
    visits = Visits(browser)
    yield visits
    visits.close()
    visits.check()


@pytest.fixture(scope="session")
def kept_visits(browser) -> Iterator[Visits]:
    """The same, for pages that many tests share: a new one takes a quarter of a second."""
    visits = Visits(browser)
    yield visits
    visits.close()


@pytest.fixture(scope="session")
def shared_page(kept_visits, console):
    """One page of the console, signed in."""
    return kept_visits(console, "/login")


@pytest.fixture
def page(kept_visits, shared_page) -> Iterator[object]:
    """The shared page as it was at first, for tests that only look; what it does is checked after each."""
    shared_page.set_viewport_size({"width": DESK, "height": 800})
    shared_page.emulate_media(color_scheme="light")
    yield shared_page
    shared_page.goto("about:blank")  # ends its stream
    kept_visits.check()
