"""Leads paths of an image that name a copied directory, in its links and its variables, to the copy; pure.

Paths are resolved by their text: whether a directory in the middle of one is a link is not known here.
"""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory of an image that is copied: its name there, and its path without symbolic links."""

    name: str
    real: str


class Copies:
    """The copied directories of an image, each with its place in a notebook."""

    def __init__(self, places: Iterable[tuple[Tree, str]]) -> None:
        found = {name: place for tree, place in places for name in (tree.name, tree.real)}
        self._places = sorted(found.items(), key=lambda each: len(each[0]), reverse=True)  # the innermost first

    def moved(self, path: str) -> str | None:
        """Return what an absolute path is in the copy; None if it leads elsewhere."""
        plain = normal(path)
        for name, place in self._places:
            if is_below(plain, name):
                return place + plain.removeprefix(name)
        return None

    def link(self, target: str, name: str, tree: Tree) -> str:
        """Return the target that leads the copy of a link where the link leads in the image.

        ``name`` is the link's own, below ``tree``. The copy lies elsewhere, so that only a relative target that never
        leaves the tree is right there too.
        """
        folder = posixpath.dirname(name)
        if target.startswith("/"):
            return self.moved(target) or target
        if not _leaves(folder, target):
            return target
        meant = normal(posixpath.join(tree.real, folder, target))
        return self.moved(meant) or meant


def normal(path: str) -> str:
    """Return an absolute path in its shortest spelling, with one slash at the start."""
    return "/" + posixpath.normpath(path).lstrip("/")


def is_below(path: str, tree: str) -> bool:
    """Return True if ``path`` is ``tree`` or lies in it; both are in their shortest spelling."""
    return path == tree or path.startswith(f"{tree.rstrip('/')}/")


def _leaves(folder: str, target: str) -> bool:
    """Return True if a relative target in this folder of a tree leads out of the tree, if only in between."""
    depth = len(folder.split("/")) if folder else 0
    for part in target.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return True
    return False
