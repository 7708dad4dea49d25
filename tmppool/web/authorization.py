"""Parses the Authorization field, and compares secrets. Pure."""

import base64
import binascii
import hmac


def bearer_token(field: bytes) -> bytes:
    """Return the token in ``token …`` or ``Bearer …`` (RFC 6750 section 2.1; Jupyter Server); empty without one."""
    scheme, _, given = field.partition(b" ")
    return given.strip() if scheme.lower() in (b"token", b"bearer") else b""


def secrets_in(field: bytes) -> list[bytes]:
    """Return what may be a secret in the field: the token, or user and password of ``Basic`` (RFC 7617 section 2)."""
    scheme, _, given = field.partition(b" ")
    if scheme.lower() != b"basic":
        return [given.strip()]
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
