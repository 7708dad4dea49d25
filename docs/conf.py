"""The documentation as a site; scripts/docs builds it.

The documents are Markdown that a forge shows as well. So what only the site has is added here: the table of contents,
made of the lists in ``index.md``, and the parts that run in ``authors/live.md``, where TMPPOOL_SERVICE is set.
"""

import json
import os
import re

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

SERVICE = os.environ.get("TMPPOOL_SERVICE", "").rstrip("/")
"""Address of a running service; empty for a site without live parts."""

REPOSITORY = "tmppool/docs"
"""What thebe asks the service for; nothing is fetched from it."""

_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/[\w./~-]+)?", re.ASCII)
_SECTION = re.compile(r"^## (.+)\n\n((?:- .*\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^- \[(.+?)\]\((\S+)\.md\)", re.MULTILINE)
_PLACE = re.compile(r"<!-- on a site: -->\n.*?<!-- from here on as in the repository -->\n", re.DOTALL)
_LIVE = f"""\
The badge leads to a notebook of your own. Nothing is started before you click.

[![Try it live]({SERVICE}/badge.svg)]({SERVICE}/)

Or run this cell here: make it live, wait for "ready", and press "run".

:::{{thebe-button}} Make the cell live
:::

{{.thebe}}"""
_NOT_CONFIGURED = """\
:::{admonition} Not configured
:class: note

This site was built without the address of a service, so the cell on this page does not run.
:::
"""

if SERVICE and not _ADDRESS.fullmatch(SERVICE):
    raise ConfigError(f"TMPPOOL_SERVICE: {SERVICE!r} is not the address of one service, such as https://nb.example")

project = "tmppool"
author = "the tmppool maintainers"
copyright = f"2026, {author}"  # noqa: A001  # Sphinx's name for it
extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 4  # the fragments by which forges link to headings

html_theme = "sphinx_book_theme"
html_title = project
html_logo = "../tmppool/web/static/logo.svg"
html_favicon = "../tmppool/web/static/favicon.svg"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "logo": {"text": project},
    "navbar_persistent": [],  # the search is in the sidebar
    "footer_content_items": ["copyright.html"],
    "use_download_button": False,
    "use_fullscreen_button": False,
}

if SERVICE:
    extensions.append("sphinx_thebe")
    thebe_config = {
        "repository_url": f"https://github.com/{REPOSITORY}",
        "repository_branch": "HEAD",
        "codemirror-theme": "default",
    }
    settings = json.dumps({"binderOptions": {"binderUrl": SERVICE}})
    html_js_files = [  # as authors/sphinx.md has them, and says why
        (None, {"type": "text/x-thebe-config", "body": settings}),
        ("https://unpkg.com/thebe@0.9.3/lib/index.js", {"defer": "defer"}),
        (f"{SERVICE}/live-cells.js", {"defer": "defer"}),
    ]


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add a table of contents to each section of the index: the pages of its list."""
    if name == "index":
        source[0] += "".join(_contents(*section) for section in _SECTION.findall(source[0]))


def _contents(title: str, entries: str) -> str:
    pages = "\n".join(f"{text} <{page}>" for text, page in _ENTRY.findall(entries))
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def add_live_parts(_app: Sphinx, name: str, source: list[str]) -> None:
    if name == "authors/live":
        source[0], places = _PLACE.subn(lambda _: _LIVE if SERVICE else _NOT_CONFIGURED, source[0])
        assert places == 1, "authors/live.md says where its live parts go"


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_contents)
    app.connect("source-read", add_live_parts)
    for language in ("caddyfile", "haproxy", "rooms", "walk-notebook", "walk-refusal"):
        app.add_lexer(language, TextLexer)  # Pygments knows none for these
