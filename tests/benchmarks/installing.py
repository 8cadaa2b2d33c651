"""Installation of the peers, each into an environment of its own under .venv-bench/, by pip and npm."""

import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from contenders import NODE, PYTHON

HOME = Path(__file__).resolve().parents[2] / ".venv-bench"

#: Installations at a time: pip keeps a core busy, and waits for the network in between.
AT_A_TIME = 4

#: Seconds that one may take.
PATIENCE = 240


@dataclass(frozen=True)
class Installed:
    """A peer that is there, or why it is not.

    Attributes:
        version: Its version; "" if it is not there.
        program: What runs its scripts.
        modules: For Node.js: a path beside its modules.
        failure: Why it is not there; "" if it is.
    """

    version: str = ""
    program: str = sys.executable
    modules: str = ""
    failure: str = ""


def install_all(names: Iterable[str]) -> dict[str, Installed]:
    """Install peers, unless they are there, some at a time; {name: what became of it}."""
    wanted = sorted(names, key=[*PYTHON, *NODE].index)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return dict(zip(wanted, pool.map(_install, wanted), strict=True))


def _install(name: str) -> Installed:
    try:
        return _by_npm(name) if name in NODE else _by_pip(name)
    except subprocess.CalledProcessError as exc:
        return Installed(failure=reason(exc.stderr))
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Installed(failure=str(exc))


def reason(output: str) -> str:
    """Return the lines in which pip or npm says why it failed, as one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("ERROR:", "npm error", "npm ERR!"))] or lines[-3:]
    return " ".join(told)[:500]


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()


def _by_npm(name: str) -> Installed:
    place = HOME / name
    package, done = place / "node_modules" / name / "package.json", place / "done"
    if not done.exists():
        place.mkdir(parents=True, exist_ok=True)
        _run("npm", "install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix", place, *NODE[name])
        done.touch()
    return Installed(json.loads(package.read_text())["version"], "node", str(place / "here.js"))


def _by_pip(name: str) -> Installed:
    place = HOME / name
    python, done = place / "bin" / "python", place / "done"
    if not done.exists():
        _run(sys.executable, "-m", "venv", "--clear", "--without-pip", place)
        options = ("--quiet", "--disable-pip-version-check")
        _run(sys.executable, "-m", "pip", "--python", python, "install", *options, *PYTHON[name])
        done.touch()
    package = PYTHON[name][0].split("[")[0]
    return Installed(_run(python, "-c", f"import importlib.metadata as m; print(m.version({package!r}))"), str(python))
