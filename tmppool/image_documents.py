"""The documents that an image has in its home: paths, titles, and pictures for previews. Nothing read here is trusted.

Sources: nbformat 3 and 4 (their JSON schemas). A document that cannot be read has a path and no title.
"""

import base64
import binascii
import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher, get_close_matches
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any

SUFFIXES = (".ipynb", ".md", ".Rmd", ".qmd")
"""The ends of the names of documents: notebooks, and texts that Jupytext opens as such."""

MOST_BYTES = 4 << 20  # of a document that is read; a larger one has a path and no title
MOST_DOCUMENTS = 2000  # of one image
_MOST_TITLE = 200  # characters
_MOST_PICTURE = 256 << 10  # bytes
_MOST_SHOWN = 5
_MOST_COMPARED = 50
_ALIKE = 0.6  # of 1, difflib's own bound
_HEADING = re.compile(r"^ {0,3}#{1,2}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FRONT_TITLE = re.compile(r"\A---\s*\n(?:.*\n)*?title:[ \t]*[\"']?(.+?)[\"']?[ \t]*\n")
_MARKS = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|[*_`]|<[^>]*>")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Document:
    """``path`` is below the home, decoded. ``picture``: a PNG image, the first that the document shows; or None."""

    path: str
    title: str = ""
    picture: bytes | None = field(default=None, repr=False)


def is_document(path: str) -> bool:
    """Return True for a file that people open as a document: none below a hidden directory, or with a broken name."""
    is_hidden = any(part.startswith(".") for part in path.split("/"))
    return path.endswith(SUFFIXES) and path.isprintable() and not is_hidden


def read(path: str, content: bytes) -> Document:
    """Return a document with what its content tells."""
    text = content.decode("utf-8", "replace")
    if not path.endswith(".ipynb"):
        found = _FRONT_TITLE.search(text)
        return Document(path, _plain(found[1]) if found else _heading(text))
    try:
        cells = list(_cells(json.loads(text)))
    except (ValueError, RecursionError):
        return Document(path)
    headings = (
        _heading(_text(cell.get("source"))) for cell in cells if cell.get("cell_type") in ("markdown", "heading")
    )
    return Document(path, next(filter(None, headings), ""), next(filter(None, map(_picture, cells)), None))


def below(directory: Path) -> tuple[Document, ...]:
    """Return the documents below a directory, by path. Blocks. Raises OSError."""
    found = (file for file in directory.rglob("*") if is_document(str(file.relative_to(directory))) and file.is_file())
    files = sorted(islice(found, MOST_DOCUMENTS))
    return tuple(
        read(str(file.relative_to(directory)), file.read_bytes() if file.stat().st_size <= MOST_BYTES else b"")
        for file in files
    )


def is_complete(documents: Sequence[Document]) -> bool:
    """Return True if these are all documents: with none, nothing is known, and no more than so many are kept."""
    return 0 < len(documents) < MOST_DOCUMENTS


def beneath(documents: Iterable[Document], directory: str) -> tuple[Document, ...]:
    """Return the documents below a directory of the home, with paths from there; all of them for an empty one."""
    start = f"{directory}/" if directory else ""
    return tuple(replace(each, path=each.path.removeprefix(start)) for each in documents if each.path.startswith(start))


def near(path: str, documents: Iterable[Document]) -> list[str]:
    """Return the paths of the few documents whose names are most like this one's, the best first."""
    wanted = _stem(path)
    known = [document.path for document in documents]
    same = [each for each in known if _stem(each) == wanted]
    stems: dict[str, str] = {}
    for each in known:
        stems.setdefault(_stem(each), each)
    like = get_close_matches(wanted, _with_most_letters_of(wanted, stems), _MOST_SHOWN)
    return list(dict.fromkeys([*same, *(stems[stem] for stem in like)]))[:_MOST_SHOWN]


def _with_most_letters_of(name: str, others: Iterable[str]) -> list[str]:
    """Return the few that can be close to a name: to compare it with all of 2000 takes a fifth of a second."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name)

    def bound(other: str) -> float:
        matcher.set_seq1(other)
        return matcher.quick_ratio() if matcher.real_quick_ratio() >= _ALIKE else 0

    return nlargest(_MOST_COMPARED, others, bound)


def _stem(path: str) -> str:
    """Return the name of a document without its folder and suffix, which make any two look alike."""
    return posixpath.splitext(posixpath.basename(path))[0].lower()


def _cells(book: Any) -> Iterable[dict[str, Any]]:
    """Yield the cells of nbformat 4, or of all worksheets of nbformat 3."""
    if not isinstance(book, dict):
        return
    sheets = book.get("worksheets") if "worksheets" in book else [book]
    for sheet in sheets if isinstance(sheets, list) else []:
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        yield from (cell for cell in cells if isinstance(cell, dict)) if isinstance(cells, list) else ()


def _text(source: object) -> str:
    """Return a multiline string of nbformat, which may be a list of lines."""
    parts = source if isinstance(source, list) else [source]
    return "".join(part for part in parts if isinstance(part, str))


def _heading(text: str) -> str:
    found = _HEADING.search(text)
    return _plain(found[1]) if found else ""


def _plain(text: str) -> str:
    """Return a heading without Markdown's marks and control characters."""
    shown = _MARKS.sub(lambda found: found[1] or "", text[: 2 * _MOST_TITLE])
    return "".join(char for char in shown if char.isprintable()).strip()[:_MOST_TITLE]


def _picture(cell: dict[str, Any]) -> bytes | None:
    """Return the first PNG image among a cell's outputs."""
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else []:
        data = output.get("data", output) if isinstance(output, dict) else {}
        encoded = _text(data.get("image/png", data.get("png"))) if isinstance(data, dict) else ""
        if not 0 < len(encoded) <= _MOST_PICTURE * 4 // 3:
            continue
        try:
            found = base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError):
            continue
        if found.startswith(_PNG):
            return found
    return None
