"""Run the benchmarks one after the other, and make the report of what they measured: ``make bench``.

usage: bench.py [--quick] [--parts posting,drain] [--began SECONDS]

All that was measured goes to build/bench/<date>.json; the report, docs/explanation/performance.md, is made of the
same with long lists cut down, docs/explanation/performance.json. With --quick, or with some parts only, the report
goes to build/bench/report/ instead. A part that fails, or takes longer than it may, is said to have failed; the
others go on, and the status is 1 in the end. --began is when the run began, in seconds since 1970: installations
before this count too.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import report
from reporting import forms
from reporting.figures import Part, Run, reduced
from reporting.parts import PARTS, Step
from reporting.targets import rows

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "bench"

#: Seconds after which the run is to be over, with all installations: a full one and a quick one.
WHOLE, WHOLE_QUICK = 14.5 * 60, 2.9 * 60

#: How much longer than planned a part may take in any case. What is left of all time beyond the plans of the later
#: parts is added; the last one, which keeps what it has at each of its stages, gets what is left, or so many seconds.
PATIENCE, LEAST = 1.5, 60.0


def ended(process: "subprocess.Popen[bytes]") -> None:
    """End a script and what it has started."""
    for sent, patience in ((signal.SIGINT, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def step_taken(step: Step, file: Path, *, quick: bool, seconds: float) -> str:
    """Run one script; returns ``ok``, or what went wrong."""
    words = (step.quick if quick else step.full).replace("{seconds}", str(int(min(step.seconds, seconds - 5)))).split()
    argv = [sys.executable, str(HERE / step.script), *words, "--json", str(file)]
    print(f"$ {step.script} {' '.join(words)}", flush=True)
    process = subprocess.Popen(argv, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        ended(process)
        return f"took longer than {seconds:.0f} s"
    except BaseException:
        ended(process)
        raise
    return "ok" if status == 0 else f"failed with status {status}"


def planned_after(part: str, number: int, *, quick: bool) -> float:
    """Seconds that are planned for all that comes behind one step of a part."""
    names = list(PARTS)
    steps = [step for name in names[names.index(part) :] for step in PARTS[name]]
    return sum(step.planned(quick=quick) for step in steps[number + 1 :])


def measured(name: str, *, quick: bool, until: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a part: what it kept, whole and cut down. ``until`` is the monotonic instant of the end of all."""
    start, status = time.monotonic(), "ok"
    whole, short, versions, notes = {}, {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for n, step in enumerate(PARTS[name]):
            if quick and not step.seconds_quick:
                continue
            file = Path(folder) / f"{n}.json"
            later = planned_after(name, n, quick=quick)
            least = step.planned(quick=quick) * PATIENCE if later else LEAST
            said = step_taken(step, file, quick=quick, seconds=max(until - time.monotonic() - later, least))
            status = said if status == "ok" else status
            if not step.measures:
                continue
            try:
                kept = json.loads(file.read_text("utf-8"))
                figures = forms.FORMS.get(name, forms.unchanged)(kept["figures"])
                short |= reduced(figures)
                whole |= figures
                versions |= kept["versions"]
                notes |= forms.notes(kept)
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                status = f"left no figures ({type(error).__name__})" if status == "ok" else status
    took = {"status": status, "seconds": round(time.monotonic() - start, 1), "versions": versions, "notes": notes}
    print(f"-- {name}: {status}, {took['seconds']:.0f} s\n", flush=True)
    return {**took, "figures": whole}, {**took, "figures": short}


def machine() -> dict[str, str]:
    """What the run is measured on."""
    gib = psutil.virtual_memory().total / 2**30
    return {
        "processor cores": str(os.cpu_count()),
        "memory": f"{gib:.0f} GiB",
        "system": platform.system(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def kept(run: dict[str, Any], parts: dict[str, Any]) -> str:
    """The JSON of a run: a line for the numbers of a figure, so that two runs can be compared."""
    text = json.dumps({**run, "parts": parts}, indent=1, ensure_ascii=False)
    return re.sub(r"\[[-\d.e+,\s]+\]", lambda found: " ".join(found[0].split()), text) + "\n"


def written(run: dict[str, Any], whole: dict[str, Any], short: dict[str, Any], *, docs: bool) -> Run:
    """Write the files of a run; returns it."""
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / f"{run['date'].replace(':', '')}.json").write_text(kept(run, whole), "utf-8")
    found = Run(run["date"], run["machine"], {name: Part(**part) for name, part in short.items()})
    text = kept(run, short)
    if docs:
        report.KEPT.write_text(text, "utf-8")
        report.write_docs(found)
        print(f"the report is in {os.path.relpath(report.DOCS / 'explanation' / 'performance.md')}")
    else:
        folder = BUILD / "report"
        folder.mkdir(exist_ok=True)
        (folder / "performance.json").write_text(text, "utf-8")
        report.write(found, folder / "performance.md", folder, ".")
        print(f"the report is in {os.path.relpath(folder / 'performance.md')}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run all parts; returns the status of the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--began", type=float, default=time.time())
    given = parser.parse_args(argv)
    names = given.parts.split(",")
    # What runs is ended with this, also by a plain kill.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    until = time.monotonic() + (given.began - time.time()) + (WHOLE_QUICK if given.quick else WHOLE)
    run = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    found = {name: measured(name, quick=given.quick, until=until) for name in names}
    whole, short = ({name: pair[n] for name, pair in found.items()} for n in (0, 1))
    made = written(run, whole, short, docs=not given.quick and names == list(PARTS))
    print(report.on_terminal(rows(made)))
    print(f"the whole run took {(time.time() - given.began) / 60:.1f} minutes")
    failed = [name for name, part in whole.items() if part["status"] != "ok"]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
