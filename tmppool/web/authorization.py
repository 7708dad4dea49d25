"""Parses the Authorization field, and compares secrets. Pure."""

import base64
import binascii
import hmac
import re
from urllib.parse import unquote_to_bytes

_IN_URL = re.compile(rb"[?&]token=([^&\s\",]*)")
_MOST_IN_URL = 8


def bearer_token(field: bytes) -> bytes:
    """Return the token in ``token …`` or ``Bearer …`` (RFC 6750 section 2.1; Jupyter Server); empty without one."""
    scheme, _, given = field.partition(b" ")
    return given.strip() if scheme.lower() in (b"token", b"bearer") else b""


def secrets_in(field: bytes) -> list[bytes]:
    """Return what may be a secret in the field.

    It is the token, or user and password of ``Basic`` (RFC 7617 section 2), or a token in a URL, as ``Digest`` repeats
    the request's (RFC 7616 section 3.4).
    """
    scheme, _, given = field.partition(b" ")
    if scheme.lower() != b"basic":
        return [given.strip(), *(unquote_to_bytes(token) for token in _IN_URL.findall(given)[:_MOST_IN_URL])]
    try:
        user, _, password = base64.b64decode(given.strip()).partition(b":")
    except binascii.Error:
        return []
    return [user, password]


def is_same(said: str | bytes, wanted: str | bytes) -> bool:
    """Compare two secrets in constant time (no timing leak of where they differ); any text is allowed."""
    return hmac.compare_digest(_bytes(said), _bytes(wanted))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
