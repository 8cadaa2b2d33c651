"""Runs the timer's tests, and a worker, on each server, as the user of docs/how-to/servers.md; then tests/servers.

Last, on Valkey as a cluster of one node, which is no package: its name here is ``cluster``. ``run.py [name ...]`` takes
those servers alone. ``make test-servers`` calls it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from rig.local_server import ServerNotFoundError  # noqa: E402
from rig.releases import RELEASES, REPOSITORY, WITH_TLS, release, rights, spoken_version, user_of  # noqa: E402
from rig.servers import ACL_FILE, CLUSTER, OVERRIDE, USER, RedisServer  # noqa: E402

WORKER = "tests/servers/test_worker.py"
#: All that speaks to a server; the two that are left out speak to none, but for a few of their tests.
#: Two of the timer's modules speak to no server, and five are about what takes more rights than the least: a client of
#: the caller's may send PING and CLIENT SETNAME.
LEFT_OUT = ("bad_input", "lua_headers", "health", "replication", "clients", "async_connections", "direct_calls")
ON_EACH = ["tests/timer", WORKER, *(f"--ignore=tests/timer/test_{name}.py" for name in LEFT_OUT)]
ONCE = ["tests/servers", f"--ignore={WORKER}"]

#: All shards of a namespace are on that node, as those of one shard are on any: what goes through redis-py's other
#: client, and what a node of a cluster refuses. What several nodes do is in tests/cluster.
CLUSTERED = "cluster"
IN_CLUSTER = ["tests/timer", *(f"--ignore=tests/timer/test_{name}.py" for name in (*LEFT_OUT, "replicas"))]

#: The namespaces of the timer's tests: each has a pattern of its own in the ACL.
NAMESPACES = ("dt", "other", "tasks", "0", "dt.tasks", "surface", "sharded")


def main(names: list[str]) -> int:
    """Return 0 if all passed, 1 if not, and 2 if a server is missing: that is found before anything runs."""
    try:
        chosen = [release(name) for name in names if name != CLUSTERED] if names else RELEASES
        programs = {each.package: each.program() for each in (*chosen, release(WITH_TLS))}
    except (ServerNotFoundError, LookupError) as exc:
        print(exc, file=sys.stderr)
        return 2
    results = []
    with tempfile.TemporaryDirectory(prefix="acl-") as folder:
        acl = {ACL_FILE: str(acl_file(Path(folder))), USER: user_of(rights())}
        for each in chosen:
            program = str(programs[each.package])
            version = version_of(program)
            results.append(run(f"{version}, as a restricted user", ON_EACH, {OVERRIDE: program, **acl}))
        if not names or CLUSTERED in names:
            acl = {ACL_FILE: str(acl_file(Path(folder), "+cluster|slots")), USER: user_of(rights())}
            results.append(run("a cluster of one node, as a restricted user", IN_CLUSTER, {CLUSTER: "1", **acl}))
    results.append(run("ACL and TLS", ONCE, {}))
    print(*(f"{title}: {'passed' if passed else 'FAILED'}" for title, passed in results), sep="\n")
    return 0 if all(passed for _, passed in results) else 1


def acl_file(folder: Path, *more: str) -> Path:
    """Write the documented user, with the namespaces of the tests, into an ACL file; the tests' own may do all."""
    [pattern] = [rule for rule in rights() if rule.startswith("~")]
    # On the page it is an app's, of one shard. Most of the timer's tests have no app, and some have several shards.
    shards = pattern.replace(":0}", ":*}")
    patterns = [each.replace("dt", name) for each in (shards, shards.replace("tasks:", "")) for name in NAMESPACES]
    # An error that names a key of a wrong type takes one right more.
    rules = [*(rule for rule in rights() if rule != pattern), "+type"]
    file = folder / "users.acl"
    users = ["user default on nopass ~* &* +@all", f"user dtimer {' '.join([*rules, *more, *patterns])}"]
    file.write_text("\n".join([*users, ""]), encoding="utf-8")
    return file


def version_of(program: str) -> str:
    """What a server program says that it is, when it runs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(OVERRIDE, program)
        with RedisServer() as server, server.client() as client:
            return spoken_version(client.info("server"))


def run(title: str, arguments: list[str], environment: dict[str, str]) -> tuple[str, bool]:
    """Run pytest; return the title, with where the server is and how long it took, and whether all passed."""
    title = f"{title} ({environment[OVERRIDE]})" if OVERRIDE in environment else title
    print(f"\n=== {title}", flush=True)
    begun = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *arguments]
    code = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, check=False).returncode
    return f"{title}, {time.monotonic() - begun:.0f} s", code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
