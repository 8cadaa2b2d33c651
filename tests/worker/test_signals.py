"""A signal may land anywhere in a worker's main thread, also amid what is the timer's: the worker ends all the same."""

import ast
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig import trap

import celery_dtimer

CODE = Path(celery_dtimer.__file__).parent

#: What one thread may take as often as it likes, or wait for where it is interrupted.
SAFE = {"threading": {"RLock", "Thread", "current_thread", "local"}, "queue": {"Empty"}}

#: What runs in no worker, or in that of a test.
OUTSIDE = ("testing/", "web/", "operating/workers.py", "operating/liveness.py")

#: Where one kind of queue or another is chosen.
CHOICE = "mailbox.py"

INBOX, MAILBOX = "firing/inbox.py:Inbox.take", "timer/listening/mailbox.py:_WithoutLocks.put"
CONNECTIONS = "redis/connection.py:ConnectionPool.get_connection"


@pytest.fixture
def trapped(worker_app):
    """An app that signals its own worker where a test says."""
    (worker_app.folder / "trapped.py").write_text("from proj import app\nfrom rig import trap\ntrap.arm()\n")
    return "trapped"


@pytest.mark.parametrize(
    ("pool", "site"),
    [
        ("threads", INBOX),
        ("gevent", INBOX),
        *[pytest.param(pool, INBOX, marks=pytest.mark.slow) for pool in ("prefork", "solo", "eventlet")],
        pytest.param("eventlet", MAILBOX, marks=pytest.mark.slow),
        pytest.param("solo", CONNECTIONS, marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_signalled_amid_its_work_ends(proj, start_worker, timer, trapped, pool, site):
    results = [proj.chained.post_in(0, 600, number) for number in range(60)]
    worker = start_worker(pool=pool, app_module=trapped, env={trap.TRAP: site, trap.TIMES: "40"})
    assert worker.wait() == 0
    assert "Warm shutdown" in worker.logs()
    assert timer.count().leased == 0
    for result in results:
        result.cancel()
    for event in timer.upcoming(limit=100):
        timer.cancel(event.id)


def test_a_cold_shutdown_amid_a_task_that_a_threads_pool_is_given_ends_the_worker(proj, start_worker, timer, trapped):
    lines, first = inspect.getsourcelines(ThreadPoolExecutor.submit)
    line = first + next(number for number, text in enumerate(lines) if "Future()" in text)
    site = f"concurrent/futures/thread.py:ThreadPoolExecutor.submit:{line}"
    results = [proj.chained.post_in(0, 600, number) for number in range(10)]
    worker = start_worker(pool="threads", app_module=trapped, env={trap.TRAP: site, trap.SIGNAL: "SIGQUIT"})
    worker.wait()
    assert "Cold shutdown" in worker.logs()
    for result in results:
        result.cancel()
    for event in timer.upcoming(limit=100):
        timer.cancel(event.id)


def test_there_is_no_lock_that_one_thread_can_wait_for_twice():
    found = []
    for path in CODE.rglob("*.py"):
        if path.name == CHOICE or str(path.relative_to(CODE)).startswith(OUTSIDE):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "threading":
                used = [("threading", node.attr)]
            elif isinstance(node, ast.ImportFrom):
                used = [(node.module, alias.name) for alias in node.names]
            else:
                continue
            found += [
                f"{path.name}:{node.lineno} {module}.{name}"
                for module, name in used
                if module in SAFE and name not in SAFE[module]
            ]
    assert not found
