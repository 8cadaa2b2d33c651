"""The ``utils`` module that is put beside a worker: it sees the processes of that node alone."""

import json
import os

import psutil

#: Environment variable: the session that the node's processes are in.
SESSION = "CELERY_TEST_NODE_SESSION"

COLUMNS = ["pid", "name", "username", "cmdline", "cpu_percent", "memory_percent", "create_time"]


def get_running_processes_info(columns: list[str] | None = None) -> str:
    """The processes of the node as a JSON list of objects; pytest-celery calls it by this name."""
    session = int(os.environ[SESSION])
    found = []
    for process in psutil.process_iter(columns or COLUMNS):
        try:
            if os.getsid(process.pid) == session:
                found.append(process.info)
        except ProcessLookupError:
            continue
    return json.dumps(found)
