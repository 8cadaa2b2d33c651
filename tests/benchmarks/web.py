"""What the web console costs: its pages over millions of pending events, and the lateness while many people look.

usage: web.py [--events 1000000] [--rounds 5] [--loaders 2] [--pages 20] [--timed 300] [--most-memory 16]

Loads a server with that many events from several processes (some 400 bytes of its memory each). Prints for the main
page and for a search: the first paint in Chromium and the first byte of the answer, in ms (medians); and the Redis
commands of one such answer, without what the page asks for later. Then a worker's lateness with so many pages open and
without, in turn. Those pages are streams without a browser, which would need the processor itself.
"""

import argparse
import contextlib
import http.client
import random
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from depth import PORTION, YEAR, id_of, longest_script
from harness import Bench, bench, percentiles
from rig.browser import chromium
from rig.ports import HOST, free_port, is_open
from rig.waiting import wait_until

from celery_dtimer import get_timer
from celery_dtimer.timer.connecting.steps import run
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.storing.batches import store_many_steps

#: Name of a task and its queue: every thousandth event is of the last one, which nobody consumes.
KINDS = [("bench_app.nothing", "later")] * 999 + [("bench_app.rare", "rare")]
PAGES = {"main page": "/", "search by queue": "/events?queue=rare", "search by task": "/events?task=bench_app.rare"}
STREAM = "/live?range=hour"

#: Seconds after which a page is made anew: pages that are asked for together share one look at Redis.
FRESH = 2.5


def load(start: int, count: int) -> None:
    """Post events of the bench's app that are due within a year."""
    import bench_app

    result = bench_app.note.post_in(3600, 0.0, "x" * 40)
    payload = bytes(result.peek().payload)
    assert result.cancel()
    shards = get_timer(bench_app.app).shards
    for first in range(start, start + count, PORTION):
        events = []
        for number in range(first, min(first + PORTION, start + count)):
            task, queue = KINDS[number % len(KINDS)]
            due_ms = int((86_400 + random.uniform(0, YEAR)) * 1000)
            events.append(NewEvent(id_of(number), payload, "in", due_ms, 20, queue, task.encode()))
        run(store_many_steps(shards, events, "error"))


def load_in_processes(b: Bench, events: int, loaders: int, most_memory: float) -> None:
    """The same by several processes, watched."""
    share = -(-events // loaders)
    argv = [sys.executable, __file__, "--load"]
    processes = [
        subprocess.Popen([*argv, str(start), str(min(share, events - start))], env=b.environment)
        for start in range(0, events, share)
    ]
    try:
        with b.server.client() as client:
            while any(process.poll() is None for process in processes):
                time.sleep(1)
                used = client.info("memory")["used_memory"]
                if used > most_memory * 2**30:
                    raise SystemExit(f"stopped: {used / 2**30:.1f} GiB of Redis memory")
        if any(process.returncode for process in processes):
            raise SystemExit("a loader failed")
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def console(b: Bench) -> Iterator[str]:
    """A web console of the bench's app in a process of its own: where it is."""
    port = free_port()
    argv = [sys.executable, "-m", "celery", "-A", "bench_app", "dtimer", "web", "--host", HOST, "--port", str(port)]
    log = b.folder / "console.log"
    with log.open("w") as out:
        process = subprocess.Popen(argv, env=b.environment, stdout=out, stderr=out)
    try:
        wait_until(lambda: is_open(port) or process.poll() is not None, "the console to listen", 30)
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(30)


def commands(client: Any) -> dict[str, tuple[int, int]]:
    """Calls, and microseconds, of each Redis command so far."""
    return {
        name.removeprefix("cmdstat_"): (stats["calls"], stats["usec"])
        for name, stats in client.info("commandstats").items()
        if not name.startswith(("cmdstat_info", "cmdstat_config"))
    }


def cost(client: Any, url: str) -> str:
    """What one answer costs Redis: the calls that the console makes, those within its scripts, and microseconds."""
    urllib.request.urlopen(url).read()  # connects, and loads scripts
    time.sleep(FRESH)
    before = commands(client)
    urllib.request.urlopen(url).read()
    after = commands(client)
    spent = {
        name: (calls - before.get(name, (0, 0))[0], usec - before.get(name, (0, 0))[1])
        for name, (calls, usec) in after.items()
    }
    spent = {name: (calls, usec) for name, (calls, usec) in spent.items() if calls}
    scripts = sum(spent.get(name, (0, 0))[1] for name in ("evalsha", "eval", "fcall"))
    told = ", ".join(f"{calls} {name}" for name, (calls, _) in sorted(spent.items(), key=lambda each: -each[1][0]))
    return f"{told}; scripts {scripts / 1000:.1f} ms"


def paint(browser: Any, url: str) -> tuple[float, float]:
    """Milliseconds from the click to the first paint, and to the answer's first byte, in a browser without a cache."""
    context = browser.new_context()
    page = context.new_page()
    time.sleep(FRESH)
    page.goto(url, wait_until="load")
    entry = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    first = wait_until(lambda: page.evaluate(entry), "the first paint", 60)
    answer = page.evaluate("performance.getEntriesByType('navigation')[0].responseStart")
    context.close()
    return first, answer


@contextlib.contextmanager
def open_pages(origin: str, pages: int) -> Iterator[None]:
    """The streams of so many pages, read until the end of the block."""
    host = origin.removeprefix("http://")
    streams = []
    for _ in range(pages):
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("GET", STREAM, headers={"Accept": "text/event-stream"})
        streams.append((connection, connection.getresponse()))
    ended = threading.Event()

    def read(answer: http.client.HTTPResponse) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            while not ended.is_set() and answer.read1(65_536):
                pass

    threads = [threading.Thread(target=read, args=(answer,), daemon=True) for _, answer in streams]
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join(10)
    for connection, _ in streams:
        connection.close()


def lateness(b: Bench, events: int, span: float) -> list[float]:
    """Post tasks that come due over ``span`` seconds, and return how late each ran, in seconds."""
    b.notes.write_text("")
    start = time.time() + 1.5 + events / 300
    for instant in sorted(start + random.uniform(0, span) for _ in range(events)):
        b.note.post_at(datetime.fromtimestamp(instant, UTC), instant)
    return [late for _, late in b.wait_for_runs(events, span + 60)]


def compare_lateness(b: Bench, origin: str, pages: int, rounds: int, timed: int) -> None:
    """Print a worker's lateness with open pages and without, in turn, and what the pages cost Redis."""
    found: dict[int, list[float]] = {0: [], pages: []}
    medians: dict[int, list[float]] = {0: [], pages: []}
    with b.worker("threads", 2, "-Q", "celery"), b.server.client() as client:
        lateness(b, 20, 1.0)  # warms up
        for _ in range(rounds):
            for count in found:
                with open_pages(origin, count):
                    before, since = commands(client), time.monotonic()
                    late = lateness(b, timed, 10.0)
                    taken = time.monotonic() - since
                calls = sum(n for n, _ in commands(client).values()) - sum(n for n, _ in before.values())
                found[count] += late
                medians[count].append(statistics.median(late))
                print(f"{count:3} pages: {percentiles(late)}; {calls / taken:.0f} commands a second", flush=True)
    for count, late in found.items():
        print(f"all rounds, {count:3} pages: {percentiles(late)}")
    ratios = [many / none for none, many in zip(medians[0], medians[pages], strict=True)]
    print(f"ratio of the medians, by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def look(b: Bench, client: Any, arguments: argparse.Namespace) -> None:
    """Print what the pages cost over what is loaded."""
    client.config_set("slowlog-log-slower-than", 1000)
    client.config_set("slowlog-max-len", 1000)
    client.slowlog_reset()
    with console(b) as origin:
        for name, path in PAGES.items():
            print(f"{name}: Redis: {cost(client, origin + path)}", flush=True)
        with chromium() as browser:
            for name, path in PAGES.items():
                figures = [paint(browser, origin + path) for _ in range(arguments.rounds + 1)][1:]
                first, answer = (statistics.median(each) for each in zip(*figures, strict=True))
                worst = max(each for each, _ in figures)
                print(f"{name}: first paint {first:.0f} ms (max {worst:.0f}), answer {answer:.0f} ms", flush=True)
        print(f"longest script: {longest_script(client):.1f} ms", flush=True)
        compare_lateness(b, origin, arguments.pages, arguments.rounds, arguments.timed)


def main() -> None:
    """Load, look, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loaders", type=int, default=2)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--timed", type=int, default=300)
    parser.add_argument("--most-memory", type=float, default=16)
    parser.add_argument("--load", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(*arguments.load)
        return
    with bench() as b, b.server.client() as client:
        since = time.monotonic()
        load_in_processes(b, arguments.events, arguments.loaders, arguments.most_memory)
        used = client.info("memory")["used_memory"]
        print(f"{arguments.events} events in {time.monotonic() - since:.0f} s, {used / 2**30:.2f} GiB", flush=True)
        look(b, client, arguments)


if __name__ == "__main__":
    main()
