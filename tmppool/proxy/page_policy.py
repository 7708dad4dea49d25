"""A page's own Content-Security-Policy: what has to be added for the service's scripts, and who may embed it. Pure.

Without that, a strict policy would block them: the page works, but its visitor's activity is not seen. What is added
are the service's own scripts, and the address of the page's own session (CSP Level 3, sections 2.3 and 6.7).
"""

import re
import secrets
from collections.abc import Collection, Iterable

from tmppool.proxy.target import is_host

NAME = b"content-security-policy"

_MOST_BYTES = 8 * 1024  # of all policies of a page; browsers refuse heads not much longer
_MOST_POLICIES = 16
_MOST_WORDS = 512  # of all directives together

_NONCE = re.compile(rb"'nonce-([A-Za-z0-9+/_-]+={0,2})'", re.IGNORECASE)
_SCRIPTS = (b"script-src-elem", b"script-src", b"default-src")
_REQUESTS = (b"connect-src", b"default-src")


def is_out_of_reach(policies: Collection[bytes]) -> bool:
    """Return True if our scripts could reach nothing from the page, or its policies are too long to be read.

    A sandbox puts the page into an origin of its own.
    """
    if _is_long(policies):
        return True
    sandboxes = (directives[b"sandbox"] for directives in _all(policies) if b"sandbox" in directives)
    return any(not {b"allow-scripts", b"allow-same-origin"} <= {word.lower() for word in box} for box in sandboxes)


def without_ancestors(policies: Collection[bytes]) -> list[bytes]:
    """Return the policies without what they say of frames, as Jupyter's do of each file; long ones are not read.

    It is for where the service says whose pages may embed a notebook: of two policies, the stricter one counts.
    """
    if _is_long(policies) or b"frame-ancestors" not in b",".join(policies).lower():
        return [*policies]
    parsed = _all(policies)
    for directives in parsed:
        directives.pop(b"frame-ancestors", None)
    return _written(parsed)


def admit(policies: Iterable[bytes], host: bytes, session_path: bytes) -> tuple[list[bytes], bytes]:
    """Return the policies with the service's scripts admitted, and the nonce that the script elements need, if any.

    ``host`` is what the browser calls the service; a name that a policy cannot hold is not added.
    """
    parsed = _all(policies)
    place = host if is_host(host) and not host.startswith(b"[") else b""
    found = [_NONCE.fullmatch(word) for each in parsed for word in _effective(each, _SCRIPTS) or ()]
    known = next((match[1] for match in found if match), b"")
    wants_nonce = known or any(b"'strict-dynamic'" in _lower(_effective(each, _SCRIPTS)) for each in parsed)
    nonce = known or (secrets.token_urlsafe(16).encode() if wants_nonce else b"")
    for directives in parsed:
        _admit_scripts(directives, b"'nonce-%b'" % nonce, place and place + b"/static/")
        requests = _effective(directives, _REQUESTS)
        if requests is not None and place:
            directives[b"connect-src"] = _with(requests, place + session_path, place + session_path + b"/")
    return _written(parsed), nonce


def _admit_scripts(directives: dict[bytes, list[bytes]], nonce: bytes, place: bytes) -> None:
    """Add what admits our script elements, in the way in which this policy admits others."""
    words = _effective(directives, _SCRIPTS)
    if words is None or nonce in words:
        return
    is_by_nonce = b"'strict-dynamic'" in _lower(words) or any(_NONCE.fullmatch(word) for word in words)
    source = nonce if is_by_nonce else place  # a nonce would switch 'unsafe-inline' off
    if source:
        directives[b"script-src-elem"] = _with(words, source)


def _with(words: list[bytes], *sources: bytes) -> list[bytes]:
    return [*(word for word in words if word.lower() != b"'none'"), *sources]


def _effective(directives: dict[bytes, list[bytes]], names: Iterable[bytes]) -> list[bytes] | None:
    """Return the sources of the first of these directives that the policy has."""
    return next((directives[name] for name in names if name in directives), None)


def _lower(words: list[bytes] | None) -> list[bytes]:
    return [word.lower() for word in words or ()]


def _is_long(policies: Collection[bytes]) -> bool:
    if sum(map(len, policies)) > _MOST_BYTES:
        return True
    text = b",".join(policies)
    return text.count(b",") >= _MOST_POLICIES or text.count(b";") + len(text.split()) > _MOST_WORDS


def _written(parsed: list[dict[bytes, list[bytes]]]) -> list[bytes]:
    return [b"; ".join(b" ".join((name, *words)) for name, words in each.items()) for each in parsed if each]


def _all(policies: Iterable[bytes]) -> list[dict[bytes, list[bytes]]]:
    """Return each policy's directives; of two with one name the first counts (CSP Level 3 section 2.2.1)."""
    parsed = []
    for policy in ",".join(each.decode("latin-1") for each in policies).encode("latin-1").split(b","):
        directives: dict[bytes, list[bytes]] = {}
        for directive in policy.split(b";"):
            name, *words = directive.split() or [b""]
            if name:
                directives.setdefault(name.lower(), words)
        if directives:
            parsed.append(directives)
    return parsed
