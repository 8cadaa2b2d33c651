"""A listener without Celery, in a process whose clock a test may set: python listen.py URL CONFIRM_TIMEOUT [hold].

Writes a line of JSON for each delivery, and confirms it, or holds it until its end.
"""

import json
import sys
import threading
import time

from celery_dtimer import DTimer

timer = DTimer(sys.argv[1], confirm_timeout=float(sys.argv[2]))


@timer.on_event
def take(delivery):
    seen = {"monotonic": time.monotonic(), "wall": time.time(), "redeliveries": delivery.redeliveries}
    print(json.dumps({"id": delivery.id, "due": delivery.due_ms / 1000, **seen}), flush=True)
    if "hold" not in sys.argv:
        timer.confirm(delivery)


timer.join()
threading.Event().wait()
