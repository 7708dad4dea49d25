"""Lists and reads the pages of a site: text files of known kinds, within bounds. All functions block."""

import codecs
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmppool.errors import ConfigError, TmppoolError

MOST_BYTES = 16 << 20  # of a file that is read

_HTML = (  # and what holds it
    r"(?<=.)\.(?:x?html?|xml|svg|rss|atom|md|mdx|markdown|myst|[rq]md|ipynb|vue|svelte|astro|php|erb|ejs|hbs|mustache"
    r"|liquid|twig|njk|j2|jinja2?|tmpl|tpl|gotmpl)\Z"
)
_TEXT = r"(?<=.)\.(?:rst|txt|tex|org|adoc|asciidoc|textile|ya?ml|toml|ini|cfg|py|[cm]?js|jsx|tsx?)\Z"
_MARKUP = re.compile(_HTML, re.IGNORECASE)
_PAGE = re.compile(f"{_HTML}|{_TEXT}", re.IGNORECASE)
_NOT_ENTERED = frozenset({".git", ".hg", ".svn", ".tox", ".nox", ".venv", "node_modules", "__pycache__"})
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 8192  # bytes of a file in which a NUL says that it is no text


class NotReadError(TmppoolError):
    """A file is not read; the text is the end of a sentence about it."""


@dataclass(slots=True)
class Tally:
    """The number of files that were ``read``; ``skipped`` has the others, by the reason."""

    read: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, path: str, why: str) -> None:
        self.skipped.setdefault(why, []).append(path)


def listed(named: Sequence[str], tally: Tally) -> list[str]:
    """Return the files that are named, and the pages below the folders that are, each once. Raises ConfigError."""
    found: dict[str, None] = {}
    for name in named:
        if name.startswith(("http://", "https://")):
            raise ConfigError(f"{name!r} is a URL; name files or folders of the site, as they are on this machine")
        try:
            is_folder = stat.S_ISDIR(Path(name).stat().st_mode)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{name!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        found.update(dict.fromkeys(_below(name, tally) if is_folder else [name]))
    return list(found)


def _below(folder: str, tally: Tally) -> Iterator[str]:
    """Yield the pages below a folder. A symbolic link to a folder is not followed, nor one to a file elsewhere."""
    root = os.path.realpath(folder)  # Path.resolve raises for links that lead in circles
    waiting = [folder]  # os.walk calls itself for each folder in a folder, and ends at the thousandth
    while waiting:
        place = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            tally.skip(place, "cannot be read")
            continue
        folders = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders += [] if entry.name in _NOT_ENTERED else [entry.path]
            elif not _PAGE.search(entry.name):
                continue
            elif entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(root):
                tally.skip(entry.path, "is a symbolic link out of the folder")
            else:
                yield entry.path
        waiting += reversed(folders)


def read(path: str) -> bytes:
    """Return the content of a text file. Raises NotReadError."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a pipe
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotReadError("is no file")
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NotReadError("cannot be read") from error
    if len(content) > MOST_BYTES:
        raise NotReadError(f"is larger than {MOST_BYTES >> 20} MiB")
    if b"\0" in content[:_LOOKED_AT] and not has_mark(content):
        raise NotReadError("is no text")
    return content


def has_mark(content: bytes) -> bool:
    """Return True if a byte order mark tells the encoding."""
    return content.startswith(tuple(mark for mark, _ in _MARKS))


def decoded(content: bytes) -> str:
    """Return the text: by its byte order mark, else UTF-8, else Windows-1252, in which most old pages are."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def is_markup(path: str) -> bool:
    """Return True if ``&amp;`` is an ``&`` in files of this name."""
    return _MARKUP.search(path) is not None
