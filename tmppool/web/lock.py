"""The lock of a service whose notebooks are processes: it serves only the user who started it. Pure.

That user is authenticated by a secret that is printed at the start, like Jupyter's own token, because other users of
the machine can reach loopback too.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from tmppool.proxy import cookies
from tmppool.web import own_cookies
from tmppool.web.authorization import is_same


@dataclass(frozen=True, slots=True)
class Lock:
    """``port`` is the public listener's; it makes the cookie's name unique on this host."""

    secret: str = field(repr=False)
    port: int

    @property
    def cookie(self) -> str:
        """The cookie's name."""
        return own_cookies.lock_name(self.port)

    @property
    def value(self) -> str:
        """The cookie's value: a digest of the secret, since browsers send it to the host's other ports too."""
        return hashlib.blake2b(self.secret.encode(), digest_size=16, person=b"tmppool.local").hexdigest()

    def matches_secret(self, said: str | bytes) -> bool:
        """Return True if this is the secret."""
        return is_same(said, self.secret)

    def has_cookie(self, values: Iterable[bytes]) -> bool:
        """Return True if the values of Cookie fields contain the cookie.

        One valid cookie of several with the name is enough: a notebook's page may have set the others.
        """
        lines = (value.decode("utf-8", "surrogateescape") for value in values)
        return any(is_same(value, self.value) for value in cookies.own_values(lines, self.cookie))
