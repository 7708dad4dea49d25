"""Finds documents among those of one image.

Visitors and page authors may ask for any name at any time, so the work for one question is bounded: what is the same
for all is computed once, when the index is made, and of a long name or text only a part counts.

Names are compared by the pairs of letters that they share (Sørensen-Dice coefficient), which needs no look at each
document.
"""

import posixpath
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain

from tmppool.image_documents import Document, is_complete, names_document

_MOST_SHOWN = 5
_ALIKE = 0.4  # of 1: one wrong letter in a name of five
_MOST_LETTERS = 100  # of a name that are compared
_MOST_COUNTED = 10_000  # pairs of letters of documents that are counted for one name
_MOST_COMPARED = 50  # names
_MOST_TEXT = 2000  # characters of a text that are looked at
_MOST_WORDS = 8
_MOST_FOLDERS = 32  # one in the other, that are known
_BEGINNINGS = ("index", "welcome", "readme", "intro", "introduction", "start", "getting-started", "tutorial")


class DocumentIndex:
    """``documents`` are sorted by path; none if they are not known. ``may_grow``: a notebook may have more of them."""

    def __init__(self, documents: Sequence[Document], *, may_grow: bool = False) -> None:
        self.documents = tuple(documents)
        self.is_complete = is_complete(documents) and not may_grow
        self.by_path: Mapping[str, Document] = {each.path: each for each in documents}
        self._paths = sorted(self.by_path)
        self._folders = {folder for path in self.by_path for folder in _folders(path)}
        self._texts = [(f"{each.path} {each.title}".casefold(), each) for each in documents]
        self._by_stem: dict[str, list[str]] = {}
        for path in self.by_path:
            self._by_stem.setdefault(_stem(path), []).append(path)
        self._stems = [(stem, _pairs(stem)) for stem in self._by_stem]
        self._holders: dict[str, list[int]] = {}
        for number, (_, pairs) in enumerate(self._stems):
            for pair in pairs:
                self._holders.setdefault(pair, []).append(number)

    @cached_property
    def beginning(self) -> str:
        """The path of the document to begin with: one that is named so, else the outermost; empty without any."""
        return min(self.by_path, key=_lateness, default="")

    def title(self, path: str) -> str:
        """Return the title of a document; empty if it has none, or is not there."""
        found = self.by_path.get(path)
        return "" if found is None else found.title

    def has(self, path: str) -> bool:
        """Return True if this is a document, or a directory with documents below it."""
        start = f"{path}/"
        after = bisect_left(self._paths, start)
        return path in self.by_path or any(each.startswith(start) for each in self._paths[after : after + 1])

    def lacks(self, path: str) -> bool:
        """Return True if this is a document's path, and there is certain to be none."""
        return self.is_complete and names_document(path) and path not in self.by_path

    def having(self, text: str) -> Sequence[Document]:
        """Return the documents that have all words of the text in path or title; of many words the longest count."""
        words = dict.fromkeys(text[:_MOST_TEXT].casefold().split())
        found = self._texts
        for word in sorted(words, key=len, reverse=True)[:_MOST_WORDS]:
            found = [each for each in found if word in each[0]]
        return [document for _, document in found]

    def near(self, path: str) -> list[str]:
        """Return the paths of the few documents whose names are most like this one's, the best first."""
        wanted = _stem(path)
        pairs = _pairs(wanted)
        compared = [(_likeness(pairs, known), stem) for stem, known in self._sharing(pairs)]
        like = sorted((-likeness, stem) for likeness, stem in compared if likeness >= _ALIKE)
        stems = dict.fromkeys([wanted, *(stem for _, stem in like)])
        return list(chain.from_iterable(self._of_stem(stem, posixpath.dirname(path)) for stem in stems))[:_MOST_SHOWN]

    def nearest_folder(self, path: str) -> str:
        """Return the innermost folder on the way to ``path`` that has documents; empty for the home."""
        return next((folder for folder in reversed(_folders(path)) if folder in self._folders), "")

    def _of_stem(self, stem: str, folder: str) -> list[str]:
        """Return the paths of a few documents with this name, those of one folder first."""
        return sorted(self._by_stem.get(stem, []), key=lambda each: posixpath.dirname(each) != folder)[:_MOST_SHOWN]

    def _sharing(self, pairs: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
        """Return the few names that share most of these pairs; the rarest pairs are counted first, and tell most."""
        shared, left = Counter[int](), _MOST_COUNTED
        for holders in sorted((self._holders.get(pair, []) for pair in pairs), key=len):
            left -= len(holders)
            if left < 0:
                break
            shared.update(holders)
        return [self._stems[number] for number, _ in shared.most_common(_MOST_COMPARED)]


def _lateness(path: str) -> tuple[bool, int, int, str]:
    stem = _stem(path).replace("_", "-")
    rank = _BEGINNINGS.index(stem) if stem in _BEGINNINGS else len(_BEGINNINGS)
    return rank == len(_BEGINNINGS), path.count("/"), rank, path


def _folders(path: str) -> list[str]:
    """Return the folders on the way to a path, the outermost first, as far as they count."""
    return list(accumulate(path.split("/", _MOST_FOLDERS)[:-1], posixpath.join))


def _stem(path: str) -> str:
    """Return the start of a document's name without its folder and suffix, which make any two look alike."""
    return posixpath.splitext(posixpath.basename(path))[0][:_MOST_LETTERS].lower()


def _pairs(stem: str) -> frozenset[str]:
    """Return the pairs of neighbouring letters; the first and the last letter are pairs with a blank."""
    return frozenset(map("".join, zip(f" {stem}", f"{stem} ", strict=True))) if stem else frozenset()


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Sørensen-Dice coefficient of two sets, of which none is empty."""
    return 2 * len(one & other) / (len(one) + len(other))
