# ruff: noqa: INP001, T201 - a script, not a package
"""Makes the pictures of the web console: python docs/pictures/web.py [NAME ...], where the tests in a browser can run.

A fleet is started, the shop of ``tests/browser``, and Chromium looks at it. A palette makes the pictures small.
"""

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "browser")]

import seeds  # noqa: E402
from fleet import Console, Fleet, running_fleet, sign_in  # noqa: E402
from looks import DESK, PHONE  # noqa: E402
from PIL import Image  # noqa: E402
from rig.browser import chromium  # noqa: E402

#: Bytes that a picture may have, and colours by which it is tried.
MOST, PALETTES = 150_000, (256, 128, 64, 32)

#: Seconds until the workers have told their rates twice.
SETTLED = 12


class Camera:
    """Takes pictures of a console's pages."""

    def __init__(self, browser: Any, console: Console, wanted: list[str]) -> None:
        self._browser = browser
        self._console = console
        self._wanted = wanted

    @contextmanager
    def _page(self, width: int, height: int, scheme: str) -> Iterator[Any]:
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=2 if width == PHONE else 1.5,
            color_scheme=scheme,
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
        )
        page = context.new_page()
        sign_in(page, self._console)
        yield page
        context.close()

    def take(
        self, name: str, path: str, width: int = DESK, height: int = 860, scheme: str = "light", settle: float = 0
    ) -> None:
        """Save a picture of a page, if it is wanted."""
        if self._wanted and name not in self._wanted:
            return
        with self._page(width, height, scheme) as page:
            page.goto(self._console.origin + path)
            time.sleep(settle)  # of a page that draws itself by degrees, nothing tells when it is done
            image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        target = HERE / f"web-{name}.png"
        for colours in PALETTES:
            image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
                target, optimize=True
            )
            if target.stat().st_size <= MOST:
                break
        print(f"{target.name}: {image.width} x {image.height}, {target.stat().st_size // 1000} KB, {colours} colours")


def at_rest(fleet: Fleet, camera: Camera) -> None:
    """A day like any other."""
    camera.take("now", "/", height=1000, settle=SETTLED)
    camera.take("dark", "/", scheme="dark", height=1000, settle=SETTLED)
    camera.take("phone", "/", PHONE, 780, settle=SETTLED)
    camera.take("parked", "/events?state=parked", height=700)
    event = next(event for event in fleet.timer.parked() if event.task == "shop.billing.refund")
    camera.take("event", f"/events/{event.id}", height=760)


def main(wanted: list[str]) -> None:
    """Take all pictures, or those with these names."""
    with running_fleet() as fleet, chromium() as browser:
        seeds.at_rest(fleet)
        seeds.at_work(fleet)
        seeds.busy(fleet)
        camera = Camera(browser, fleet.start_writing_console(), wanted)
        at_rest(fleet, camera)
        seeds.incident(fleet)
        fleet.timer.limit_catch_up(2, why="the warehouse answers slowly", by="ann@ops-1")
        camera.take("incident", "/", height=1000, settle=SETTLED)


if __name__ == "__main__":
    main(sys.argv[1:])
