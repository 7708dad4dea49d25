"""Parses the Authorization field, and compares secrets. Pure."""

import hmac


def bearer_token(field: bytes) -> bytes:
    """Return the token in ``token …`` or ``Bearer …`` (RFC 6750 section 2.1; Jupyter Server); empty without one."""
    scheme, _, given = field.partition(b" ")
    return given.strip() if scheme.lower() in (b"token", b"bearer") else b""


def is_same(said: str | bytes, wanted: str | bytes) -> bool:
    """Compare two secrets in constant time (no timing leak of where they differ); any text is allowed."""
    return hmac.compare_digest(_bytes(said), _bytes(wanted))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
