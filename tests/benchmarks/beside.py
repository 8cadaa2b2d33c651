"""Other delayed queues, measured in the way of lateness.py and drain.py: each with its own worker and defaults.

usage: beside.py [--peers huey,bullmq] [--events 300] [--due 3000] [--rounds 3] [--json FILE]

Installs what it measures, once, in environments of its own under .venv-bench (pip, and npm for those of Node.js). Of
each peer, in turn: posts a second, one by one and in bulk, and as ratios to a script call of the same size; Redis'
bytes for a pending job; the lateness of jobs that come due one by one; and how fast a worker drains jobs that are all
due. Each job carries a text of 200 characters.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import HERE, percentiles, rate
from rig.servers import RedisServer
from rig.waiting import wait_until

HOME = HERE.parents[1] / ".venv-bench"
MODULES = HOME / "node"

#: What pip installs for a peer. saq imports typing_extensions, and does not ask for it.
PYTHON = {
    "huey": ["huey", "redis"],
    "dramatiq": ["dramatiq[redis]"],
    "saq": ["saq[redis]", "typing_extensions"],
    "streaq": ["streaq"],
    "arq": ["arq"],
    "docket": ["pydocket"],
    "taskiq": ["taskiq", "taskiq-redis"],
    "rq": ["rq"],
}
NODE = {"dtimer": 256, "bullmq": 50}  # and how many jobs at a time they are best at


#: What any post has to do: a record, and its place in the order.
RAW = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) return redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])"


@dataclass(frozen=True)
class Peer:
    """One of them, installed: the command in front of what it is to do, and its version."""

    name: str
    command: list[str]
    version: str


def installed(name: str) -> Peer:
    """Install a peer, unless it is."""
    if name in NODE:
        if not (MODULES / "node_modules" / name).exists():
            MODULES.mkdir(parents=True, exist_ok=True)
            quiet = ["--no-audit", "--no-fund", "--loglevel", "error"]
            subprocess.run(["npm", "install", *quiet, "--prefix", MODULES, name], check=True)
        version = json.loads((MODULES / "node_modules" / name / "package.json").read_text())["version"]
        return Peer(name, ["node", str(HERE / "peers" / f"{name}_peer.mjs")], version)
    place = HOME / name
    python = place / "bin" / "python"
    if not (place / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PYTHON[name]], check=True)
        (place / "done").touch()
    told = f"import importlib.metadata as m; print(m.version({PYTHON[name][0].split('[')[0]!r}))"
    version = subprocess.run([python, "-c", told], check=True, capture_output=True, text=True).stdout.strip()
    return Peer(name, [str(python), str(HERE / "peers" / f"{name}_peer.py")], version)


class Beside:
    """A server, and one peer after the other on it."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server, self.notes, self.log = server, folder / "notes", folder / "log"
        self.environment = {
            **os.environ,
            "PEER_REDIS": server.url_of(0),
            "PEER_NOTES": str(self.notes),
            "PEER_MODULES": str(MODULES / "here.js"),
        }

    def clear(self) -> None:
        """Forget all jobs and notes."""
        with self.server.client() as client:
            client.flushall()
        self.notes.write_text("")

    def post(self, peer: Peer, how: str, instants: Sequence[float]) -> float | None:
        """Post jobs; returns how many a second, None if the peer has no such way."""
        text = "\n".join(map(str, instants))
        done = subprocess.run(
            [*peer.command, how], input=text, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode and "there is no bulk" in done.stderr:
            return None
        if done.returncode:
            raise RuntimeError(done.stderr)
        return float(done.stdout.split()[-1])

    def memory(self) -> int:
        """Bytes that Redis has in use."""
        with self.server.client() as client:
            return int(client.info("memory")["used_memory"])

    def work(self, peer: Peer, count: int, seconds: float) -> list[tuple[float, float]]:
        """Let a worker run so many jobs, or as many as it can in that time: (instant, lateness) of each."""
        environment = {**self.environment, "PEER_CONCURRENCY": str(NODE.get(peer.name, 8))}
        with self.log.open("w") as out:
            process = subprocess.Popen([*peer.command, "work"], env=environment, stdout=out, stderr=out)
            try:
                until = time.monotonic() + seconds
                while self.notes.read_bytes().count(b"\n") < count and time.monotonic() < until:
                    if process.poll() is not None:
                        raise RuntimeError(self.log.read_text())
                    time.sleep(0.05)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        lines = (line.split() for line in self.notes.read_text().splitlines())
        return [(float(at), float(late)) for at, late in lines]

    def lateness(self, peer: Peer, events: int, span: float) -> list[float]:
        """How late each job ran that came due in a span of time, in seconds, once the worker was up."""
        self.clear()
        began = time.time() + 8 + events / 200
        self.post(peer, "post", [began + n * span / events for n in range(events)])
        return [late for _, late in self.work(peer, events, began - time.time() + span + 10)]

    def drain(self, peer: Peer, due: int) -> tuple[float, int]:
        """Jobs a second, all of them due before the worker began; and how many ran in a minute."""
        self.clear()
        instant = time.time() + 1
        self.post(peer, "bulk", [instant] * due) or self.post(peer, "post", [instant] * due)
        wait_until(lambda: time.time() > instant, "the jobs to be due", 5)
        runs = self.work(peer, due, 60)
        return (rate(runs) if len(runs) > 1 else 0.0), len(runs)

    def raw(self, count: int) -> tuple[float, float]:
        """Script calls a second that store as much, one by one and in a pipeline: what posts are compared with."""
        self.clear()
        with self.server.client() as client:
            script = (
                "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) return redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])"
            )
            sha = client.script_load(script)
            calls = [(sha, 2, "raw", "raw-due", f"id-{n}", n, "x" * 400) for n in range(count)]
            began = time.perf_counter()
            for call in calls:
                client.evalsha(*call)
            single = count / (time.perf_counter() - began)
            began = time.perf_counter()
            for first in range(0, count, 500):
                with client.pipeline(transaction=False) as pipe:
                    for call in calls[first : first + 500]:
                        pipe.evalsha(*call)
                    pipe.execute()
            return single, count / (time.perf_counter() - began)


def measure(beside: Beside, peer: Peer, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one peer once."""
    far = time.time() + 30 * 86_400
    raw_single, raw_bulk = beside.raw(given.posts)
    beside.clear()
    before = beside.memory()
    single = beside.post(peer, "post", [far + n for n in range(given.posts)]) or 0.0
    size = (beside.memory() - before) / given.posts
    beside.clear()
    bulk = beside.post(peer, "bulk", [far + n for n in range(given.posts)])
    late = beside.lateness(peer, given.events, given.span)
    drained, ran = beside.drain(peer, given.due)
    return {
        "posts": single,
        "posts_ratio": single / raw_single,
        "bulk": bulk,
        "bulk_ratio": bulk and bulk / raw_bulk,
        "bytes": size,
        "lateness": sorted(late),
        "drain": drained,
        "drained": ran,
    }


def shown(found: dict[str, Any]) -> str:
    """Return what was measured of a peer, in a line."""
    late, bulk = found["lateness"], "-"
    if found["bulk"]:
        bulk = f"{found['bulk']:6.0f}/s ({found['bulk_ratio']:.2f})"
    return (
        f"posts {found['posts']:6.0f}/s ({found['posts_ratio']:.2f})  bulk {bulk}  {found['bytes']:5.0f} bytes"
        f"  late {percentiles(late) if late else '-'} min {min(late, default=0):.3f} s"
        f"  drain {found['drain']:6.0f}/s of {found['drained']}"
    )


def main() -> None:
    """Print a line a peer and round; keep all of it as JSON, if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join([*PYTHON, *NODE]))
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--span", type=float, default=6.0)
    parser.add_argument("--posts", type=int, default=1000)
    parser.add_argument("--due", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    peers = [installed(name) for name in given.peers.split(",")]
    kept: dict[str, dict[str, Any]] = {peer.name: {"version": peer.version, "rounds": []} for peer in peers}
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        beside = Beside(server, Path(folder))
        for _ in range(given.rounds):
            for peer in peers:
                found = measure(beside, peer, given)
                kept[peer.name]["rounds"].append(found)
                print(f"{peer.name:9} {peer.version:8} {shown(found)}", flush=True)
    for name, found in kept.items():
        rates = [one["drain"] for one in found["rounds"]]
        print(f"{name:9} median drain {statistics.median(rates):.0f}/s")
    if given.json:
        given.json.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
