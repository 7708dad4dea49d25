"""Links in the forms of Binder, JupyterHub, nbgitpuller and Colab: the repository and the path that each names. Pure.

Sources: BinderHub ("launch URLs"; ``js/packages/binderhub-client/lib/spec.js``), JupyterHub (``/hub/user-redirect``),
nbgitpuller ("URL options"), Colab (``/github/…``), and what Sphinx, Jupyter Book, MyST and sphinx-gallery write.
"""

import posixpath
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit

from tmppool import jupyter_urls
from tmppool.errors import TmppoolError
from tmppool.providers import ARCHIVES, PROVIDERS
from tmppool.proxy import target
from tmppool.web import hosts, links

_HOSTS = {"github.com": "gh", "gitlab.com": "gl", "gist.github.com": "gist"}
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_SCP = re.compile(r"^[\w.-]+@([\w.-]+):(?!/)")  # git@github.com:org/repo (git-clone, "GIT URLS")
_UNKNOWN_REF = frozenset({"", "undefined", "null", "HEAD"})  # a page's script writes the second and third for none
_SAFE = "/%:@!$&'()*+,;=~"  # in paths, besides letters, digits and -._
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PULLS = frozenset({"git-pull", "git-sync", "interact"})
_OPENED = {"labpath": "doc/tree/", "filepath": "tree/", "urlpath": ""}  # by precedence
# They say for whom to start, and with which options, which is nothing here; what they lead to counts.
_WAYS = re.compile(r"/hub/(?:login|spawn|lti/launch)(?=[/?]|$)")
_USERS = re.compile(r"^(?:/hub)?/user/.+?(?:/|(?=\?)|$)")
_BELOW_HUB = re.compile(
    r"/(?:services/)?binder(?:/|(?=\?|$))(?=(?:v2|repo|build|versions|health|badge\.svg|badge_logo\.svg)(?:[/?]|$)|\?|$)"
)
_ABSOLUTE = re.compile(r"([a-z]+://[^/?#\\]*)/?", re.IGNORECASE)
_SPAWN = re.compile(r"^spawn(?:/|(?=\?)|$)")
_MOST_NEXT = 4
_APPS = {"lab": "lab/tree/"}


class PeerLinkError(TmppoolError):
    """The link names nothing that can be opened; the message is a sentence for whoever follows it."""


@dataclass(frozen=True, slots=True)
class Repository:
    """``name``: the provider and what it calls the repository, in lower case, as in ``gh/org/repo``."""

    name: str
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class PeerLink:
    """``path``: raw path and query below a notebook, without a slash at its start; empty for the landing.

    The path is in ``content`` where that is another repository than the notebook's own ``repository``. ``pull``: the
    same for a notebook whose nbgitpuller fetches the content first; None if the link asks for none. ``fragment``: the
    part of the page to show, which no server needs, with its ``#``; empty without one.
    """

    repository: Repository | None
    path: str = ""
    content: Repository | None = None
    pull: str | None = None
    fragment: str = ""


def parse(raw: str, origin: str = "") -> PeerLink | None:
    """Return what a link's raw path and query name; None if it has none of these forms. Raises PeerLinkError.

    ``origin`` is the service's own, with which the page that is named as the next one may begin.
    """
    path, _, query = without_hub(raw).partition("?")
    if _WAYS.match(path):
        return _after(query, origin)
    first, _, rest = path.lstrip("/").partition("/")
    if first == "v2":
        return _binder(rest, _pairs(query))
    if first == "repo":
        return _short(rest, query)
    if first == "github":
        return _colab(rest)
    if first == "hub":
        first, _, rest = rest.partition("/")
    return _redirected(rest, query) if first == "user-redirect" else None


def without_hub(raw: str) -> str:
    """Return the raw path and query of an address of BinderHub's without the prefix that it has as a hub's service.

    Any other path and query is returned as it is.
    """
    found = _BELOW_HUB.match(raw)
    return raw if found is None else f"/{raw[found.end() :]}"


def is_restart(raw: str, origin: str) -> bool:
    """Return True for a link to ``/hub/spawn`` that does not say what to open, as JupyterLab's "Restart" opens it."""
    try:
        return raw.startswith("/hub/spawn") and parse(raw, origin) == PeerLink(None)
    except PeerLinkError:
        return False


def repository_of(provider: str, spec: str) -> Repository:
    """Return the repository that a provider and the raw rest of a path name. Raises PeerLinkError."""
    provider = unquote(provider)
    parts = [unquote(part) for part in spec.strip("/").split("/")]
    if not provider:
        raise PeerLinkError("the link names no repository")
    if provider not in PROVIDERS:
        raise PeerLinkError(f"{provider[:40]!r} is no provider of repositories; known are {', '.join(PROVIDERS)}")
    if provider in ARCHIVES:
        name, ref = "/".join(parts), ""
    elif provider == "git":
        name, ref = _url_and_ref(parts)
    elif "/" in parts[0]:  # org%2Frepo, and groups within groups
        name, ref = parts[0], "/".join(parts[1:])
    else:
        name, ref = "/".join(parts[:2]), "/".join(parts[2:])
    least = 1 if provider in (*ARCHIVES, "git") else 2
    if len([part for part in name.split("/") if part]) < least:
        raise PeerLinkError(f"the link names no repository after {provider}/")
    if provider == "git":
        return repository_at(name, ref)
    return Repository(f"{provider}/{_tidy(name)}", None if ref in _UNKNOWN_REF else ref)


def repository_at(url: str, ref: str = "") -> Repository:
    """Return the repository at a URL, under its provider's name if that is known. Raises PeerLinkError.

    Where it is not, each URL of one repository gives one name: the scheme is https, whatever it was, and there is no
    user and no port that is the scheme's own.
    """
    url = _SCP.sub(r"ssh://\1/", url, count=1)
    try:
        found = urlsplit(url if "://" in url else f"https://{url}")
        host = _host_of(found)
    except ValueError as error:
        raise PeerLinkError("the repository's URL cannot be read") from error
    path = found.path.strip("/")
    if not host or not path:
        raise PeerLinkError("the link names no repository")
    provider = _HOSTS.get(host.removeprefix("www."))
    name = f"git/https://{host}/{path}" if provider is None else f"{provider}/{path}"
    return Repository(_tidy(name), None if ref in _UNKNOWN_REF else ref)


def opened(path: str) -> str:
    """Return the path and query of a parameter as it is sent; a lone document is opened in the tree.

    As to Binder, it is part of a URL: an escape that is left in it stays one, and a fragment is no part of the path.
    Raises PeerLinkError.
    """
    place, mark, query = path.partition("#")[0].partition("?")
    place = re.sub(r"/{2,}", "/", place).lstrip("/")
    if "/" not in place and place.endswith(".ipynb"):
        place = f"tree/{place}"
    raw = _STRAY_PERCENT.sub("%25", quote(place, safe=_SAFE) + mark + quote(query, safe=_SAFE + "?/"))
    if not target.is_accepted(f"/{raw}".encode()):
        raise PeerLinkError("the link's path leads out of the notebook's home, or can be read in two ways")
    return raw


def _host_of(url: SplitResult) -> str:
    """Return the host and any port that is not the scheme's own; empty without a host. Raises ValueError."""
    name = url.hostname or ""
    host = f"[{name}]" if ":" in name else name
    is_own = not host or url.port in (None, _PORTS.get(url.scheme))
    return host if is_own else f"{host}:{url.port}"


# The forms


def _binder(rest: str, pairs: dict[str, str]) -> PeerLink:
    provider, _, spec = rest.partition("/")
    repository = repository_of(provider, spec)
    for name, before in _OPENED.items():
        if pairs.get(name):
            path = before + pairs[name].lstrip("/") if before else pairs[name].lstrip("/")
            pulled = _pulled(path)
            found = PeerLink(repository, opened(path), fragment=_fragment(path)) if pulled is None else pulled
            return replace(found, repository=repository)
    return PeerLink(repository)


def _short(rest: str, query: str) -> PeerLink:
    """``/repo/<org>/<repo>/<path>``, of Binder's first years."""
    parts = rest.split("/")
    path = _respelt("/".join(parts[2:]))
    return PeerLink(repository_of("gh", "/".join(parts[:2])), opened(f"{path}?{query}" if query and path else path))


def _colab(rest: str) -> PeerLink:
    """``/github/<org>/<repo>/blob/<ref>/<path>``, and ``tree`` for a directory."""
    parts = rest.split("/")
    repository = repository_of("gh", "/".join([*parts[:2], *parts[3:4]]))
    path = _respelt("/".join(parts[4:]))
    return PeerLink(repository, opened(f"tree/{path}") if path else "")


def _redirected(rest: str, query: str) -> PeerLink:
    """``/hub/user-redirect/<path>``, where nbgitpuller's handler may be the last segment."""
    if rest.rstrip("/").rpartition("/")[2] in _PULLS:
        return _pull(_pairs(query), f"git-pull?{query}")
    path = rest.lstrip("/")
    raw = f"{path}?{query}" if query else path
    if not target.is_accepted(f"/{raw}".encode()):
        raise PeerLinkError("the link's path leads out of the notebook's home, or can be read in two ways")
    return PeerLink(None, raw)


def _pulled(path: str) -> PeerLink | None:
    """Return what a path of nbgitpuller's inside another link names; None for any other path."""
    place, _, query = path.partition("?")
    if place.rstrip("/") not in _PULLS:
        return None
    return _pull(_pairs(query), opened(f"git-pull?{query}"))


def _pull(pairs: dict[str, str], raw: str) -> PeerLink:
    """Return what nbgitpuller's options name. Its paths begin with the directory that it fetches into."""
    if "account" in pairs:  # /interact?account=&repo=, of its first years
        pairs["repo"] = f"https://github.com/{pairs['account']}/{pairs.get('repo', '')}"
    repository = repository_at(pairs.get("repo", ""), pairs.get("branch", ""))
    directory = pairs.get("targetpath") or pairs.get("targetPath") or posixpath.basename(repository.name)
    path = pairs.get("urlpath") or pairs.get("urlPath") or ""
    below = pairs.get("subpath") or pairs.get("subPath") or pairs.get("path") or ""
    if path:
        place = _without(directory, path.partition("#")[0])
    else:  # in the repository, whatever it begins with
        path = place = _APPS.get(pairs.get("app", "").lower(), "tree/") + below if below else ""
    return PeerLink(repository, opened(place), repository, raw, _fragment(path))


def _without(directory: str, path: str) -> str:
    """Remove ``directory`` where the file's path begins with it, case and ``.git`` aside; it may be called as a page.

    Of an app that is none of Jupyter's, the first segment is the page.
    """
    place, mark, query = path.lstrip("/").partition("?")
    page, file = jupyter_urls.split_page(place) or place.partition("/")[::2]
    parts, before = file.lstrip("/").split("/"), directory.strip("/").split("/")
    if [_tidy(unquote(part)) for part in parts[: len(before)]] != [*map(_tidy, before)]:
        return path
    return f"{page}/{'/'.join(parts[len(before) :])}{mark}{query}"


def next_page(query: str, origin: str) -> str:
    """Return ``next`` of a query, the page to open after a login or a start, without the user in its path.

    As in JupyterHub (``get_next_url``), a URL at the service's own ``origin`` counts as its path.
    """
    page = _pairs(query).get("next", "")
    scheme, _, host = origin.partition("://")
    whole = _ABSOLUTE.match(page)
    if whole is not None and hosts.is_same_origin(whole[1], scheme, host):
        page = f"/{page[whole.end() :]}"
    return _USERS.sub("/", links.plain(page))


def _after(query: str, origin: str) -> PeerLink:
    """Return what ``next`` names. Only links to this service count.

    JupyterHub's pages of both kinds lead to each other; a longer chain than theirs names nothing.
    """
    place = next_page(query, origin)
    for _ in range(_MOST_NEXT):
        if not _WAYS.match(place):
            break
        place = next_page(place.partition("?")[2], origin)
    if not place.startswith("/") or place.startswith(("//", "/\\")):
        return PeerLink(None)
    try:
        raw = opened(place)
    except PeerLinkError:
        return PeerLink(None)
    if _WAYS.match(f"/{raw}"):
        return PeerLink(None)
    found = parse(f"/{raw}", origin) or PeerLink(None, _launched(raw))
    return replace(found, fragment=found.fragment or _fragment(place)) if found.path else found


def _launched(raw: str) -> str:
    """Return what a launch link of ours opens, with its query; empty for any other path."""
    if _SPAWN.match(raw):
        return _SPAWN.sub("", raw, count=1)
    return raw if raw.startswith("?") or jupyter_urls.deep_link(raw) is not None else ""


# Parts


def _fragment(path: str) -> str:
    """Return the fragment of a parameter with its ``#``, raw; empty without one."""
    _, mark, fragment = path.partition("#")
    return _STRAY_PERCENT.sub("%25", mark + quote(fragment, safe=_SAFE + "?")) if fragment else ""


def _respelt(path: str) -> str:
    """Return a raw path as a parameter would have it, where ``?``, ``#`` and ``%`` in names stay encoded."""
    return quote(unquote(path), safe=_SAFE.replace("%", ""))


def _pairs(query: str) -> dict[str, str]:
    """Return the first value of each name, also where ``&`` has become ``&amp;`` on its way through HTML."""
    found: dict[str, str] = {}
    for pair in re.split(r"&(?:amp;)?", query):
        name, mark, value = pair.partition("=")
        if mark:
            found.setdefault(unquote_plus(name.removeprefix("amp;")), unquote_plus(value))
    return found


def _url_and_ref(parts: list[str]) -> tuple[str, str]:
    """Split a spec of ``git``: the URL is one encoded segment, or its slashes stand as they are."""
    if "://" in parts[0]:
        return parts[0], "/".join(parts[1:])
    return "/".join(parts[:-1]), parts[-1]


def _tidy(name: str) -> str:
    return name.strip("/").removesuffix(".git").lower()
