"""Finds settings of tools that move their button to a service, but not their live cells. Pure; no text is trusted.

Sources: sphinx-book-theme 1.4 and Jupyter Book 1 pass ``binderhub_url`` to their button only; thebe reads ``binderUrl``
in a page's settings, by default mybinder.org's.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from tmppool.check_links.judge import Finding, Subject
from tmppool.check_links.text import Link

_NAMES = frozenset({"_config.yml", "_config.yaml", "conf.py"})
_CELLS = re.compile(r"^[^#\n]*\bthebe[\"']?[ \t]*:[ \t]*true\b", re.IGNORECASE | re.MULTILINE)
_BUTTON = re.compile(r"^[^#\n]*\bbinderhub_url\b")
_TOLD = (
    "binderhub_url moves the button, and not the live cells, which go to mybinder.org: tell thebe with a footer or"
    " html_js_files, as /embed on the service writes it"
)


def judge(file: str, text: str, links: Sequence[Link]) -> Iterator[Finding]:
    """Yield what is wrong with the settings in a file, at the first of its ``links`` that is the button's."""
    if PurePath(file).name not in _NAMES or not _CELLS.search(text) or "binderUrl" in text:
        return
    buttons = {number for number, line in enumerate(text.split("\n"), 1) if _BUTTON.search(line)}
    yield from (Finding(link, Subject.EMBEDDING, _TOLD) for link in links if link.line in buttons)
