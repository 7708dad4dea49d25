"""Reads the home out of an image's archive, and writes an archive that a notebook unpacks as another UID.

Its functions block: call them in a thread. The engine reads an image as root, so the modes of its files are no obstacle
here. Only what the image's own user could not read is left out, and named. The new archive belongs to nobody: each file
gets the UID that unpacks it.
"""

import io
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, BinaryIO

from tmppool.backends.home_paths import Copies, Tree
from tmppool.image_documents import MOST_BYTES, Collection, Document

_PAGE = 4096  # bytes; a tmpfs stores files in pages (tmpfs(5))
_CHUNK = 1 << 16
_READ, _ENTER = 4, 5  # permission bits to read a file, and to list and enter a directory
_ROOT = 0
_UNREADABLE = "the image's user cannot read it"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the image, as its /etc/passwd and /etc/group have it; ``home`` is empty if unknown."""

    uid: int
    gid: int
    home: str = ""
    groups: tuple[int, ...] = ()  # besides ``gid``


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or directory of the image that notebooks do not get, and why."""

    path: str
    mode: int
    why: str

    def __str__(self) -> str:
        return f"{self.path!r} (mode {self.mode:04o}, {self.why})"


@dataclass(frozen=True, slots=True)
class Survey:
    """The contents of an archive: bytes and inodes that it takes in a tmpfs, and what was left out."""

    size: int = 0
    inodes: int = 1  # the home itself
    left_out: tuple[LeftOut, ...] = ()
    documents: tuple[Document, ...] = ()  # sorted by path


def account_of(user: str, passwd: str, group: str = "") -> Account | None:
    """Return the account that ``user`` (Config.User: name or UID, with or without a group) names; None if unknown.

    As in the engine, a name comes before a number, no user is root, a number needs no line in ``passwd`` and ``group``
    (/etc/passwd and /etc/group), and a user who is given with a group has no further ones.
    """
    name, _, wanted = user.partition(":")
    name = name or str(_ROOT)
    own, account = _account(name, passwd) or ("", Account(int(name), _ROOT) if name.isdecimal() else None)
    if account is None:
        return None
    groups = [parts for parts in _entries(group, 4) if parts[2].isdecimal()]
    if not wanted:
        own_groups = tuple(int(parts[2]) for parts in groups if own and own in parts[3].split(","))
        return replace(account, groups=own_groups)
    named = next((parts[2] for parts in groups if parts[0] == wanted), wanted)
    return replace(account, gid=int(named)) if named.isdecimal() else account


def _account(wanted: str, passwd: str) -> tuple[str, Account] | None:
    """Return the name and the account of a user of ``passwd``."""
    entries = [parts for parts in _entries(passwd, 6) if parts[2].isdecimal() and parts[3].isdecimal()]
    for column in (0, 2):
        for parts in entries:
            if parts[column] == wanted:
                return parts[0], Account(int(parts[2]), int(parts[3]), parts[5])
    return None


def _entries(text: str, fields: int) -> list[list[str]]:
    """Return the lines of /etc/passwd or /etc/group, divided, that have as many fields."""
    lines = (line.split(":") for line in text.splitlines())
    return [parts for parts in lines if len(parts) >= fields]


class Repacker:
    """Copies archives of directories into one archive of their contents."""

    def __init__(
        self,
        out: BinaryIO,
        copies: Copies,
        most: int,
        user: Account | None = None,
        *,
        hidden: Iterable[str] = (),
        mounted: Iterable[str] = (),
    ) -> None:
        """Write to ``out``.

        ``copies``: all directories that will be copied, and where in a notebook. Once the contents take more than
        ``most`` bytes in a tmpfs, nothing more is written; counting goes on. ``user``: the image's own, None if
        unknown; it, or the directory's owner, must be able to read what is copied. ``hidden``: paths in a notebook's
        home at which something else is mounted; nothing is copied to them. ``mounted``: those of its mounts that get
        their part of the copy.
        """
        self._hidden, self._mounted = frozenset(hidden), frozenset(mounted)
        self._tar = tarfile.TarFile(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape")
        self._user, self._copies, self._most = user, copies, most
        self._size, self._inodes = 0, 1  # the home itself is an inode
        self._left_out: list[LeftOut] = []
        self._documents = Collection()
        self._kinds: dict[str, bytes] = {}  # of what was copied, by name
        self._late: dict[str, tarfile.TarInfo] = {}  # read-only directories, whose modes are set last
        # Of the directory that is being copied:
        self._tree = Tree("", "")
        self._readers: tuple[Account, ...] = ()
        self._closed: set[str] = set()  # what was left out, or is hidden

    def add(self, stream: BinaryIO, tree: Tree) -> None:
        """Copy the contents of a directory from the engine's archive of ``tree.name/.``. Raises TarError; OSError."""
        self._tree, self._readers, self._closed = tree, (), set(self._hidden)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK, errors="surrogateescape") as source:
            for member in source:
                name = posixpath.normpath(member.name)
                if name == ".":
                    self._begin(member)
                elif not self._closed.intersection((name, *_parents(name))):
                    self._add(source, member, name)

    def close(self) -> Survey:
        """Finish the archive."""
        for member in self._late.values():
            self._tar.addfile(member)
        self._tar.close()
        return Survey(self._size, self._inodes, tuple(self._left_out), self._documents.by_path())

    def _begin(self, root: tarfile.TarInfo) -> None:
        owner = Account(root.uid, root.gid)
        user = self._user or owner
        # Root reads everything: what it owns is no reason to show it, unless the image itself runs as root.
        self._readers = tuple(reader for reader in {user, owner} if reader.uid != _ROOT or reader == user)
        if not self._may(root):
            self._leave_out(".", root, _UNREADABLE)

    def _add(self, source: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        why = self._obstacle(member, name)
        if why:
            self._leave_out(name, member, why)
            return
        self._size += -(-member.size // _PAGE) * _PAGE if member.isreg() else 0
        self._inodes += name not in self._kinds
        self._kinds[name] = member.type
        if self._size <= self._most:
            content = source.extractfile(member) if member.isreg() else None
            if content is not None and self._documents.takes(name):
                content = self._note_document(content, member, name)
            self._tar.addfile(self._made(member, name), content)

    def _note_document(self, content: IO[bytes], member: tarfile.TarInfo, name: str) -> IO[bytes]:
        """Note a document; returns its content anew, as an archive is read once."""
        if member.size > MOST_BYTES:
            self._documents.add(name, None)
            return content
        whole = content.read()
        self._documents.add(name, whole)
        return io.BytesIO(whole)

    def _obstacle(self, member: tarfile.TarInfo, name: str) -> str:
        """Return why a notebook does not get this; empty if it does."""
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk() or member.isfifo()):
            return "a device"
        if not member.issym() and not self._may(member):
            return _UNREADABLE
        if member.islnk() and posixpath.normpath(member.linkname) not in self._kinds:
            return f"a hard link to {member.linkname!r}, which is left out"
        if member.islnk() and self._mount(name) != self._mount(posixpath.normpath(member.linkname)):
            return f"a hard link to {member.linkname!r}, from one VOLUME to another"
        if name in self._kinds and (self._kinds[name] == tarfile.DIRTYPE) != member.isdir():
            return "the home has something else of that name"
        return ""

    def _mount(self, name: str) -> frozenset[str]:
        return self._mounted.intersection((name, *_parents(name)))

    def _leave_out(self, name: str, member: tarfile.TarInfo, why: str) -> None:
        self._closed.add(name)
        path = posixpath.normpath(posixpath.join(self._tree.name, name))
        self._left_out.append(LeftOut(path, member.mode & 0o7777, why))

    def _made(self, member: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
        """Return the member that is written; its owner, who unpacks it, can read it."""
        made = tarfile.TarInfo(name)
        made.type, made.size = member.type, member.size
        made.linkname = self._linked(member, name)
        made.mode = member.mode & 0o7777 | (0o500 if member.isdir() else 0o400)
        if member.isdir() and not made.mode & 0o200:
            late = self._late[name] = tarfile.TarInfo(name)
            late.type, late.mode = made.type, made.mode
            made.mode |= 0o200
        return made

    def _linked(self, member: tarfile.TarInfo, name: str) -> str:
        if member.issym():
            return self._copies.link(member.linkname, name, self._tree)
        return posixpath.normpath(member.linkname) if member.islnk() else ""

    def _may(self, member: tarfile.TarInfo) -> bool:
        wanted = _ENTER if member.isdir() else _READ
        return any(_granted(member, reader) & wanted == wanted for reader in self._readers)


def wrapped(name: str, archive: BinaryIO, out: BinaryIO) -> None:
    """Write to ``out`` an archive with one file that everybody may read: ``archive``, called ``name``."""
    archive.seek(0, 2)
    member = tarfile.TarInfo(name)
    member.size, member.mode = archive.tell(), 0o444
    archive.seek(0)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(member, archive)
    out.seek(0)


def _granted(member: tarfile.TarInfo, reader: Account) -> int:
    """Return the permission bits that the kernel would grant (path_resolution(7)), without ACLs."""
    if reader.uid == _ROOT:
        return 7
    if reader.uid == member.uid:
        return member.mode >> 6 & 7
    return member.mode >> 3 & 7 if member.gid in (reader.gid, *reader.groups) else member.mode & 7


def _parents(name: str) -> Iterator[str]:
    yield "."
    while name := posixpath.dirname(name):
        yield name
