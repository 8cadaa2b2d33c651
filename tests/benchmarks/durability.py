"""How many events a server that is killed loses whose post had returned, by how it keeps them.

usage: durability.py [--trials 10]

The server alone is killed (SIGKILL) while a process posts one event after the other, and started again with its files.
A power failure is worse, and can't be tried here: what the system has not written to its disk is gone then too.
"""

import argparse
import random
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from rig.servers import RedisServer  # noqa: E402

from celery_dtimer import DTimer, TimerUnavailableError  # noqa: E402

MODES = {
    "nothing kept": {},
    "snapshot every second (save 1 1)": {"save": "1 1"},
    "AOF, appendfsync no": {"appendonly": "yes", "appendfsync": "no"},
    "AOF, appendfsync everysec": {"appendonly": "yes", "appendfsync": "everysec"},
    "AOF, appendfsync always": {"appendonly": "yes", "appendfsync": "always"},
}


def measure(options: dict[str, str], seconds: float) -> tuple[int, int]:
    """(posts that returned before the kill, those of them that are lost after the restart)."""
    with RedisServer(options=options) as server, DTimer(server.url) as timer:
        returned = 0
        killer = threading.Timer(seconds, server.kill)
        killer.start()
        try:
            while True:
                timer.post(b"x" * 200, 3600, id=str(returned))
                returned += 1
        except TimerUnavailableError:
            killer.join()
        server.start()
        # One more may be there, whose answer was lost.
        kept = timer.count().pending - (timer.peek(str(returned)) is not None)
        return returned, returned - kept


def main() -> None:
    """Print a line a mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    arguments = parser.parse_args()
    for mode, options in MODES.items():
        start = time.monotonic()
        found = [measure(options, 2.0 + random.random()) for _ in range(arguments.trials)]
        lost = sorted(count for _, count in found)
        print(
            f"{mode:33} {sum(count for count, _ in found):7} posts returned, {sum(lost):6} lost; "
            f"a kill lost {lost[0]} to {lost[-1]}, median {lost[len(lost) // 2]}  ({time.monotonic() - start:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
