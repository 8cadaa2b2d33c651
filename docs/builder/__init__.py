"""What the site adds to the Markdown pages, as a Sphinx extension.

The pages say what they want in comments, which the repository's own view of them does not show::

    <!-- site: options upcoming -->

The functions of the modules beside this one make Markdown of the sources; nothing but ``setup`` needs Sphinx.
"""

from typing import Any

from builder import contents, places
from builder.markers import filled


def read_page(app: Any, docname: str, source: list[str]) -> None:
    """Complete the text of one page: Sphinx calls it with a list of one text, to be changed in place."""
    text = places.linked(docname, places.text_of(docname, source[0]))
    if docname == app.config.root_doc:
        text = contents.with_toctrees(text)
    source[0] = filled(text)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", read_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
