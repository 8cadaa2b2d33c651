"""Text that others chose, as it may stand in a log line or a reason: in one line, and not endless."""

#: Characters of a text that are shown.
LIMIT = 300


def legible(text: object, limit: int = LIMIT) -> str:
    """Return the text with escapes for all that is not printable: line breaks, terminal codes, half surrogate pairs."""
    shown = str(text)
    if len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
