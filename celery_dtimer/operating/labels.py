"""Names that others chose, as labels of metrics: short, printable, and different where the names are."""

import zlib

from celery_dtimer.timer.legible import legible

#: Most characters of a label that shows a name as it is.
LONGEST = 100


def label(name: str) -> str:
    """Return a name as a label; one that is changed for that ends with a checksum."""
    shown = legible(name, LONGEST)
    return shown if shown == name else f"{shown[:LONGEST]}~{zlib.crc32(name.encode(errors='backslashreplace')):08x}"
