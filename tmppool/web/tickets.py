"""Short-lived signed tickets: what turns a look at a launch page into the right to start one notebook, once."""

import secrets
from collections import OrderedDict

from itsdangerous import BadSignature, URLSafeTimedSerializer

LIFETIME = 600  # seconds
_REMEMBERED = 20_000


class Tickets:
    """``purpose`` keeps tickets of one kind from being good for another; ``lifetime`` is seconds."""

    def __init__(self, secret: bytes, purpose: str = "ticket", lifetime: int | None = None) -> None:
        self._signer = URLSafeTimedSerializer(secret, salt=f"tmppool.{purpose}")
        self._lifetime = lifetime
        self._used: OrderedDict[str, None] = OrderedDict()

    def issue(self, visitor: str) -> str:
        """Return a ticket for this visitor, or whatever else it is to be good for."""
        return str(self._signer.dumps([visitor, secrets.token_urlsafe(9)]))

    def redeem(self, ticket: str, visitor: str | None) -> bool:
        """Whether the ticket is ours, this visitor's, young enough and unused; it is used from then on."""
        nonce = self._read(ticket, visitor)
        if nonce is None or nonce in self._used:
            return False
        self._used[nonce] = None
        while len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)
        return True

    def give_back(self, ticket: str, visitor: str | None) -> None:
        """Nothing could be had for it: it may be tried again."""
        nonce = self._read(ticket, visitor)
        if nonce is not None:
            self._used.pop(nonce, None)

    def _read(self, ticket: str, visitor: str | None) -> str | None:
        try:
            owner, nonce = self._signer.loads(ticket, max_age=LIFETIME if self._lifetime is None else self._lifetime)
        except (BadSignature, ValueError, TypeError):
            return None
        return nonce if isinstance(nonce, str) and owner == visitor else None
