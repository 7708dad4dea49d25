"""The tokens that give access to a notebook: their derivation, and the role of a request that carries one. Pure.

Tokens are not stored: they are derived from a secret that the backend recovers with the notebook, so an owner keeps
access after a restart and without the ledger. The session token is the owner's; the share token is for guests, and is
valid until the owner stops sharing. Either comes in a cookie, which a browser sends by itself, or explicitly, in
``Authorization`` or the query.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote

from tmppool.notebook import Notebook
from tmppool.web.own_cookies import PREFIX, notebook_name

_SIZE = 16  # bytes of a token
_KNOWN = 8192  # notebooks
_NAME = "token="
_MAX_TOKENS = 8
_SEMICOLON = ord(";")
_PREFIX = PREFIX.encode()


class Role(StrEnum):
    OWNER = "owner"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Access:
    """The roles that a request has in one notebook, by its explicit token and by its cookie.

    An explicit token proves that the sender knows it; a page of another origin can only make a browser send cookies.
    """

    by_token: Role | None = None
    by_cookie: Role | None = None

    @property
    def role(self) -> Role | None:
        """The effective role; None without access."""
        return self.by_token or self.by_cookie

    @property
    def is_explicit(self) -> bool:
        return self.by_token is not None

    @property
    def is_owner(self) -> bool:
        return self.role is Role.OWNER


_ROLES = (None, Role.OWNER, Role.GUEST)
_ACCESS = {(token, cookie): Access(token, cookie) for token in _ROLES for cookie in _ROLES}


def access(
    notebook: Notebook,
    cookies: Iterable[bytes] = (),
    bearer_token: bytes = b"",
    tokens: Iterable[str] = (),
    *,
    is_secure: bool,
) -> Access:
    """Return the access that a request has to this notebook.

    ``cookies`` are the values of its Cookie fields, ``bearer_token`` is from its Authorization, ``tokens`` are from
    its query. Of several cookies with the name any valid one counts, the owner's before a guest's: another page may
    have set the others (cookie tossing). If the client used https (``is_secure``), the name has its prefix: without it
    a page of another host of the domain may have set the cookie, and made this browser the owner of its own notebook.
    """
    keys = _keys_of(notebook)
    by_token = keys.role(bearer_token) if bearer_token else None
    for token in () if by_token is not None else tokens:
        by_token = keys.role(token.encode("ascii", "replace"))
        if by_token is not None:
            break
    return _ACCESS[by_token, _by_cookie(keys, cookies, is_secure=is_secure)]


def _by_cookie(keys: "_Keys", cookies: Iterable[bytes], *, is_secure: bool) -> Role | None:
    found = None
    for line in cookies:
        at = -1
        while (at := line.find(keys.cookie, at + 1)) >= 0:
            if not _is_name(line, at, is_secure=is_secure):
                continue
            end = line.find(b";", at)
            role = keys.role(line[at + len(keys.cookie) : end if end >= 0 else None].rstrip())
            if role is Role.OWNER:
                return role
            found = role or found
    return found


def _is_name(line: bytes, at: int, *, is_secure: bool) -> bool:
    """Return True if the name of a pair begins at ``at``, or before with our prefix, as it must over TLS.

    Where TLS is not known of, as of one path of a proxy's configuration, the prefix says that it was used.
    """
    has_prefix = line.endswith(_PREFIX, 0, at)
    if has_prefix:
        at -= len(_PREFIX)
    while at and line[at - 1] in b" \t":
        at -= 1
    return (has_prefix or not is_secure) and (not at or line[at - 1] == _SEMICOLON)


def session_token(notebook: Notebook) -> str:
    return _keys_of(notebook).owner.decode()


def share_token(notebook: Notebook) -> str | None:
    """Return the token for guests; None while the notebook is not shared."""
    guest = _keys_of(notebook).guest
    return None if guest is None else guest.decode()


def role_token(notebook: Notebook, role: Role) -> str:
    """Return the token of this role. Raises ValueError for a guest of a notebook that is not shared."""
    if role is Role.OWNER:
        return session_token(notebook)
    token = share_token(notebook)
    if token is None:
        raise ValueError("a notebook that is not shared has no guests")
    return token


def is_of(notebook: Notebook, value: str) -> bool:
    """Return True if this is a token of one of the notebook's roles."""
    return _keys_of(notebook).role(value.encode("ascii", "replace")) is not None


def tokens_in(query: str) -> list[str]:
    """Return the first few values of ``token`` in a target or query; few, because each costs a comparison."""
    if _NAME not in query:
        return []
    pairs = query.partition("?")[2].split("&")
    return [_value(pair) for pair in islice((pair for pair in pairs if pair.startswith(_NAME)), _MAX_TOKENS)]


def without_token(target: str, is_ours: Callable[[str], bool] = lambda _value: True) -> str:
    """Return a target or query without those values of ``token`` that are ours, otherwise byte for byte.

    Only the first few that differ are compared; any further one counts as ours.
    """
    path, _, query = target.partition("?")
    pairs = query.split("&")
    given = dict.fromkeys(pair for pair in pairs if pair.startswith(_NAME))  # each once
    alien = {pair for pair in list(given)[:_MAX_TOKENS] if not is_ours(_value(pair))}
    kept = [pair for pair in pairs if pair not in given or pair in alien]
    if len(kept) == len(pairs):
        return target
    return f"{path}?{'&'.join(kept)}" if kept else path


def _value(pair: str) -> str:
    """Return the value of a pair as its reader decodes it: no spelling hides a token of ours."""
    return unquote(pair.removeprefix(_NAME))


@dataclass(frozen=True, slots=True)
class _Keys:
    """The tokens of one notebook. ``cookie`` is its cookie's name with ``=``, without a prefix."""

    cookie: bytes
    owner: bytes
    guest: bytes | None

    def role(self, given: bytes) -> Role | None:
        if hmac.compare_digest(given, self.owner):
            return Role.OWNER
        return Role.GUEST if self.guest is not None and hmac.compare_digest(given, self.guest) else None


def _keys_of(notebook: Notebook) -> _Keys:
    return _keys(notebook.key, notebook.running.secret or notebook.running.token, notebook.shared)


@lru_cache(_KNOWN)
def _keys(key: str, secret: str, shared: str | None) -> _Keys:
    """Return the tokens; cached, which saves deriving them per request."""
    guest = None if shared is None else _derived(secret, f"share {shared}")
    return _Keys(f"{notebook_name(key, is_secure=False)}=".encode(), _derived(secret, "session"), guest)


def _derived(secret: str, purpose: str) -> bytes:
    key = hashlib.blake2b(secret.encode()).digest()
    made = hashlib.blake2b(purpose.encode(), key=key, digest_size=_SIZE, person=b"tmppool.access").digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=")
