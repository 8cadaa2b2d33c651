"""The comments in the pages that the site fills: ``<!-- site: NAME ARGUMENTS -->``."""

import re
from collections.abc import Callable

from builder import api, commands, scripts

MARKER = re.compile(r"^<!-- site: (\w+)((?: [\w.*-]+)*) -->$", re.MULTILINE)

#: What makes the Markdown for a comment of this name, of its arguments.
MAKERS: dict[str, Callable[..., str]] = {
    "api": api.documented,
    "options": commands.options,
    "records": scripts.records,
    "scripts": scripts.headers,
}


def filled(text: str) -> str:
    """Return a page with what its comments ask for."""
    return MARKER.sub(lambda found: MAKERS[found[1]](*found[2].split()), text)
