"""How values look in a page: short, escaped, and the arguments of some tasks not at all."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from celery_dtimer.operating.printing import span
from celery_dtimer.timer.legible import legible

HERE = Path(__file__).parent

#: Characters of arguments in a list, and on an event's own page.
IN_LIST, ON_PAGE = 160, 4000

MASKED = "•••"

#: What stands where there is nothing to show.
UNKNOWN = "\u2013"

#: Ids that a browser takes for steps in a path.
STEPS = (".", "..")


@cache
def environment() -> Environment:
    """Return the templates, which escape whatever they are given; read once a process."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "text": legible,
        "number": number,
        "instant": instant,
        "span": span,
        "ms": lateness,
        "iso": iso,
        "rate": rate,
        "since": lambda at, now: span((now - at).total_seconds()),
    }
    templates.globals |= {"event_path": event_path, "query": query, "asset": asset}
    return templates


def number(value: int) -> str:
    """Return a whole number with a narrow space before each three digits."""
    return f"{value:,}".replace(",", "\u202f")


def rate(value: float | None) -> str:
    """Return a number of events a second."""
    if value is None:
        return UNKNOWN
    return number(round(value)) if value >= 100 else f"{value:.1f}"  # noqa: PLR2004 - three digits are enough


def lateness(seconds: float | None) -> str:
    """Return a short time in a unit that suits it."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"  # noqa: PLR2004
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)  # noqa: PLR2004 - of a minute


def iso(at: datetime) -> str:
    """Return an instant as the console's addresses have it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(at: datetime | None) -> Markup:
    """Return an instant in UTC, which the page's script shows in the viewer's zone too."""
    if at is None:
        return escape(UNKNOWN)
    shown = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{} UTC</time>').format(iso(at), shown)


def event_path(event_id: str) -> str:
    """Return where an event's own page is, whatever its id."""
    return f"/event?id={event_id}" if event_id in STEPS else f"/events/{quote(event_id, safe='')}"


def query(values: Mapping[str, Any], **others: Any) -> str:
    """Return the query of an address: what is not empty of these."""
    kept = {name: value for name, value in {**values, **others}.items() if value not in (None, "")}
    return f"?{urlencode(kept, doseq=True)}" if kept else ""


@cache
def asset(name: str) -> str:
    """Return the path of a file of ours, which is another one when the file is."""
    return f"/static/{name}?{hashlib.sha256((HERE / 'static' / name).read_bytes()).hexdigest()[:12]}"


def masked(mask: Any, task: str | None, args: str, kwargs: str) -> tuple[str, str]:
    """Return the arguments of a task as they may be shown, by ``dtimer_web_mask``."""
    if mask is None:
        return args, kwargs
    if not callable(mask):
        hidden = any(fnmatchcase(task or "", pattern) for pattern in mask)
        return (MASKED, MASKED) if hidden else (args, kwargs)
    try:
        shown_args, shown_kwargs = mask(task, args, kwargs)
        return str(shown_args), str(shown_kwargs)
    except Exception:  # noqa: BLE001 - whatever it raises, what it would hide is not shown
        return MASKED, MASKED
