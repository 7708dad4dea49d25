"""The tokens that open a notebook: how they are made, and what a request that carries one may do. Pure.

Nothing is kept: the tokens are derived from a secret that the backend recovers with the notebook, so neither a restart
nor the loss of the ledger takes a notebook from its owner. A session token is the owner's; a share token is what they
give to others, and is good for as long as they share. Either may come in a cookie, which a browser sends by itself,
or be said explicitly, in ``Authorization`` or the query.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from tmppool.notebook import Notebook
from tmppool.web.own_cookies import notebook_name

_SIZE = 16  # bytes of a token
_KNOWN = 8192  # notebooks
_NAME = "token="
_MAX_TOKENS = 8


class Role(StrEnum):
    OWNER = "owner"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Access:
    """The roles that a request has in one notebook, by the token that it says and by the cookie that it carries.

    A token is said by whoever knows it; no page of another origin can make a browser do that.
    """

    by_token: Role | None = None
    by_cookie: Role | None = None

    @property
    def role(self) -> Role | None:
        """The role that counts; None: it may do nothing."""
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
    notebook: Notebook, cookies: Iterable[bytes] = (), bearer_token: bytes = b"", tokens: Iterable[str] = ()
) -> Access:
    """Return what a request may do in this notebook.

    ``cookies`` are the values of its Cookie fields, ``bearer_token`` is that of its Authorization, ``tokens`` are
    those of its query. Of several cookies of one name any that is right counts, and the owner's before a guest's:
    another page may have set the others (cookie tossing).
    """
    keys = _keys(notebook.key, _secret(notebook), notebook.shared)
    by_token = keys.role(bearer_token) if bearer_token else None
    for token in () if by_token is not None else tokens:
        by_token = keys.role(token.encode("ascii", "replace"))
        if by_token is not None:
            break
    return _ACCESS[by_token, _by_cookie(keys, cookies)]


def _by_cookie(keys: "_Keys", cookies: Iterable[bytes]) -> Role | None:
    found = None
    for line in cookies:
        start = 0
        while start := line.find(keys.cookie, start) + 1:
            start += len(keys.cookie) - 1
            end = line.find(b";", start)
            role = keys.role(line[start : end if end >= 0 else None].rstrip())
            if role is Role.OWNER:
                return role
            found = role or found
    return found


def session_token(notebook: Notebook) -> str:
    return _derived(_secret(notebook), "session").decode()


def share_token(notebook: Notebook) -> str | None:
    """Return what opens the notebook to others; None while it is not shared."""
    return None if notebook.shared is None else _derived(_secret(notebook), f"share {notebook.shared}").decode()


def role_token(notebook: Notebook, role: Role) -> str:
    """Return the token that gives this role now. Raises ValueError for a guest of a notebook that is not shared."""
    if role is Role.OWNER:
        return session_token(notebook)
    token = share_token(notebook)
    if token is None:
        raise ValueError("a notebook that is not shared has no guests")
    return token


def tokens_in(query: str) -> list[str]:
    """Return what a target, or its query, holds as ``token``: the first few, for each of them costs a comparison."""
    if _NAME not in query:
        return []
    pairs = query.partition("?")[2].split("&")
    return [pair.removeprefix(_NAME) for pair in pairs if pair.startswith(_NAME)][:_MAX_TOKENS]


def without_token(target: str) -> str:
    """Return a target, or its query, without ``token``; every other byte stays."""
    path, _, query = target.partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if not pair.startswith(_NAME)]
    if len(kept) == len(pairs):
        return target
    return f"{path}?{'&'.join(kept)}" if kept else path


@dataclass(frozen=True, slots=True)
class _Keys:
    """The tokens that open one notebook. ``cookie`` is how its cookie begins, whatever prefix its name has."""

    cookie: bytes
    owner: bytes
    guest: bytes | None

    def role(self, given: bytes) -> Role | None:
        if hmac.compare_digest(given, self.owner):
            return Role.OWNER
        return Role.GUEST if self.guest is not None and hmac.compare_digest(given, self.guest) else None


@lru_cache(_KNOWN)
def _keys(key: str, secret: str, shared: str | None) -> _Keys:
    """Kept ready, which saves the derivation for every request."""
    guest = None if shared is None else _derived(secret, f"share {shared}")
    return _Keys(f"{notebook_name(key, is_secure=False)}=".encode(), _derived(secret, "session"), guest)


def _secret(notebook: Notebook) -> str:
    return notebook.running.secret or notebook.running.token


def _derived(secret: str, purpose: str) -> bytes:
    key = hashlib.blake2b(secret.encode()).digest()
    made = hashlib.blake2b(purpose.encode(), key=key, digest_size=_SIZE, person=b"tmppool.access").digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=")
