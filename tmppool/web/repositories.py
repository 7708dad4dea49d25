"""The table of repositories: which pool has a repository's files, and where in its notebooks they are. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import quote, unquote

from tmppool import jupyter_urls
from tmppool.errors import TmppoolError
from tmppool.web import links, peer_links
from tmppool.web.peer_links import PeerLink, PeerLinkError, Repository

ANY = Repository("gh/org/repo")
"""Stands for a repository that is in no row by name."""

_BARE = re.compile(r"(|lab(?:/workspaces/[^/]+)?)/?")  # pages that open a directory by another name
_WILD = re.compile(r"[*?\[]")
_HOST = re.compile(r"[^/]+://[^/]+/")
_IN_TWO_PARTS = ("gh", "gist")


class UnknownRepositoryError(TmppoolError):
    """The repository is in no row of the table, and the settings refuse such."""


@dataclass(frozen=True, slots=True)
class Row:
    """``pattern`` matches names such as ``gh/org/repo``; in it, ``*`` is any text and ``?`` any character.

    ``pool``: None for the default pool. ``directory``: where in a notebook's home the files are; empty for the home
    itself. ``prefix``: the directory of the repository that is there; empty if all of it is. Both are relative.
    """

    pattern: str
    pool: str | None = None
    directory: str = ""
    prefix: str = ""


class Place(NamedTuple):
    """A pool, and the raw path and query below its notebooks."""

    pool: str | None
    path: str


@dataclass(frozen=True, slots=True)
class Repositories:
    """The first row whose pattern matches counts. ``refuses_others``: what is in no row is refused."""

    rows: Sequence[Row] = ()
    refuses_others: bool = False

    def place(self, link: PeerLink) -> Place:
        """Return where a link leads. Raises UnknownRepositoryError."""
        if link.repository is None:
            return Place(None, link.path)
        row = self._find(link.repository)
        if link.content is None or link.content == link.repository:
            content, otherwise = row, link.pull or link.path
        else:  # one repository is the environment, another the content
            content, otherwise = self._find(link.content, is_required=False), link.pull or link.path
        pool = None if row is None else row.pool
        return Place(pool, otherwise if content is None else _within(content, link.path))

    def examples(self, pool: str | None) -> Iterator[Repository]:
        """Yield repositories whose links lead to the pool: those that the table names, and ``ANY``."""
        named = (Repository(row.pattern.lower()) for row in self.rows if not _WILD.search(row.pattern))
        yield from (each for each in (*named, ANY) if self._leads_to(each, pool))

    def _leads_to(self, repository: Repository, pool: str | None) -> bool:
        try:
            return self.place(PeerLink(repository)).pool == pool
        except UnknownRepositoryError:
            return False

    def _find(self, repository: Repository, *, is_required: bool = True) -> Row | None:
        found = next((row for row in self.rows if fnmatchcase(repository.name, row.pattern.lower())), None)
        if found is None and is_required and self.refuses_others:
            raise UnknownRepositoryError(f"This service has no notebooks for the repository {repository.name[:100]}.")
        return found


def unmatched(pattern: str) -> str:
    """Return why no link matches a pattern, as the end of a sentence; empty if one may.

    Of a pattern that stands for several repositories, what comes before the first ``*``, ``?`` or ``[`` is looked at.
    """
    literal, *wild = _WILD.split(pattern.lower(), maxsplit=1)
    provider, _, spec = literal.partition("/")
    if provider in _IN_TWO_PARTS and pattern.count("/") > 2:  # noqa: PLR2004 - one slash behind the provider, one behind the organisation
        return f"a name of {provider}/ has two parts, as in {provider}/org/repo, and no ref"
    if wild and not (provider == "git" and _HOST.match(spec)):
        return ""
    spec += "x" * len(wild)
    try:
        name = peer_links.repository_of(provider, quote(spec, safe="")).name
    except PeerLinkError as error:
        return str(error)
    if name == f"{provider}/{spec}":
        return ""
    return f"links call these repositories {name[:-1]}…" if wild else f"links call this repository {name}"


def launch_link(place: Place) -> str:
    """Return the launch link of ours that leads there."""
    is_landing = place.path[:1] in ("", "?")
    link = jupyter_urls.deep_link(place.path) or (f"/{place.path}" if is_landing else f"/spawn/{place.path}")
    return link if place.pool is None else links.with_query(link, f"pool={place.pool}")


def _within(row: Row, path: str) -> str:
    """Return the path of a page on a file of the repository as one on the same file in the home.

    A page that names no file opens the directory of the repository, if that is not the home.
    """
    found = jupyter_urls.split_page(_with_tree(path) if row.directory.strip("/") else path)
    if found is None:
        return path
    page, rest = found
    file, mark, query = rest.partition("?")
    below = _below(row.prefix.strip("/"), file)
    place = "/".join(part for part in (page, quote(row.directory.strip("/")), below) if part)
    return place + mark + query


def _with_tree(path: str) -> str:
    """Return the page that shows a directory or a document, for the landing and for applications without one."""
    place, mark, query = path.partition("?")
    bare = _BARE.fullmatch(place)
    return links.with_tree(f"/{path}")[1:] if bare is None else f"{bare[1] and f'{bare[1]}/'}tree{mark}{query}"


def _below(prefix: str, file: str) -> str:
    """Return the raw path of a file below ``prefix``, a decoded one; the same path if it is not there."""
    before, parts = prefix.split("/"), file.split("/")
    is_there = [*map(unquote, parts[: len(before)])] == before  # decoded: what is escaped differs by who wrote the link
    return "/".join(parts[len(before) :]) if is_there else file
