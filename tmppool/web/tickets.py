"""Short-lived signed tickets, each valid once.

The launch page's form contains one, which permits the start of one notebook. Another kind takes a notebook's owner
from the main host to the notebook's own.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal

from cachetools import TTLCache
from itsdangerous import BadSignature, TimestampSigner, URLSafeTimedSerializer

LIFETIME = 600  # seconds that a launch page may stay open
_SLACK = 2  # seconds: ages are counted in whole seconds, and one equal to the lifetime is valid
_REMEMBERED = 20_000  # used tickets
_MOST_ANCESTORS = 16  # one for each pool that a browser takes a notebook of


class _Signer(TimestampSigner):
    """A signer whose timestamps are those of ``clock``, in seconds."""

    def __init__(self, *args: Any, clock: Callable[[], float], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class Tickets:
    """Issues and redeems tickets of one kind, including those issued with this ``secret`` before a restart.

    A ticket of another ``purpose`` is invalid; ``lifetime`` is in seconds. Used tickets are remembered in memory only,
    for as long as they would be valid: after a restart, those of the last minutes are valid once more. ``clock``
    returns seconds, by default the wall's: one that is set ends the tickets of all open pages.
    """

    def __init__(
        self,
        secret: bytes,
        purpose: str = "ticket",
        lifetime: int = LIFETIME,
        clock: Callable[[], float] | None = None,
    ) -> None:
        clock = clock or time.time
        self._key = hashlib.blake2b(secret, person=b"tmppool.visitor").digest()
        self._signer = URLSafeTimedSerializer(
            secret, salt=f"tmppool.{purpose}", signer=_Signer, signer_kwargs={"clock": clock}
        )
        self._lifetime = lifetime
        # By the same clock as signatures: one that is set back prolongs both.
        self._used: TTLCache[str, Literal[True], float] = TTLCache(_REMEMBERED, lifetime + _SLACK, clock)
        self._ancestors: TTLCache[str, tuple[str, ...], float] = TTLCache(_REMEMBERED, lifetime + _SLACK, clock)

    def issue(self, subject: str) -> str:
        """Return a URL-safe ticket for ``subject``: a visitor's id or a notebook's key."""
        return str(self._signer.dumps([subject, secrets.token_urlsafe(9)]))

    def redeem(self, ticket: str, subject: str | None) -> bool:
        """Use up a ticket. Returns True if it was ours, for this subject, not expired and unused."""
        nonce = self._nonce(ticket, subject, self._lifetime)
        if nonce is None or nonce in self._used:
            return False
        self._used[nonce] = True
        return True

    def is_ours(self, ticket: str, subject: str) -> bool:
        """Return True if the ticket was issued for this subject, whether or not it is still valid."""
        return self.number(ticket, subject) is not None

    def is_genuine(self, ticket: str) -> bool:
        """Return True if the ticket was issued for anybody, whether or not it is still valid."""
        return self._loaded(ticket, None) is not None

    def number(self, ticket: str, subject: str) -> str | None:
        """Return what tells this ticket from others of its subject, however it is spelled; None if it is not ours.

        Base64 can be written in several ways, and what reads it skips characters that are none of its own.
        """
        return self._nonce(ticket, subject, None)

    def successor(self, ticket: str) -> str:
        """Return the cookie of the visitor to whom this ticket gives a notebook, the same each time.

        The cookie that comes with the ticket may be one that somebody else has planted in the browser. The ticket is
        known to the page alone, and does not tell the cookie.
        """
        made = hashlib.blake2b(ticket.encode(errors="surrogateescape"), digest_size=16, key=self._key)
        return base64.urlsafe_b64encode(made.digest()).rstrip(b"=").decode()

    def note_successor(self, visitor: str | None, successor: str) -> None:
        """Accept from ``successor`` the tickets of ``visitor`` too: pages that this browser opened before."""
        if visitor is not None:
            self._ancestors[successor] = (visitor, *self._ancestors.get(visitor, ()))[:_MOST_ANCESTORS]

    def give_back(self, ticket: str, subject: str | None) -> None:
        """Undo ``redeem``, so that the ticket is valid again."""
        nonce = self._nonce(ticket, subject, self._lifetime)
        if nonce is not None:
            self._used.pop(nonce, None)

    def _nonce(self, ticket: str, subject: str | None, max_age: int | None) -> str | None:
        """Return the ticket's nonce; None unless it is ours, for this subject, and at most ``max_age`` seconds old."""
        owner, nonce = self._loaded(ticket, max_age) or (None, None)
        subjects = (subject, *self._ancestors.get(subject or "", ()))
        return nonce if isinstance(nonce, str) and owner in subjects else None

    def _loaded(self, ticket: str, max_age: int | None) -> tuple[object, object] | None:
        """Return the subject and the nonce of a ticket; None unless it is ours, and at most ``max_age`` seconds old."""
        try:
            owner, nonce = self._signer.loads(ticket, max_age=max_age)
        except (BadSignature, ValueError, TypeError):
            return None
        return owner, nonce
