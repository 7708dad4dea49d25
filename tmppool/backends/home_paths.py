"""Decides where notebooks have the copy of an image's home, and leads the image's paths to the copies; pure.

Paths in links and variables are resolved by their text: whether a directory in the middle of one is a link is not known
here.
"""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tmppool.backends.container_limits import SEED, TMP

_WORDS = "bin sbin lib lib32 lib64 libx32"
_SYSTEM = (
    *(f"{above}/{name}" for above in ("", "/usr") for name in _WORDS.split()),
    *("/boot", "/dev", "/etc", "/gnu", "/nix", "/proc", "/sys", TMP, SEED),
)
"""Directories with what a container needs before its home is there, or with mounts of the engine or of ours."""
_OTHERS_ENTER = 0o001
_PLAIN = re.compile(r"[A-Za-z0-9@%+=._/-]+")


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory of an image that is copied: its name there, and its path without symbolic links."""

    name: str
    real: str


@dataclass(frozen=True, slots=True)
class Found:
    """A path as it was given, the same without symbolic links, and the modes of the directories above that."""

    given: str
    real: str
    above: tuple[int, ...] = ()

    @property
    def tree(self) -> Tree:
        """The directory there, as one that is copied."""
        return Tree(self.given, self.real)


def obstacle(home: Found, volumes: Iterable[Found], binds: Iterable[Found]) -> str:
    """Return why notebooks cannot have their home at the path of the image's; empty if they can.

    ``volumes``: what the image declares as VOLUME; the home may be one, or lie in one. ``binds``: where the operator
    mounts directories. Either may lie directly in the home, but no deeper: the engine makes the directories above a
    mount point, and they belong to root.
    """
    system = next((path for path in _SYSTEM if _meet(path, home.real)), None)
    if system is not None:
        return f"{system} is the system's"
    if not _PLAIN.fullmatch(home.real):
        return "there are blanks or special characters in its path, which mounts of some runtimes do not take"
    if not all(mode & _OTHERS_ENTER for mode in home.above):
        return "not everybody may enter the directory in which it lies"
    named = [(f"VOLUME {each.given}", each, is_below(home.real, each.real)) for each in volumes]
    named += [(f"{each.given} of --host-directories", each, False) for each in binds]
    for name, each, is_about in named:
        is_plain = each.given == each.real and (is_about or posixpath.dirname(each.real) == home.real)
        # The runtime follows a link at a mount point as it is in the image, and in the home it is not there yet.
        meets = any(_meet(path, own) for path in (each.given, each.real) for own in (home.given, home.real))
        if meets and not is_plain:
            return f"{name} is in its way, as it neither lies directly in it nor apart"
    return ""


def _meet(one: str, other: str) -> bool:
    return is_below(one, other) or is_below(other, one)


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

        ``name`` is the link's own, below ``tree``. A target that is right in the copy too stays as it is.
        """
        folder = posixpath.dirname(name)
        meant = normal(posixpath.join(tree.real, folder, target))
        wanted = self.moved(meant) or meant
        place = self.moved(tree.real) or tree.real
        return target if normal(posixpath.join(place, folder, target)) == wanted else wanted


def normal(path: str) -> str:
    """Return an absolute path in its shortest spelling, with one slash at the start."""
    return "/" + posixpath.normpath(path).lstrip("/")


def is_below(path: str, tree: str) -> bool:
    """Return True if ``path`` is ``tree`` or lies in it; both are in their shortest spelling."""
    return path == tree or path.startswith(f"{tree.rstrip('/')}/")
