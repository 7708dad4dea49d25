"""Short-lived signed tickets, each good once.

A launch page holds one, so that a look at the page becomes the right to start one notebook. Another kind leads a
notebook's owner from the main host to the notebook's own.
"""

import secrets
import time
from typing import Literal

from cachetools import TTLCache
from itsdangerous import BadSignature, URLSafeTimedSerializer

LIFETIME = 600  # seconds that a launch page may stay open
_SLACK = 2  # seconds: a signature's age is counted in whole seconds, and its last one is still good
_REMEMBERED = 20_000  # used tickets


class Tickets:
    """Issues tickets of one kind and redeems them, also those that an earlier service with this ``secret`` issued.

    A ticket of another ``purpose`` is not good here; ``lifetime`` is in seconds. Used tickets are remembered in memory
    only, for as long as they would be good: after a restart those of the last minutes are good once more.
    """

    def __init__(self, secret: bytes, purpose: str = "ticket", lifetime: int = LIFETIME) -> None:
        self._signer = URLSafeTimedSerializer(secret, salt=f"tmppool.{purpose}")
        self._lifetime = lifetime
        # By wall time, as signatures are: were it set back, both would last longer.
        self._used: TTLCache[str, Literal[True], float] = TTLCache(_REMEMBERED, lifetime + _SLACK, time.time)

    def issue(self, subject: str) -> str:
        """Return a ticket for ``subject``: a visitor's id or a notebook's key. It is safe in a URL."""
        return str(self._signer.dumps([subject, secrets.token_urlsafe(9)]))

    def redeem(self, ticket: str, subject: str | None) -> bool:
        """Return True if the ticket is ours, this subject's, not expired and unused. It is used from then on."""
        nonce = self._nonce(ticket, subject)
        if nonce is None or nonce in self._used:
            return False
        self._used[nonce] = True
        return True

    def give_back(self, ticket: str, subject: str | None) -> None:
        """Make a ticket that was redeemed for nothing good again."""
        nonce = self._nonce(ticket, subject)
        if nonce is not None:
            self._used.pop(nonce, None)

    def _nonce(self, ticket: str, subject: str | None) -> str | None:
        """Return what tells this ticket from all others; None unless it is ours, the subject's and not expired."""
        try:
            owner, nonce = self._signer.loads(ticket, max_age=self._lifetime)
        except (BadSignature, ValueError, TypeError):
            return None
        return nonce if isinstance(nonce, str) and owner == subject else None
