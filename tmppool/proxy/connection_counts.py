"""The connections that are open, counted by address, and how many are too many. Pure."""

import ipaddress
from collections.abc import Sequence
from enum import Enum

from tmppool.proxy.forwarded import Network, is_trusted


class Acceptance(Enum):
    """The result of counting a connection; the value is for the log."""

    ADMITTED = "admitted"
    TOO_MANY_FROM_ADDRESS = "too many connections from one address"
    TOO_MANY = "too many connections"


class ConnectionCounts:
    """``limit`` connections in all and ``per_address`` from one address, 0 for any number.

    An IPv6 visitor has a /64 to themselves (RFC 6177), which counts as one address. There are many
    visitors behind a trusted proxy, so only ``limit`` holds for its address.
    """

    def __init__(self, limit: int, per_address: int, trusted: Sequence[Network] = ()) -> None:
        self._limit = limit
        self._per_address = per_address
        self._trusted = trusted
        self._counts: dict[str, int] = {}
        self.size = 0

    def enter(self, address: str) -> Acceptance:
        """Count one connection from ``address``, as text; one that is not admitted is not counted."""
        if self._limit and self.size >= self._limit:
            return Acceptance.TOO_MANY
        source = _source(address)
        count = self._counts.get(source, 0)
        if 0 < self._per_address <= count and not is_trusted(address, self._trusted):
            return Acceptance.TOO_MANY_FROM_ADDRESS
        self._counts[source] = count + 1
        self.size += 1
        return Acceptance.ADMITTED

    def leave(self, address: str) -> None:
        """Forget one connection that was admitted."""
        source = _source(address)
        count = self._counts[source] - 1
        self.size -= 1
        if count:
            self._counts[source] = count
        else:
            del self._counts[source]


def _source(address: str) -> str:
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(address)) >> 64 << 64))
