"""Judges links by what the service has told of itself. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

from tmppool import jupyter_urls
from tmppool.check_links.text import Link, Use
from tmppool.document_index import DocumentIndex
from tmppool.image_documents import Document, names_document
from tmppool.proxy.target import MAX_TARGET, correct, is_accepted
from tmppool.web import hosts, links, peer_links

_OURS = ("pool", "code")
_BINDERS = ("urlpath", "labpath", "filepath", "code")
_PULLS = (
    "repo", "branch", "urlpath", "urlPath", "subpath", "subPath", "targetpath", "targetPath", "path", "app", "depth",
    "backup", "account",
)  # fmt: skip
_ALIKE = 0.85  # of 1, by difflib: a letter too many or too few in names of four letters
_NAME_LENGTHS = range(3, 21)  # of a parameter that may be misspelt
_MOST_NAMES = 50  # of one link that are looked at
_MOST_NEAR = 500  # missing documents for which near names are looked for
_MOST_SHOWN = 3  # of them

_NOTEBOOK = re.compile(r"/(?:user|session)/[^/?]+/?(.*)")
_OF_REPOSITORIES = re.compile(
    r"/(?:v2|build|github|repo)/|/(?:hub/)?user-redirect/(?:.*/)?(?:git-pull|git-sync|interact)/?\Z"
)
_BEHIND_FRAGMENT = re.compile(r"[?&](?:pool|code|urlpath|labpath|filepath)=")


class Subject(StrEnum):
    """The part of a link that a finding is about."""

    DOCUMENT = "document"
    POOL = "pool"
    PARAMETER = "parameter"
    ADDRESS = "address"
    EMBEDDING = "embedding"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Finding:
    """``message`` is one sentence. What could not be judged is no problem."""

    link: Link
    subject: Subject
    message: str
    near: tuple[str, ...] = ()

    @property
    def is_problem(self) -> bool:
        return self.subject is not Subject.UNJUDGED


@dataclass(frozen=True, slots=True)
class Answer:
    """The service's answer to a GET of a link."""

    status: int
    location: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that one service told.

    ``documents`` by pool, the default one first; None for a pool whose list has gaps. ``answers`` by what ``question``
    returned. ``sites``: whether pages of each site's origin may embed. ``has_pages``: False for a service that is for
    programs only.
    """

    documents: Mapping[str, Sequence[Document] | None]
    answers: Mapping[str, Answer] = field(default_factory=dict)
    sites: Mapping[str, bool] = field(default_factory=dict)
    has_pages: bool = True

    @property
    def default_pool(self) -> str:
        return next(iter(self.documents))


def question(link: Link) -> str | None:
    """Return the path and query that the service must be asked for, as it alone knows where the link leads."""
    target = _corrected(link.target)
    if link.is_made or not link.has_scheme or len(target) > MAX_TARGET:
        return None
    if _is_launch(target) or _NOTEBOOK.match(target):
        return None
    return re.sub("^/build/", "/v2/", target)  # the same repository, without an event stream


class Judge:
    """``facts`` by service. Near names are looked for once for each document."""

    def __init__(self, facts: Mapping[str, Facts]) -> None:
        self._facts = facts
        self._near: dict[tuple[str, str, str], tuple[str, ...]] = {}
        self._known = {
            (service, pool): DocumentIndex(known)
            for service, each in facts.items()
            for pool, known in each.documents.items()
            if known is not None
        }

    def judge(self, link: Link) -> Iterator[Finding]:
        """Yield what is wrong with a link, and what could not be judged."""
        facts = self._facts[link.service]
        if not link.has_scheme:
            told = "this is a link into the site itself, as it does not begin with https://"
            yield Finding(link, Subject.ADDRESS, told)
            return
        if link.has_user:
            told = "everybody can read a name or password in a link, and browsers show no frame with one: leave it out"
            yield Finding(link, Subject.ADDRESS, told)
        if link.use is not Use.LINK:
            yield from _embedding(link, facts)
        if link.is_made:
            yield _unjudged(link, "a template makes this link: check the built pages")
        elif len(link.target) > MAX_TARGET:
            yield Finding(link, Subject.ADDRESS, f"the link is longer than {MAX_TARGET} bytes")
        else:
            yield from _parameters(link)
            yield from self._place(link, facts)

    def _place(self, link: Link, facts: Facts) -> Iterator[Finding]:
        inside = _NOTEBOOK.match(link.target)
        if inside is not None:
            instead = jupyter_urls.deep_link(inside[1]) or "/"
            told = (
                f"the link leads into one visitor's notebook, which ends and which nobody else can open; use {instead}"
            )
            yield Finding(link, Subject.ADDRESS, told)
            return
        asked = question(link)
        if asked is None:
            yield from self._launch(link, _corrected(link.target), facts)
            return
        answer = facts.answers.get(asked)
        if answer is None:
            yield _unjudged(link, "too many different links to ask the service for")
        elif 300 <= answer.status < 400:  # noqa: PLR2004
            if _is_launch(answer.location):
                yield from self._launch(link, answer.location, facts)
        elif answer.status in (429, *range(500, 600)):
            yield _unjudged(link, f"the service answered {answer.status}")
        elif answer.status not in (*range(200, 300), 405):  # 405: an address to which programs send something
            yield Finding(link, Subject.ADDRESS, f"the service says: {answer.message or answer.status}")

    def _launch(self, link: Link, target: str, facts: Facts) -> Iterator[Finding]:
        """Judge a launch link's pool and document."""
        if not facts.has_pages:
            told = "the service has no launch pages, as its operator has set API_AUTH_TOKEN"
            yield Finding(link, Subject.ADDRESS, told)
            return
        named = links.pool_of(target)
        pool = facts.default_pool if named is None else named
        if pool not in facts.documents:
            alike = tuple(get_close_matches(pool, facts.documents, 3))
            yield Finding(link, Subject.POOL, _meaning(f"the service has no pool {pool!r}", alike), alike)
            return
        name = _document(links.with_tree(links.target_of(target, "/")))
        known = facts.documents[pool]
        if name is None:
            return
        if known is None:
            yield _unjudged(link, f"the service does not know all documents of the pool {pool!r}")
        elif name not in self._known[link.service, pool].by_path:
            told = f"there is no document {name!r}" if named is None else f"the pool {pool!r} has no document {name!r}"
            yield self._missing(link, told, name, pool, facts)

    def _missing(self, link: Link, told: str, name: str, pool: str, facts: Facts) -> Finding:
        """Return the finding of a document that is not there, with where it is, or what is near."""
        others = [
            each
            for each, known in facts.documents.items()
            if known is not None and name in self._known[link.service, each].by_path
        ]
        if others:
            return Finding(link, Subject.DOCUMENT, f"{told}, but the pool {others[0]!r} has it")
        alike = self._alike(link.service, pool, name)
        return Finding(link, Subject.DOCUMENT, _meaning(told, alike), alike)

    def _alike(self, service: str, pool: str, name: str) -> tuple[str, ...]:
        key = (service, pool, name)
        if key not in self._near:
            if len(self._near) >= _MOST_NEAR:
                return ()
            self._near[key] = tuple(self._known[service, pool].near(name)[:_MOST_SHOWN])
        return self._near[key]


def _corrected(target: str) -> str:
    """Return the path and query to which the service redirects a browser whose link has them in another spelling."""
    raw = target.encode()
    meant = None if is_accepted(raw) else correct(raw)
    return peer_links.without_hub(target if meant is None else meant.decode())


def _is_launch(target: str) -> bool:
    """Return True for the path and query of a launch link in its proper spelling."""
    first = unquote(re.split("[/?]", target[1:], maxsplit=1)[0])
    return is_accepted(target.encode()) and first in ("", "spawn", *jupyter_urls.DEEP_LINKS)


def _document(path: str) -> str | None:
    """Return the decoded path of the document that a page at ``path`` opens; None for any other page."""
    name = jupyter_urls.file_of(path)
    return name if name is not None and names_document(name) else None


def _embedding(link: Link, facts: Facts) -> Iterator[Finding]:
    what = "show the service in frames" if link.use is Use.FRAME else "use the service by scripts"
    if not facts.sites:
        yield _unjudged(link, "--site does not say of which site the page is, so its embedding is not judged")
    for site, may in facts.sites.items():
        if not may:
            told = f"pages of {site} may not {what}: the operator lists it in --embed-origins"
            yield Finding(link, Subject.EMBEDDING, told)
        elif site.startswith("https:") and link.written.lower().startswith("http:") and not _is_local(link.service):
            yield Finding(link, Subject.EMBEDDING, f"browsers let no page of {site} embed what is at http://")


def _is_local(service: str) -> bool:
    """Return True for a service on the reader's own machine, which pages may embed by http (Mixed Content, 4.1)."""
    return hosts.is_this_machine(service.partition("://")[2])


def _parameters(link: Link) -> Iterator[Finding]:
    """Yield the parameters that have no effect, because they are misspelt or misplaced."""
    if _BEHIND_FRAGMENT.search(link.fragment):
        yield Finding(
            link, Subject.PARAMETER, "what stands behind # is not sent to the service: put the query before it"
        )
    path, _, query = _corrected(link.target).partition("?")
    known, is_binders = _known(path), path.startswith(("/v2/", "/build/"))
    names = [unquote_plus(pair.partition("=")[0]) for pair in query.split("&", _MOST_NAMES)[:_MOST_NAMES]]
    for name in dict.fromkeys(names):
        bare = name.removeprefix("amp;")
        meant = _meant(bare, known)
        if bare != name and bare in known and not (is_binders or bare in _OURS):  # which the service reads, too
            yield Finding(link, Subject.PARAMETER, f"the service gets {name!r} for {bare!r}: write & for &amp; here")
        elif bare == "pool" and _OF_REPOSITORIES.match(path):
            told = "the parameter 'pool' has no effect: the operator's table of repositories decides"
            yield Finding(link, Subject.PARAMETER, told)
        elif meant is not None and meant not in names:
            told = f"the parameter {name!r} has no effect; did you mean {meant!r}?"
            yield Finding(link, Subject.PARAMETER, told, (meant,))


def _known(path: str) -> tuple[str, ...]:
    """Return the parameters that the service, or nbgitpuller, reads in a link of this form; none for an app's link."""
    if path.startswith(("/v2/", "/build/")):
        return _BINDERS
    below = re.sub("^/(?:spawn|hub/user-redirect|user-redirect)(?=/|$)", "", path).lstrip("/")
    if below and jupyter_urls.deep_link(below) is None:
        return ()
    return (*_OURS, *_PULLS) if path.rstrip("/").endswith("git-pull") else _OURS


@lru_cache(4096)
def _meant(name: str, known: tuple[str, ...]) -> str | None:
    """Return the known parameter of which this name is a misspelling; None for a known one, and for any other."""
    if not known or name in known or len(name) not in _NAME_LENGTHS:
        return None
    plain = re.sub("[-_]", "", name.lower())
    for each in known:
        if sorted(plain) == sorted(each.lower()):
            return each
    best = max(known, key=lambda each: SequenceMatcher(None, plain, each).ratio())
    return best if SequenceMatcher(None, plain, best).ratio() >= _ALIKE else None


def _meaning(told: str, alike: Sequence[str]) -> str:
    return f"{told}; did you mean {' or '.join(map(repr, alike))}?" if alike else told


def _unjudged(link: Link, message: str) -> Finding:
    return Finding(link, Subject.UNJUDGED, message)
