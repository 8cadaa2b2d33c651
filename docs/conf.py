# ruff: noqa: INP001 - Sphinx reads it
"""The documentation site: ``make docs`` builds it into build/docs/html.

The pages are plain Markdown, so that they can be read in the repository too. What they leave to the site stands in
``builder/``: the contents by section, what is made of the sources, and links to files outside this folder.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import celery_dtimer  # noqa: E402 - its place is known now

project = "celery-dtimer"
author = "the celery-dtimer authors"
version = release = celery_dtimer.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "builder"]
# Indented blocks are commands and their answers.
highlight_language = "none"

exclude_patterns = ["builder", "pictures", "schemas", "sessions", "operating"]

# Links to headings, as in the repository: every heading has an anchor.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "html_image"]

# Each class says what it is made of in its own docstring; members stand in the order of the code.
autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 120

# Every reference must lead somewhere, but for those to what has no page here.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(celery|kombu|redis|enum|starlette|opentelemetry|datetime|collections|typing|types|uuid|vine)\b.*"),
    ("py:class", r"P"),  # the parameters of any task
    ("py:exc", "NotRegistered"),  # Celery's
    ("py:.*", r"celery_dtimer\.(?!(errors|signals)\b)[a-z_]+\..*"),
]

html_theme = "furo"
pygments_dark_style = "github-dark"
# A build between two releases says so; Read the Docs adds its switch between the versions.
released = re.fullmatch(r"(?!0\.0\.)\d+(\.\d+)+", release)
html_title = f"celery-dtimer {release if released else '(development)'}"
html_static_path = ["builder/static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
# No copies of the pages' sources: the repository has them.
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": False}

linkcheck_anchors_ignore_for_url = ["https://github.com/.*"]
