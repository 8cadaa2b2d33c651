"""What a terminal is sent: ids, names and arguments are anybody's, and must not look like output of ours."""

import unicodedata

#: Longest line, in columns.
WIDTH = 80

#: What stands for what was left out.
CUT = "…"

#: Verbs of more than one thing, and of one.
_SINGULAR = {"are": "is", "have": "has", "stay": "stays"}

#: Characters that are looked at of what is shown in part: arguments may have half a megabyte.
MOST_SHOWN = 1000


def printable(value: object) -> str:
    """Return a value on one line, with nothing in it that a terminal obeys or that turns the line around."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def brief(value: object, most: int = MOST_SHOWN) -> str:
    """Return the beginning of a value, as ``printable`` does."""
    text = str(value)
    return printable(text if len(text) <= most else text[:most] + CUT)


def counted(count: int, noun: str, verb: str = "") -> str:
    """Return a number of things, and what they do: ``1 task``, ``2 tasks are``; the verb is given as in the latter."""
    one = count == 1
    said = _SINGULAR.get(verb, verb) if one else verb
    return f"{count} {noun}{'' if one else 's'}" + (f" {said}" if said else "")


def columns(text: str) -> int:
    """Return how many columns a printable text takes."""
    return sum(_columns_of(character) for character in text)


def shortened(text: str, most: int) -> str:
    """Return a printable text in so many columns at most."""
    if columns(text) <= most:
        return text
    kept, left = [], most - 1
    for character in text:
        left -= _columns_of(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + CUT


def span(seconds: float) -> str:
    """Return a time in its two largest units, rounded down: ``40 d 3 h``, ``12 m``, ``59 s``; ``now``."""
    whole = int(abs(seconds))
    if not whole:
        return "now"
    for size, unit, next_size, next_unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if whole >= size:
            rest = whole % size // next_size
            # Of more than some months, the hours are nobody's.
            return f"{whole // size} {unit}" + (f" {rest} {next_unit}" if rest and whole < 100 * size else "")
    return f"{whole // 60} m" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - seconds of a minute


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
