"""The documentation as a site: `make docs-site`, see docs/decisions/0017-docs-site.md.

The source folder is the root of the repository, so that links between pages, and between pages and
README.md or sql/README.md, are the same here as for who reads the files.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexer import inherit
from pygments.lexers.special import TextLexer
from pygments.lexers.sql import SqlLexer
from pygments.token import Name

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
release = _PROJECT["version"]
author = _PROJECT["authors"][0]["name"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
templates_path = ["site/templates"]
include_patterns = ["*.md", "docs/*.md", "docs/*/*.md", "sql/README.md", "benchmarks/README.md"]

# Headings are anchors as GitHub makes them; what README.md and the others link to has to be there.
myst_heading_anchors = 4
nitpicky = True
# Types of other libraries, whose pages are not asked for: the site is built without a network.
nitpick_ignore_regex = [("py:.*", r"(?!warehouse\.errors\.).*")]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_extra_path = ["site/root"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": ["pages.html"], "docs/questions": []}
html_theme_options = {
    "secondary_sidebar_items": {"**": ["page-toc"], "docs/questions": [], "docs/index": []},
    "navbar_align": "left",
    "navbar_center": [],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copyright = f"{author}, {_PROJECT['license']}"  # noqa: A001 - the name that Sphinx asks for


class DuckSQL(SqlLexer):
    """SQL with the parameters of DuckDB, ``$name``."""

    tokens = {"root": [(r"\$\w+", Name.Variable), inherit]}  # noqa: RUF012 - as Pygments has it


def setup(app: Sphinx) -> None:
    """Tell Sphinx what cannot be said by a setting."""
    app.add_lexer("sql", DuckSQL)
    app.add_lexer("csv", TextLexer)
