"""``python -m demo``: runs the demonstration. Exit status 0: every promise was kept; 1: one was not, or no start.

``--web``: beside the console, which stays until Ctrl-C.
"""

import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from demo.processes import DemoError, Processes
from demo.screen import Screen, open_screen

#: What the demo asks of the shop: times that one can watch.
SETTINGS = {"SHOP_CONFIRM_TIMEOUT": "3", "SHOP_GATEWAY_RETRY_AFTER": "3", "SHOP_STATEMENT_TAKES": "2"}

#: Signals that end the demo in good order; Ctrl-C does so anyway.
ENDING = (signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the demo, and leave nothing behind."""
    # Celery reads some settings from the environment first: CELERY_BROKER_URL, for one.
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[name]
    os.environ.update(SETTINGS)
    for number in ENDING:
        signal.signal(number, _end)
    screen = open_screen()
    with tempfile.TemporaryDirectory(prefix="celery-dtimer-demo-", ignore_cleanup_errors=True) as folder:
        processes = Processes(Path(folder))
        try:
            return _demo(processes, screen, web="--web" in sys.argv[1:])
        except DemoError as exc:
            print(f"demo: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("demo: interrupted", file=sys.stderr)
            return 128 + signal.SIGINT
        finally:
            for number in (signal.SIGINT, *ENDING):
                signal.signal(number, signal.SIG_IGN)
            processes.end_all()


def _demo(processes: Processes, screen: Screen, *, web: bool) -> int:
    began = time.monotonic()
    url = processes.start_server()
    os.environ["SHOP_REDIS_URL"] = os.environ["SHOP_BROKER_URL"] = url
    screen.tell("an embedded server runs; starting two workers of two processes each")
    if web:
        console = processes.start_console()
        screen.tell(f"the console is at {console}")
    # The shop reads its environment when it is imported.
    from demo.play import play, show_summary  # noqa: PLC0415 - see above

    story = play(processes, screen)
    kept = show_summary(story, screen)
    screen.tell(f"\n{'every promise was kept' if kept else 'A PROMISE WAS BROKEN'}; {time.monotonic() - began:.0f} s")
    if web:
        screen.tell(f"the console stays at {console} until Ctrl-C")
        with suppress(KeyboardInterrupt):
            while True:
                processes.check()
                time.sleep(1)
    return 0 if kept else 1


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
