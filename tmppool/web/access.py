"""Who may use a notebook: what a request has to carry, and how that is made. Pure, and decided nowhere else.

Nothing is kept: the tokens are derived from a secret that the backend recovers with the notebook, so neither a restart
nor the loss of the ledger takes a notebook from its owner. A session token is the owner's; a share token is what he
gives to others, and is good for as long as he shares. Either may come in a cookie, which a browser sends by itself,
or be said explicitly, in ``Authorization`` or the query.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from multidict import MultiMapping

from tmppool.notebook import Notebook
from tmppool.proxy import headers
from tmppool.proxy.wire import Fields
from tmppool.running import digest

_SIZE = 16  # bytes of a token
_KNOWN = 8192  # tokens that are held ready, which saves their derivation for every request
_NAME = "token="


class Role(StrEnum):
    OWNER = "owner"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Access:
    """``is_explicit``: said by whoever knows the token, which no page of another origin can make a browser do."""

    role: Role
    is_explicit: bool

    @property
    def is_owner(self) -> bool:
        return self.role is Role.OWNER


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request carries: its Cookie fields' values, its Authorization, its query with the question mark."""

    cookies: Iterable[bytes]
    authorization: bytes
    query: str


_BY = {(role, is_explicit): Access(role, is_explicit) for role in Role for is_explicit in (True, False)}


def sent_on_wire(fields: Fields, query: str) -> Sent:
    cookies = [line[7:] for name, line in fields.lines if name == b"cookie"]  # behind "Cookie:"
    return Sent(cookies, fields.first.get(b"authorization", b""), query)


def sent_to_us(found: MultiMapping[str], query: str) -> Sent:
    cookies = [value.encode("utf-8", "surrogateescape") for value in found.getall("Cookie", ())]
    return Sent(cookies, found.get("Authorization", "").encode("utf-8", "surrogateescape"), query)


def admits(notebook: Notebook, sent: Sent) -> Access | None:
    """Return what a request may do in this notebook; None when it may do nothing.

    Of several cookies of one name any that is right counts: another page may have set the others (cookie tossing).
    """
    if sent.authorization:
        scheme, _, given = sent.authorization.partition(b" ")
        role = _role(notebook, given.strip()) if scheme.lower() in (b"token", b"bearer") else None
        if role is not None:
            return _BY[role, True]
    for said in tokens_in(sent.query):
        role = _role(notebook, said.encode("ascii", "replace"))
        if role is not None:
            return _BY[role, True]
    names = _cookie_names(notebook.key)
    for line in sent.cookies:
        for pair in line.split(b";"):
            name, _, value = pair.strip().partition(b"=")
            if name in names and (role := _role(notebook, value)) is not None:
                return _BY[role, False]
    return None


def session_token(notebook: Notebook) -> str:
    return _derived(_secret(notebook), "session").decode()


def share_token(notebook: Notebook) -> str | None:
    """Return what opens the notebook to others; None while it is not shared."""
    return None if notebook.shared is None else _derived(_secret(notebook), f"share {notebook.shared}").decode()


def token_of(notebook: Notebook, role: Role) -> str:
    """Return the token of someone who was admitted as ``role``."""
    shared = share_token(notebook)
    return shared if role is Role.GUEST and shared is not None else session_token(notebook)


def tokens_in(query: str) -> list[str]:
    """Return what a target, or its query, holds as ``token``."""
    if _NAME not in query:
        return []
    pairs = query.partition("?")[2].split("&")
    return [pair.removeprefix(_NAME) for pair in pairs if pair.startswith(_NAME)]


def without_token(target: str) -> str:
    """Return a target, or its query, without ``token``; every other byte stays."""
    path, _, query = target.partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if not pair.startswith(_NAME)]
    if len(kept) == len(pairs):
        return target
    return f"{path}?{'&'.join(kept)}" if kept else path


def cookie_name(key: str, *, is_secure: bool) -> str:
    """Return the name of the cookie for the notebook of ``key``; it tells the notebook's id alone."""
    return f"{'__Host-' if is_secure else ''}{headers.COOKIE}-{digest(key)}"


@lru_cache(_KNOWN)
def _cookie_names(key: str) -> tuple[bytes, bytes]:
    return cookie_name(key, is_secure=False).encode(), cookie_name(key, is_secure=True).encode()


def _role(notebook: Notebook, given: bytes) -> Role | None:
    secret = _secret(notebook)
    if hmac.compare_digest(given, _derived(secret, "session")):
        return Role.OWNER
    if notebook.shared is not None and hmac.compare_digest(given, _derived(secret, f"share {notebook.shared}")):
        return Role.GUEST
    return None


def _secret(notebook: Notebook) -> str:
    assert notebook.upstream is not None
    running = notebook.upstream.running
    return running.secret or running.token


@lru_cache(_KNOWN)
def _derived(secret: str, purpose: str) -> bytes:
    key = hashlib.blake2b(secret.encode()).digest()
    made = hashlib.blake2b(purpose.encode(), key=key, digest_size=_SIZE, person=b"tmppool.access").digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=")
