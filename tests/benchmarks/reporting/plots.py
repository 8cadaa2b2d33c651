"""The plots of the report: which figures each shows. One whose figures are missing is left out."""

from collections.abc import Callable, Iterator

from reporting.figures import Run, shown
from reporting.svg import Line, bars, decades, from_zero, legend, picture, plot
from reporting.tables import LATENCY
from reporting.targets import POOLS

#: Pixels: the left and the width of three plots beside each other, and of two.
THREE = ((54, 166), (284, 166), (514, 166))
TWO = ((64, 262), (418, 262))
ONE = (64, 600)

OURS, NATIVE, PLAIN, FOURTH = 0, 1, 2, 3


def lateness(run: Run) -> str:
    """CDF in each pool, idle and under load: what part of the tasks had run after so many ms."""
    parts = legend(54, 28, [(OURS, "celery-dtimer"), (NATIVE, "Celery's countdown")])
    drawn, top = False, 76
    for load, words in (("idle", "idle"), ("load", "plain load")):
        for (left, width), pool in zip(THREE, POOLS, strict=True):
            curves = [(c, run.curve("lateness", f"{load} {pool} {way}")) for c, way in enumerate(("ours", "native"))]
            if not any(curve for _, curve in curves):
                continue
            drawn = True
            # Beyond the p99 of both there is one event in a hundred, which would flatten all others.
            x = decades([0.0005 * 1000, *(max(curve[99] * 1000, 1) for _, curve in curves if curve)], "")
            y = from_zero([100], "%")
            lines = [
                Line(c, [(max(late * 1000, 0), n) for n, late in enumerate(curve)]) for c, curve in curves if curve
            ]
            parts += plot((left, top, width, 120), f"{pool}, {words}: ms", x, y, lines)
        top += 190
    return picture(top - 38, "Lateness in ms: part of the tasks that had run", parts) if drawn else ""


def drain(run: Run) -> str:
    """Runs over time, in each pool."""
    ways = ((OURS, "posted"), (NATIVE, "native"), (PLAIN, "plain"))
    parts = legend(54, 28, [(OURS, "posted"), (NATIVE, "countdowns in memory"), (PLAIN, "plain tasks")])
    drawn = False
    for (left, width), pool in zip(THREE, POOLS, strict=True):
        curves = [(colour, run.curve("drain", f"{pool} {way} runs")) for colour, way in ways]
        found = [(colour, curve) for colour, curve in curves if curve]
        if not found:
            continue
        drawn = True
        # Of what takes much longer than the others, such as countdowns in solo, only the beginning.
        longest = sorted(curve[100] for _, curve in found)[-1 if pool != "solo" else min(1, len(found) - 1)]
        lines = [Line(colour, [(at, n) for n, at in enumerate(curve) if at <= longest]) for colour, curve in found]
        parts += plot((left, 76, width, 150), f"{pool}: run, by s", from_zero([longest]), from_zero([100], "%"), lines)
    return picture(262, "Drain over time: part of the tasks that had run, by seconds", parts) if drawn else ""


def pending(run: Run) -> str:
    """The cost of a post, a claim and confirm, and a cancel against the number of pending events."""
    operations = ("post", "claim + confirm of 8", "cancel")
    lines, names = [], []
    for colour, operation in enumerate(operations):
        sizes = sorted(int(n.rsplit(" ", 1)[1]) for n in run.names("pending") if n.rsplit(" ", 1)[0] == operation)
        points = [(float(size), run.median("pending", f"{operation} {size}") or 0) for size in sizes]
        if points:
            lines.append(Line(colour, points, dots=True))
            names.append((colour, operation))
    if not lines:
        return ""
    points = [point for line in lines for point in line.points]
    x, y = decades([a for a, _ in points]), from_zero([b for _, b in points])
    parts = legend(64, 28, names) + plot((ONE[0], 76, ONE[1], 190), "µs of a call, by pending events", x, y, lines)
    return picture(304, "Cost of a call in microseconds against the number of pending events", parts)


def listeners(run: Run) -> str:
    """Calls an event, and lateness, against the number of listeners."""
    sizes = sorted({int(name.split()[0]) for name in run.names("listeners")})
    calls, late = [], []
    for colour, load in enumerate(("ahead", "now")):
        found = [(size, run.median("listeners", f"{size} {load} calls")) for size in sizes]
        calls.append(Line(colour, [(size, figure) for size, figure in found if figure is not None], dots=True))
        found = [(size, run.quantile("listeners", f"{size} {load} lateness", 99)) for size in sizes]
        late.append(Line(colour, [(size, figure * 1000) for size, figure in found if figure is not None], dots=True))
    calls, late = ([line for line in lines if line.points] for lines in (calls, late))
    if not calls or not late:
        return ""
    x = decades(sizes)
    x = type(x)(1, max(sizes), tuple((float(size), str(size)) for size in sizes), log=True) if max(sizes) > 1 else x
    parts = legend(64, 28, [(OURS, "posted ahead, at random"), (NATIVE, "due at once, one by one")])
    for (left, width), title, lines in zip(
        TWO, ("script calls an event", "p99 of the lateness, ms"), (calls, late), strict=True
    ):
        y = from_zero([b for line in lines for _, b in line.points])
        parts += plot((left, 76, width, 150), title, x, y, lines)
    return picture(262, "Calls an event and lateness, by listeners", parts)


def latency(run: Run) -> str:
    """The rate of a drain against the latency of Redis."""
    names = [name for name in run.names("drain") if LATENCY.fullmatch(name)]
    found = [(float(name.split()[1]), run.median("drain", name)) for name in names]
    points = sorted((ms, rate) for ms, rate in found if rate is not None)
    if not points:
        return ""
    x, y = from_zero([ms for ms, _ in points], " ms"), from_zero([rate for _, rate in points])
    parts = plot((ONE[0], 46, ONE[1], 150), "tasks a second, by latency", x, y, [Line(OURS, points, dots=True)])
    return picture(234, "Tasks a second against the latency of Redis", parts)


def peers(run: Run) -> str:
    """The peers beside us: drain, posts in their best way, memory, lateness."""
    names = sorted({name.rsplit(" ", 1)[0] for name in run.names("beside") if name.endswith((" drain", " lateness"))})

    def rows(figure: Callable[[str], float | None], form: str, *, least: bool) -> list[tuple[str, float, str, int]]:
        found = [(name, figure(name)) for name in names]
        known = sorted(((n, v) for n, v in found if v is not None), key=lambda row: (row[1], row[0]), reverse=not least)
        colours = {"celery-dtimer": OURS, "celery": NATIVE}
        return [(shown(n), v, form.format(v), colours.get(n.split(maxsplit=1)[0], PLAIN)) for n, v in known]

    def median(what: str) -> Callable[[str], float | None]:
        return lambda name: run.median("beside", f"{name} {what}")

    def late_ms(name: str) -> float | None:
        late = run.quantile("beside", f"{name} lateness", 50)
        return None if late is None else late * 1000

    blocks = [
        ("drained a second", rows(median("drain"), "{:,.0f}", least=False)),
        ("p50 of the lateness, ms", rows(late_ms, "{:,.1f}", least=True)),
        ("posts a second, one by one", rows(median("posts"), "{:,.0f}", least=False)),
        ("bytes of a pending job", rows(median("bytes"), "{:,.0f}", least=True)),
    ]
    blocks = [block for block in blocks if block[1]]
    parts: list[str] = []
    top = 46
    for n in range(0, len(blocks), 2):
        pair = blocks[n : n + 2]
        for left, (title, found) in zip((24, 364), pair, strict=False):
            parts += bars(left, top, 312, title, found)
        top += max(len(found) for _, found in pair) * 20 + 48
    return picture(top - 28, "Other queues beside celery-dtimer", parts) if parts else ""


#: The plots by the names of their files, with what a reader who cannot see them is told.
PLOTS: dict[str, tuple[Callable[[Run], str], str]] = {
    "lateness": (lateness, "Curves of lateness in prefork, threads and solo, idle and under plain load"),
    "drain": (drain, "Curves of how many tasks had run, by seconds, in prefork, threads and solo"),
    "latency": (latency, "A curve of tasks a second, by the latency of Redis"),
    "pending": (pending, "Curves of the microseconds of a call, by pending events"),
    "listeners": (listeners, "Curves of calls an event and of lateness, by listeners"),
    "peers": (peers, "Bars: other queues and celery-dtimer by drain, lateness, posts and memory"),
}


def drawn(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the name and the SVG of each plot that a run has figures for."""
    for name, (make, _) in PLOTS.items():
        if svg := make(run):
            yield name, svg
