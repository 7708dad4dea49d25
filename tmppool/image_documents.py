"""The documents that an image has in its home: paths, titles, and pictures for previews. Nothing read here is trusted.

Whatever a document holds, the time to read it is linear in its length. One that cannot be read has a path and no title.

Sources: nbformat 3 and 4 (their JSON schemas); CommonMark 0.31, sections 2.1 to 2.5, 4.2 and 6; Pandoc,
"yaml_metadata_block" and "header_attributes".
"""

import base64
import binascii
import html
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

SUFFIXES = (".ipynb", ".md", ".Rmd", ".qmd")
"""The ends of the names of documents: notebooks, and texts that Jupytext opens as such."""

MOST_BYTES = 4 << 20  # of a document that is read; a larger one has a path and no title
MOST_DOCUMENTS = 2000  # of one image
MOST_PICTURES = 16 << 20  # bytes of all pictures of one image, which stay in memory
_MOST_HEAD = 64 << 10  # bytes of a text, or of one cell, in which its title is sought
_MOST_LINES = 500  # of a document, in them
_MOST_OUTPUTS = 5000  # of a document, in which a picture is sought
_MOST_TITLE = 200  # characters
_MOST_PICTURE = 256 << 10  # bytes
_HEADING_INDENT = 3  # blanks at most
_HEADING_LEVELS = (1, 2)
_FRONT, _FRONT_ENDS = "---", ("---", "...")
_BLOCK_MARKS = ("|", ">", "[", "{")  # of a value in YAML that is more than the rest of its line
# None of their parts reads on where another begins.
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^)\[]*\)")
_MARKS = re.compile(
    r"`+([^`]+)`+"  # code, in which nothing else is a mark
    r"|\\([!-/:-@\[-`{-~])"  # an escape
    r"|</?[A-Za-z!][^<>]*>"
    r"|(?<![^\W_])_+|_+(?![^\W_])"  # none within a word
    r"|(?<!\s)\*+|\*+(?!\s)"
    r"|`"
    r"|\s*\{[#.-][^{}]*\}\s*$"  # Pandoc's "header_attributes"
)
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Document:
    """``path`` is below the home, decoded. ``picture``: a PNG image, the first that the document shows; or None."""

    path: str
    title: str = ""
    picture: bytes | None = field(default=None, repr=False)


def names_document(path: str) -> bool:
    """Return True for the path of a file that people open as a document: none below a hidden directory."""
    return path.endswith(SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


def is_document(path: str) -> bool:
    """Return True for a document whose name can be shown."""
    return names_document(path) and path.isprintable()


def read(path: str, content: bytes) -> Document:
    """Return a document with what its content tells."""
    if not path.endswith(".ipynb"):
        return Document(path, _title(content[:_MOST_HEAD].decode("utf-8-sig", "replace")))
    try:
        cells = list(_cells(json.loads(content.decode("utf-8-sig", "replace"))))
    except (ValueError, RecursionError):
        return Document(path)
    texts = (_text(cell.get("source")) for cell in cells if cell.get("cell_type") in ("markdown", "heading"))
    lines = islice(chain.from_iterable(_lines(text[:_MOST_HEAD]) for text in texts if text), _MOST_LINES)
    outputs = islice(chain.from_iterable(map(_outputs, cells)), _MOST_OUTPUTS)
    return Document(path, _first_heading(lines), next(filter(None, map(_picture, outputs)), None))


class Collection:
    """Collects the documents of one image, within bounds; those that come first keep their pictures."""

    def __init__(self) -> None:
        self._found: dict[str, Document] = {}
        self._room = MOST_PICTURES

    def takes(self, path: str) -> bool:
        """Return True if a file at this path would be collected."""
        return is_document(path) and (path in self._found or len(self._found) < MOST_DOCUMENTS)

    def add(self, path: str, content: bytes | None) -> None:
        """Collect a document, in place of an earlier one at its path. ``content``: None if it is too large to read."""
        document = Document(path) if content is None else read(path, content)
        earlier = self._found.pop(path, None)
        self._room += 0 if earlier is None else _picture_size(earlier)
        if _picture_size(document) > self._room:
            document = replace(document, picture=None)
        self._room -= _picture_size(document)
        self._found[path] = document

    def by_path(self) -> tuple[Document, ...]:
        return tuple(document for _, document in sorted(self._found.items()))


def _picture_size(document: Document) -> int:
    return len(document.picture or b"")


def below(directory: Path) -> tuple[Document, ...]:
    """Return the documents below a directory, by path. Blocks. Raises OSError."""
    found = (file for file in directory.rglob("*") if is_document(str(file.relative_to(directory))) and file.is_file())
    collection = Collection()
    for file in sorted(islice(found, MOST_DOCUMENTS)):
        content = file.read_bytes() if file.stat().st_size <= MOST_BYTES else None
        collection.add(str(file.relative_to(directory)), content)
    return collection.by_path()


def is_complete(documents: Sequence[Document]) -> bool:
    """Return True if these are all documents: with none, nothing is known, and no more than so many are kept."""
    return 0 < len(documents) < MOST_DOCUMENTS


def beneath(documents: Iterable[Document], directory: str) -> tuple[Document, ...]:
    """Return the documents below a directory of the home, with paths from there; all of them for an empty one."""
    start = f"{directory}/" if directory else ""
    return tuple(replace(each, path=each.path.removeprefix(start)) for each in documents if each.path.startswith(start))


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


def _title(text: str) -> str:
    """Return the title in the front matter of a text, else its first heading."""
    lines = _lines(text)[:_MOST_LINES]
    end = 0
    if lines and lines[0].rstrip() == _FRONT:
        end = next((index for index, line in enumerate(lines[1:], 1) if line.rstrip() in _FRONT_ENDS), 0)
    return next(filter(None, map(_front_title, lines[1:end])), "") or _first_heading(lines[end:])


def _front_title(line: str) -> str:
    """Return the title if a line of front matter, in YAML, has it."""
    name, _, value = line.partition(":")
    value = value.strip()
    if name != "title" or value.startswith(_BLOCK_MARKS):
        return ""
    is_quoted = value[:1] in ("'", '"') and value[:1] == value[-1:]
    return _plain(value[1:-1] if is_quoted else value)


def _lines(text: str) -> list[str]:
    return [*io.StringIO(text, newline=None)]  # not splitlines, which knows more ends of lines than Markdown


def _first_heading(lines: Iterable[str]) -> str:
    return next(filter(None, map(_heading_in, lines)), "")


def _heading_in(line: str) -> str:
    """Return the text of an ATX heading; empty if the line is none."""
    marked = line.lstrip(" ")
    text = marked.lstrip("#")
    is_heading = len(line) - len(marked) <= _HEADING_INDENT and len(marked) - len(text) in _HEADING_LEVELS
    if not is_heading or text[:1] not in (" ", "\t"):
        return ""
    text = text.strip()
    open_text = text.rstrip("#")
    return _plain(open_text if not open_text or open_text[-1] in (" ", "\t") else text)


def _plain(text: str) -> str:
    """Return a heading without Markdown's marks and control characters."""
    shown = text[: 2 * _MOST_TITLE]
    for _ in range(2):  # a picture may be in a link
        shown = _LINK.sub(r"\1", shown)
    shown = html.unescape(_MARKS.sub(lambda found: found[1] or found[2] or "", shown))
    return "".join(char for char in shown if char.isprintable()).strip()[:_MOST_TITLE]


def _outputs(cell: dict[str, Any]) -> list[Any]:
    outputs = cell.get("outputs")
    return outputs if isinstance(outputs, list) else []


def _picture(output: object) -> bytes | None:
    """Return the PNG image that is a cell's output."""
    data = output.get("data", output) if isinstance(output, dict) else {}
    encoded = _text(data.get("image/png", data.get("png"))) if isinstance(data, dict) else ""
    if not 0 < len(encoded) <= _MOST_PICTURE * 4 // 3:
        return None
    try:
        found = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if found.startswith(_PNG) else None
