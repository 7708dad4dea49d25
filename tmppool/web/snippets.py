"""Snippets for page authors: links, frames and live cells in the languages of pages, settings of their tools. Pure.

All URLs are in ASCII without the characters that these languages read as their own, so that one spelling fits all of
them; other text is written in each language's own way. Sources: the documentation of thebe 0.9, sphinx-thebe 0.3,
sphinx-book-theme 1.4, sphinx-gallery 0.22, Jupyter Book 1 (``_config.yml``), mystmd 1.8 (frontmatter, ``iframe``),
Quarto 1.8 (``code-links``, raw content), docutils 0.22 (``image``, ``raw``), nbgitpuller 1.2 ("URL options").
"""

import html
import json
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote

from tmppool.web.peer_links import Repository

LABEL = "Try it live"
WIDTH, HEIGHT = 100, 20  # pixels of the badge
_FRAME_HEIGHT = 600
_THEBE = "https://unpkg.com/thebe@0.9.3/lib"
_CODE = 'print("Hello")'
_RUN_BY_TOOLS = {ord(mark): f"&#{ord(mark)};" for mark in "{`"}
"""Marks of templates (Jekyll, Jinja) and of code in a line (knitr, Quarto), which count in HTML's attributes too."""
_RUN_IN_JSON = re.compile(r"[<`]|\{(?!\n)")
"""The same marks in the strings of indented JSON, whose own braces end their lines; and what may end a script."""
_HOSTS = {"gh": "https://github.com/", "gl": "https://gitlab.com/", "git": ""}
_PROVIDERS = {"gh": "github", "gl": "gitlab", "git": "git"}  # thebe's words


class Way(StrEnum):
    """The ways in which a page shows a notebook."""

    NOTEBOOK = "notebook"
    LAB = "lab"
    LIVE = "live"
    FRAME = "frame"

    @property
    def is_in_page(self) -> bool:
        """True for what only pages of allowed origins can show."""
        return self in (Way.LIVE, Way.FRAME)


class Snippet(NamedTuple):
    """``name`` is unique among the snippets of one way; ``place`` says where the text goes.

    ``is_for_site``: it is a setting of a tool, which then shows notebooks on each page that it makes.
    """

    name: str
    place: str
    text: str
    is_for_site: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """``origin`` is the service's own, ``link`` a whole launch link, tame as ``tame`` makes it.

    ``directory``: in which live cells run, decoded and below the home. ``repository`` is one whose links lead to the
    pool, None if there is none; ``file`` is the raw path in it that the author named, if they did.
    """

    origin: str
    link: str
    title: str
    directory: str = ""
    repository: Repository | None = None
    file: str = ""

    @property
    def badge(self) -> str:
        return f"{self.origin}/badge.svg"


def is_usable(repository: Repository) -> bool:
    """Return True if tools can be told this repository: it is at a host of Git, and not a record of an archive."""
    return repository.name.partition("/")[0] in _HOSTS


def make(way: Way, subject: Subject) -> list[Snippet]:
    """Return what a page author may copy, the most general first."""
    if way is Way.FRAME:
        return _frames(subject)
    if way is Way.LIVE:
        return [] if subject.repository is None else _live(subject, subject.repository)
    tools = [] if subject.repository is None else _launch_buttons(way, subject, subject.repository)
    return [*_links(subject), *tools]


def frame(link: str, title: str, width: int | str = "100%", height: int = _FRAME_HEIGHT) -> str:
    """Return the element that shows a launch link, and then its notebook, inside a page; on one line."""
    shown = html.escape(title).translate(_RUN_BY_TOOLS)
    return (
        f'<iframe src="{html.escape(link)}" title="{shown}" width="{width}" height="{height}"'
        ' allow="clipboard-write; local-network-access" loading="lazy" style="border:0"></iframe>'
    )


# Links


def _links(subject: Subject) -> list[Snippet]:
    link, badge = subject.link, subject.badge
    picture = f'<img src="{html.escape(badge)}" alt="{LABEL}" width="{WIDTH}" height="{HEIGHT}">'
    yaml = f'code-links:\n  - text: "{LABEL}"\n    icon: play-circle\n    href: {_quoted(link)}'
    return [
        Snippet("HTML", "Any page", f'<a href="{html.escape(link)}">{picture}</a>'),
        Snippet(
            "Markdown",
            "README files, notebooks, MyST, Quarto, R Markdown, MkDocs",
            f"[![{LABEL}]({badge})]({link})",
        ),
        Snippet("reStructuredText", "Sphinx", f".. image:: {badge}\n   :target: {link}\n   :alt: {LABEL}"),
        Snippet("MyST", "Front matter; shown by the title", f"---\nbinder: {_quoted(link)}\n---"),
        Snippet("Quarto", "Front matter; shown in the margin", f"---\n{yaml}\n---"),
    ]


def _launch_buttons(way: Way, subject: Subject, repository: Repository) -> list[Snippet]:
    """Return the settings by which tools put such a link on each of their pages."""
    interface = "jupyterlab" if way is Way.LAB else "classic"
    more = {"notebook_interface": interface}
    found = []
    if subject.file:
        place = "Fetches the repository first; the image needs nbgitpuller and a network"
        found.append(Snippet("nbgitpuller", place, _pull(way, subject, repository)))
    found += [
        Snippet("Jupyter Book 1", "_config.yml", _book(subject, repository, more), is_for_site=True),
        Snippet("sphinx-book-theme", "conf.py", _book_theme(subject, repository, more), is_for_site=True),
    ]
    if repository.name.startswith("gh/"):
        place = "conf.py; the image has to hold its notebooks, in notebooks/"
        found.append(Snippet("sphinx-gallery", place, _gallery(way, subject, repository), is_for_site=True))
    return found


def _gallery(way: Way, subject: Subject, repository: Repository) -> str:
    org, _, name = _path(repository).partition("/")
    binder = {
        "binderhub_url": subject.origin,
        "org": org,
        "repo": name,
        "branch": _branch(repository),
        "notebooks_dir": "notebooks",
        "dependencies": "requirements.txt",
        "use_jupyter_lab": way is Way.LAB,
    }
    return f"sphinx_gallery_conf = {_python({'binder': binder})}"


def _pull(way: Way, subject: Subject, repository: Repository) -> str:
    page = "lab/tree" if way is Way.LAB else "tree"
    name = _path(repository).rpartition("/")[2]
    _, mark, fragment = subject.link.partition("#")
    wanted = {
        "repo": _url(repository),
        "branch": repository.ref or "",
        "urlpath": f"{page}/{name}/{subject.file}{mark}{fragment}",  # which is a URL
    }
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in wanted.items() if value)
    return f"{subject.origin}/hub/user-redirect/git-pull?{query}"


# Frames


def _frames(subject: Subject) -> list[Snippet]:
    element = frame(subject.link, subject.title)
    return [
        Snippet("HTML and Markdown", "Any page that may hold HTML", element),
        Snippet("reStructuredText", "Sphinx", f".. raw:: html\n\n   {element}"),
        Snippet("MyST", "mystmd, Jupyter Book 2", f":::{{iframe}} {subject.link}\n:width: 100%\n:::"),
        Snippet("Quarto", "HTML formats", _raw(element)),
    ]


# Live cells


def _live(subject: Subject, repository: Repository) -> list[Snippet]:
    element = _thebe(subject, repository)
    thebe = {"thebe": True}
    found = [
        Snippet("HTML and Markdown", "Any page that may hold scripts; the last line is a cell", element),
        Snippet("Quarto", "HTML formats; the last line is a cell", _raw(element)),
        Snippet("MyST", "myst.yml, also of Jupyter Book 2", _myst(subject, repository), is_for_site=True),
        Snippet("Jupyter Book 1", "_config.yml", _book(subject, repository, thebe), is_for_site=True),
        Snippet(
            "sphinx-book-theme",
            "conf.py, added to your lists",
            _book_theme(subject, repository, thebe),
            is_for_site=True,
        ),
    ]
    if repository.name.startswith("gh/"):
        place = "conf.py, added to your lists; on pages, the directive thebe-button, and the class thebe for cells"
        found.append(Snippet("sphinx-thebe", place, _sphinx_thebe(subject, repository), is_for_site=True))
    return found


def _thebe(subject: Subject, repository: Repository) -> str:
    binder = {"binderUrl": subject.origin, "repo": _name(repository), "ref": repository.ref or "HEAD"}
    if not repository.name.startswith("gh/"):
        binder["repoProvider"] = _provider(repository)
    kernel = {"kernelName": "python3"} | ({"path": subject.directory} if subject.directory else {})
    settings = json.dumps({"binderOptions": binder, "kernelOptions": kernel}, ensure_ascii=False, indent=2)
    return "\n".join(
        (
            '<script type="text/x-thebe-config">',
            _RUN_IN_JSON.sub(lambda mark: f"\\u{ord(mark[0]):04x}", settings),
            "</script>",
            f'<link rel="stylesheet" href="{_THEBE}/thebe.css">',
            *_scripts(subject),
            '<div class="thebe-activate"></div>',
            '<div class="thebe-status"></div>',
            f'<pre data-executable="true" data-language="python">{html.escape(_CODE, quote=False)}</pre>',
        )
    )


def _myst(subject: Subject, repository: Repository) -> str:
    binder = {"url": f"{subject.origin}/", "repo": _name(repository)}
    if repository.ref is not None:
        binder["ref"] = repository.ref
    if not repository.name.startswith("gh/"):
        binder["provider"] = _provider(repository)
    return f"project:\n  jupyter:\n    binder:\n{_lines(binder, 6)}"


def _sphinx_thebe(subject: Subject, repository: Repository) -> str:
    settings = {"repository_url": _url(repository), "repository_branch": _branch(repository)}
    return f'extensions = ["sphinx_thebe"]\nthebe_config = {_python(settings)}\n{_js_files(subject)}'


# Tools that have links and live cells


def _book_theme(subject: Subject, repository: Repository, more: dict[str, Any]) -> str:
    options = {
        "repository_url": _url(repository),
        "repository_branch": _branch(repository),
        "launch_buttons": {"binderhub_url": subject.origin, **more},
    }
    text = f'html_theme = "sphinx_book_theme"\nhtml_theme_options = {_python(options)}'
    return f'extensions = ["sphinx_thebe"]\n{text}\n{_js_files(subject)}' if "thebe" in more else text


def _book(subject: Subject, repository: Repository, more: dict[str, Any]) -> str:
    where = {"url": _url(repository), "branch": _branch(repository)}
    text = f"repository:\n{_lines(where)}\nlaunch_buttons:\n{_lines({'binderhub_url': subject.origin, **more})}"
    if "thebe" not in more:
        return text
    settings = f'<script type="text/x-thebe-config">{_own_hub(subject)}</script>'
    footer = textwrap.indent("\n".join((settings, *_scripts(subject))), "    ")
    return f"{text}\nhtml:\n  extra_footer: |\n{footer}"


def _js_files(subject: Subject) -> str:
    """Return Sphinx's setting that adds to thebe's on each page: neither extension can be told of another hub.

    They load thebe 0.8.2, if the page has not loaded another.
    """
    settings = _python({"type": "text/x-thebe-config", "body": _own_hub(subject)}, 1)
    files = "".join(f'    ("{file}", {{"defer": "defer"}}),\n' for file in _script_files(subject))
    return f"html_js_files = [\n    (None, {settings}),\n{files}]"


def _scripts(subject: Subject) -> list[str]:
    return [f'<script src="{file}" defer></script>' for file in _script_files(subject)]


def _script_files(subject: Subject) -> tuple[str, str]:
    """Return what a page with live cells loads, in order: thebe, and what it lacks."""
    return f"{_THEBE}/index.js", f"{subject.origin}/live-cells.js"


def _own_hub(subject: Subject) -> str:
    return json.dumps({"binderOptions": {"binderUrl": subject.origin}})


# Repositories


def _path(repository: Repository) -> str:
    return repository.name.partition("/")[2]


def _provider(repository: Repository) -> str:
    return _PROVIDERS[repository.name.partition("/")[0]]


def _name(repository: Repository) -> str:
    """Return the repository as its provider calls it, which of any other host is its URL."""
    return _path(repository)


def _url(repository: Repository) -> str:
    return _HOSTS[repository.name.partition("/")[0]] + _path(repository)


def _branch(repository: Repository) -> str:
    """Return the ref of the link; tools without one would name "master"."""
    return repository.ref or "main"


# Languages


def _raw(element: str) -> str:
    return f"```{{=html}}\n{element}\n```"


def _quoted(text: str) -> str:
    """Return a string of JSON, YAML (1.2.2 section 7.3.1) and Python alike: no control characters are in it."""
    return json.dumps(text, ensure_ascii=False)


def _lines(values: dict[str, Any], indent: int = 2) -> str:
    """Return the lines of a mapping in YAML."""
    return textwrap.indent("\n".join(f"{key}: {_scalar(value)}" for key, value in values.items()), " " * indent)


def _scalar(value: str | bool) -> str:  # noqa: FBT001 - a value
    return str(value).lower() if isinstance(value, bool) else _quoted(value)


def _python(values: dict[str, Any], depth: int = 0) -> str:
    """Return a dictionary as Python's formatters write it."""
    inner = "    " * (depth + 1)
    rows: Iterable[str] = (
        f"{inner}{_quoted(key)}: {_python(value, depth + 1) if isinstance(value, dict) else _constant(value)},"
        for key, value in values.items()
    )
    return "\n".join(("{", *rows, f"{'    ' * depth}}}"))


def _constant(value: str | bool) -> str:  # noqa: FBT001 - a value
    return repr(value) if isinstance(value, bool) else _quoted(value)
