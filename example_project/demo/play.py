"""The demo's course: start the workers, let the story go on, kill one, sum up."""

import time

from shop import celery_app

from celery_dtimer import Counts, get_timer
from demo.processes import Processes
from demo.records import ready_workers
from demo.screen import ROWS, Screen, View
from demo.story import Story
from demo.summary import Summary, figures

#: The two workers, and the one that replaces the killed one.
WORKERS, REPLACEMENT = ("amber", "birch"), "cedar"

#: Seconds between two looks at the timer.
TICK = 0.1

#: Seconds after which what has not run is called lost: the last event is due after 20.
DEADLINE = 34.0

#: Seconds that the last confirms may take.
LAST_CONFIRMS = 3.0


def play(processes: Processes, screen: Screen) -> Story:
    """Run the story to its end, and return it."""
    for name in WORKERS:
        processes.start_worker(name)
    for name in WORKERS:
        processes.wait_until(name, lambda name=name: name in ready_workers())
    workers = dict.fromkeys(WORKERS, "runs")
    story = Story()
    with screen.live():
        story.post()
        while not story.settled and story.elapsed < DEADLINE:
            story.go_on()
            if story.killed is None and (victim := story.victim(list(WORKERS))):
                processes.kill(victim)
                story.take_note_of_kill(victim)
                processes.start_worker(REPLACEMENT)
                workers |= {victim: f"killed at {story.elapsed:.1f} s", REPLACEMENT: "starts"}
                story.told.append(f"the worker {REPLACEMENT} is started in its place")
            if workers.get(REPLACEMENT) == "starts" and REPLACEMENT in ready_workers():
                workers[REPLACEMENT] = "runs"
                story.told.append(f"the worker {REPLACEMENT} is ready")
            processes.check()
            for line in story.told:
                screen.tell(f"{story.elapsed:5.1f} s  {line}", style="bold cyan")
            story.told.clear()
            screen.show(_view(story, workers))
            time.sleep(TICK)
    return story


def show_summary(story: Story, screen: Screen) -> bool:
    """Print the summary; returns whether every promise was kept."""
    give_up = time.monotonic() + LAST_CONFIRMS
    timer = get_timer(celery_app)
    while (left := timer.count()) != Counts(0, 0, 0) and time.monotonic() < give_up:
        time.sleep(TICK)
    story.go_on()
    summary = Summary(story, left)
    screen.tell("\nSummary, from the tasks' own records:", style="bold")
    for line in summary.lines():
        screen.tell(f"  {line}")
    screen.tell("")
    checks = summary.checks()
    width = max(len(check.promise) for check in checks)
    for check in checks:
        verdict = "kept  " if check.kept else "BROKEN"
        style = "green" if check.kept else "bold red"
        screen.tell(f"  {verdict}  {check.promise:{width}}  {check.evidence}", style=style)
    return all(check.kept for check in checks)


def _view(story: Story, workers: dict[str, str]) -> View:
    timer = get_timer(celery_app)
    counts = timer.count()
    now = time.time()
    runs = story.records.runs
    calm = [run.started - run.due for run in runs if not run.redeliveries]
    return View(
        elapsed=story.elapsed,
        pending=counts.pending,
        leased=counts.leased,
        ran=sum(run.outcome == "SUCCESS" for run in runs),
        upcoming=[
            (story.events[event.id].label, event.due_at.timestamp() - now) for event in timer.upcoming(limit=ROWS)
        ],
        fired=[
            (
                story.event_of(run).label,
                run.worker,
                run.started - run.due,
                "killed" if run.outcome is None and run.worker == story.killed else (run.outcome or "runs").lower(),
            )
            for run in reversed(runs[-ROWS:])
        ],
        workers=workers,
        lateness=figures(calm),
    )
