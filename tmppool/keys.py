"""Keys: the secret path segment that addresses one notebook, as in ``/user/<key>/``. Only this module defines them.

Grammar: ``[<cell>.]<random>``; the cell's name is absent if there is only one cell. The random part is URL-safe base64
(RFC 4648 section 5), so a key needs no quoting in a path, a header or a cookie.
"""

import hashlib
import re
import secrets

CELL = "[a-z0-9-]{1,32}"
GRAMMAR = rf"(?:{CELL}\.)?[A-Za-z0-9_-]{{16,128}}"
"""Source of a regular expression without anchors or capturing groups, for use inside larger patterns."""

LONGEST = 32 + len(".") + 128
"""The number of characters of the longest key of this grammar."""

_KEY = re.compile(GRAMMAR)
_CELL = re.compile(CELL)
_ID_SIZE = 5  # bytes: ten hexadecimal digits, a valid label of a host name


def is_key(text: str) -> bool:
    """Return True if ``text`` matches the grammar; such a notebook need not exist."""
    return _KEY.fullmatch(text) is not None


# Room for several installations behind one address: nothing in the service names a cell yet.
def new(nbytes: int, cell: str | None = None) -> str:
    """Return a new key of ``nbytes`` (12 to 96) random bytes. Raises ValueError for another size or a bad cell."""
    if cell is not None and not _CELL.fullmatch(cell):
        raise ValueError(f"{cell!r} is not a cell's name")
    key = ("" if cell is None else f"{cell}.") + secrets.token_urlsafe(nbytes)
    if not is_key(key):
        raise ValueError(f"{nbytes} bytes do not make a key")
    return key


def id_of(key: str) -> str:
    """Return the id of a key, ten hexadecimal digits. Unlike the key, the id is not secret."""
    return hashlib.blake2s(key.encode(), digest_size=_ID_SIZE).hexdigest()
