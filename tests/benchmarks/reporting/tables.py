"""The tables of the report, in Markdown; a table whose figures are missing is a sentence that says so."""

import re
from collections.abc import Iterable, Sequence

from reporting.figures import Run, ratio, shown
from reporting.targets import ALONE, POOLS, Row

LATENCY = re.compile(r"latency [\d.]+")

#: Stands where a figure is missing.
MISSING = "-"


def number(figure: float | None, form: str = "{:,.0f}", scale: float = 1) -> str:
    """Write a figure, or a dash if there is none."""
    return MISSING if figure is None else form.format(figure * scale)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def targets(rows: Sequence[Row]) -> str:
    """The table of targets: each with its bound, its figure, and whether it is met."""

    def line(row: Row) -> list[str]:
        target = row.target
        bound = f"{'≥' if target.at_least else '≤'} {target.bound:g}{target.unit}"
        why = f"[**no**](../project/speed.md#{target.heading})" if row.met is False else f"**{row.why}**"
        return [target.what, bound, number(row.figure, "{:.2f}") + (target.unit if row.figure is not None else ""),
                "yes" if row.met else why]  # fmt: skip

    return table(["target", "bound", "measured", "met"], map(line, rows))


def summary(rows: Sequence[Row]) -> str:
    """How many targets are met, not met and not measured, in a sentence."""
    met, missed, unknown = (sum(row.met is state for row in rows) for state in (True, False, None))
    left = f", {unknown} could not be measured" if unknown else ""
    return f"{met} of {len(rows)} targets are met, {missed} are not{left}."


def posts(run: Run) -> str:
    """Posts a second, and the ratios."""
    ways = (
        ("`task.post_in`", "post_in", "apply_async", "`apply_async(countdown)`"),
        ("`task.post_many`", "task.post_many", "apply_async", "`apply_async(countdown)`"),
        ("`DTimer.post`", "DTimer.post", "raw", "the raw round trip"),
        ("`DTimer.post_many`", "DTimer.post_many", "raw pipeline", "the raw pipeline"),
    )
    found = [
        (name, run.median("posting", ours), other, run.median("posting", under)) for name, ours, under, other in ways
    ]
    rows = [
        [name, number(ours), other, number(theirs), number(ratio(ours, theirs), "{:.2f}")]
        for name, ours, other, theirs in found
    ]
    return table(["post", "a second", "beside", "a second", "ratio"], rows)


def lateness(run: Run) -> str:
    """p50 and p99 of both ways in each pool, idle and under load."""
    rows = []
    for load, words in (("idle", "idle"), ("load", "plain load")):
        for pool in POOLS:
            cells = []
            for way in ("ours", "native"):
                name = f"{load} {pool} {way}"
                cells += [number(run.quantile("lateness", name, percent), "{:.1f}", 1000) for percent in (0, 50, 99)]
            rows.append([f"{pool}, {words}", " / ".join(cells[:3]), " / ".join(cells[3:])])
    return table(["pool", "celery-dtimer: min / p50 / p99, ms", "countdown: min / p50 / p99, ms"], rows)


def drain(run: Run) -> str:
    """Tasks a second and CPU, in each pool."""
    rows = []
    for pool in POOLS:
        posted, plain, native = (run.median("drain", f"{pool} {way}") for way in ("posted", "plain", "native"))
        cpu = (run.median("drain", f"{pool} {way} cpu") for way in ("posted", "plain"))
        rows.append(
            [pool, number(posted), number(plain), number(native), number(ratio(posted, plain), "{:.2f}"),
             number(ratio(posted, native), "{:.2f}"), " / ".join(number(each, "{:.2f}") for each in cpu)]
        )  # fmt: skip
    head = ["pool", "posted", "plain tasks", "countdowns in memory", "to plain", "to countdowns"]
    return table([*head, "CPU seconds of 1,000: posted / plain"], rows)


def workers(run: Run) -> str:
    """One worker beside two, and how many cores they keep busy."""
    rows = []
    for what, words in (("posted", "empty tasks"), ("waiting", "tasks that wait")):
        rates, cores = [], []
        for count in ("one", "two"):
            rate, cpu = (run.median("drain", f"{count} {what}{part}") for part in ("", " cpu"))
            rates.append(rate)
            cores.append(None if rate is None or cpu is None else rate * cpu / 1000)
        busy = " / ".join(number(each, "{:.1f}") for each in cores)
        rows.append([words, *map(number, rates), number(ratio(rates[1], rates[0]), "{:.2f}"), busy])
    return table(["tasks", "one worker", "two workers", "ratio", "cores that one / two take"], rows)


def latency(run: Run) -> str:
    """The rate of a drain by the latency of Redis."""
    names = sorted((name for name in run.names("drain") if LATENCY.fullmatch(name)), key=lambda n: float(n.split()[1]))
    rates = [run.median("drain", name) for name in names]
    rows = [
        [f"{name.split()[1]} ms", number(rate), number(ratio(rate, rates[0]), "{:.2f}")]
        for name, rate in zip(names, rates, strict=True)
    ]
    return table(["latency", "tasks a second", "to the first"], rows)


def alone(run: Run) -> str:
    """The timer alone beside the queues of Node.js."""
    ours = run.median("beside", f"{ALONE} drain")
    names = [ALONE, *(n for n in ("dtimer", "dtimer 8", "bullmq", "bullmq 1") if run.median("beside", f"{n} drain"))]
    found = [(name, run.median("beside", f"{name} drain")) for name in names]
    rows = [[shown(name), number(figure), number(ratio(ours, figure), "{:.2f}")] for name, figure in found]
    return table(["timer", "events a second", "ratio of celery-dtimer to it"], rows)


def pending(run: Run) -> str:
    """The cost of calls, with a thousand events and with more."""
    names = run.names("pending")
    sizes = sorted({int(name.rsplit(" ", 1)[1]) for name in names if name.rsplit(" ", 1)[1].isdigit()})
    operations = [name for name in dict.fromkeys(n.rsplit(" ", 1)[0] for n in names) if not name.endswith(", few")]
    rows = []
    for operation in operations:
        found = [run.median("pending", f"{operation} {size}") for size in sizes]
        grown = ratio(found[-1], run.median("pending", f"{operation}, few {sizes[-1]}"))
        rows.append([operation, *(number(figure) for figure in found), number(grown, "{:.2f}")])
    return table(["µs of a round trip", *(f"{size:,}" for size in sizes), "ratio, in turn"], rows)


def listeners(run: Run) -> str:
    """Calls, lateness and idle commands, by the number of listeners."""
    rows = []
    for size in sorted({int(name.split()[0]) for name in run.names("listeners")}):
        cells = [number(run.median("listeners", f"{size} idle"), "{:.2f}")]
        for load in ("ahead", "now"):
            cells.append(number(run.median("listeners", f"{size} {load} calls"), "{:.2f}"))
            late = (run.quantile("listeners", f"{size} {load} lateness", percent) for percent in (50, 99))
            cells.append(" / ".join(number(each, "{:.1f}", 1000) for each in late))
        rows.append([str(size), *cells])
    head = ["listeners", "idle: commands a second, each", "ahead: calls an event", "p50 / p99, ms"]
    return table([*head, "now: calls an event", "p50 / p99, ms"], rows)


def memory(run: Run) -> str:
    """Bytes of a pending task, by its argument."""
    rows = [[name, number(run.median("memory", name))] for name in run.names("memory")]
    return table(["argument", "bytes of Redis' memory"], rows)


def peers(run: Run) -> str:
    """Every peer beside us; ratios are to the raw round trip and pipeline of the same moment."""
    versions = run.parts["beside"].versions if "beside" in run.parts else {}
    rows = []
    names = {
        name.rsplit(" ", 1)[0]
        for name in run.names("beside")
        if name.endswith((" drain", " posts", " bytes", " lateness"))
    }
    for name in sorted(names, key=lambda name: (-(run.median("beside", f"{name} drain") or 0), name)):
        figure = {
            what: run.median("beside", f"{name} {what}")
            for what in ("drain", "posts", "posts ratio", "bulk", "bulk ratio", "bytes", "bytes of words", "idle")
        }
        late = [number(run.quantile("beside", f"{name} lateness", p), "{:,.1f}", 1000) for p in (50, 99)]
        rows.append(
            [f"{shown(name)} {versions.get(name.split()[0], '')}".strip(), number(figure["drain"]), " / ".join(late),
             f"{number(figure['posts'])} ({number(figure['posts ratio'], '{:.2f}')})",
             f"{number(figure['bulk'])} ({number(figure['bulk ratio'], '{:.2f}')})" if figure["bulk"] else MISSING,
             f"{number(figure['bytes'])} / {number(figure['bytes of words'])}", number(figure["idle"], "{:.1f}")]
        )  # fmt: skip
    head = ["queue", "drained a second", "late p50 / p99, ms", "posts a second (to raw)", "in bulk (to raw)"]
    return table([*head, "bytes: random text / words", "idle commands a second"], rows)


def notes(run: Run) -> str:
    """What is to be known of each peer, as a list."""
    found = run.parts["beside"].notes if "beside" in run.parts else {}
    lines = [f"* {shown(name)}: {note.replace('|', ' ')}" for name, note in found.items()]
    return "\n".join(lines) or "There is nothing to be told of them."


def parts(run: Run) -> str:
    """What each part took, and what went wrong with it."""
    rows = [[f"`{name}`", f"{part.seconds:.0f} s", part.status] for name, part in run.parts.items()]
    return table(["part", "took", "result"], rows)


def versions(run: Run) -> str:
    """All versions, of all parts."""
    found = {name: text for part in run.parts.values() for name, text in part.versions.items()}
    return ", ".join(f"{name} {found[name]}" for name in sorted(found, key=str.lower)) + "."
