"""Probes of the network, which really try to connect."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from tmppool.audit.inside.outcome import is_equal, read

if TYPE_CHECKING:
    from tmppool.audit.inside.outcome import Facts, Outcome, Probe

_WAIT = 0.7  # seconds for all attempts together: two round trips around the world
_DNS = 53
_UP = 1  # netdevice(7), IFF_UP
_ANSWERED = (0, 3)  # RFC 1035 4.1.1: no error, no such name; both come from a server outside
# RFC 1035 4.1.1 and 4.1.2: one query for the address of example.com.
_QUESTION = b"\x74\x70\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"


def probes(facts: Facts) -> list[Probe]:
    """Return the probes. ``targets`` in ``facts``: hosts and ports that must be unreachable, by probe."""
    network = facts["network"]
    attempts = _Attempts([tuple(place) for _, places in facts["targets"] for place in places])
    return [
        *([("interfaces", _interfaces), ("routes", _routes)] if network == "none" else []),
        *([("name-servers", partial(_name_servers, attempts))] if network != "bridge" else []),
        *((f"reach-{name}", partial(_reach, attempts, places)) for name, places in facts["targets"]),
    ]


def _interfaces() -> Outcome:
    names = os.listdir("/sys/class/net")
    up = [name for name in names if int(read(f"/sys/class/net/{name}/flags"), 16) & _UP]
    return is_equal(" ".join(sorted(up)), "lo")


def _routes() -> Outcome:
    """Hold if no route leads anywhere (proc(5), net/route: a heading, then one line each)."""
    found = [line.split()[0] for line in read("/proc/net/route").splitlines()[1:]]
    return not found, " ".join(found) or "none"


def _name_servers(attempts: _Attempts) -> Outcome:
    """Hold if no name server answers a query, as DNS names can carry data out."""
    answered = attempts.made().answered
    return not answered, f"{' and '.join(answered)} answered" if answered else "no answer"


def _reach(attempts: _Attempts, targets: list[list[object]]) -> Outcome:
    """Hold if none of the targets accepted a connection."""
    reached = attempts.made().reached
    found = [f"{host} port {port}" for host, port in targets if (host, port) in reached]
    return not found, " and ".join(sorted(found)) or "nothing was reached"


class _Attempts:
    """Concurrent connections to all targets and queries to all name servers, made on the first call of ``made``."""

    def __init__(self, targets: list[tuple[object, ...]]) -> None:
        self._targets = targets
        self._is_made = False
        self._waiting: dict[int, tuple[socket.socket, tuple[object, ...] | str]] = {}
        self._poll = select.poll()
        self.reached: set[tuple[object, ...]] = set()
        self.answered: list[str] = []

    def made(self) -> _Attempts:
        if not self._is_made:
            self._is_made = True
            for place in set(self._targets):
                self._connect(place)
            for server in _servers():
                self._ask(server)
            self._wait()
        return self

    def _connect(self, place: tuple[object, ...]) -> None:
        sock = _socket(str(place[0]), socket.SOCK_STREAM)
        number = sock.connect_ex(place)
        if number == errno.EINPROGRESS:
            self._keep(sock, place, select.POLLOUT)
            return
        sock.close()
        if number == 0:
            self.reached.add(place)

    def _ask(self, server: str) -> None:
        sock = _socket(server, socket.SOCK_DGRAM)
        try:
            sock.connect((server, _DNS))
            sock.send(_QUESTION)
        except OSError:
            sock.close()
        else:
            self._keep(sock, server, select.POLLIN)

    def _keep(self, sock: socket.socket, target: tuple[object, ...] | str, event: int) -> None:
        self._waiting[sock.fileno()] = (sock, target)
        self._poll.register(sock, event)

    def _wait(self) -> None:
        until = time.monotonic() + _WAIT
        while self._waiting and time.monotonic() < until:
            for descriptor, _ in self._poll.poll(max(0.0, until - time.monotonic()) * 1000):
                sock, target = self._waiting.pop(descriptor)
                self._poll.unregister(descriptor)
                self._judge(sock, target)
                sock.close()
        for sock, _ in self._waiting.values():
            sock.close()

    def _judge(self, sock: socket.socket, target: tuple[object, ...] | str) -> None:
        if not isinstance(target, str):
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                self.reached.add(target)
            return
        with contextlib.suppress(OSError):
            answer = sock.recv(512)
            if answer[:2] == _QUESTION[:2] and answer[3] & 15 in _ANSWERED:
                self.answered.append(target)


def _socket(host: str, kind: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    sock.setblocking(False)
    return sock


def _servers() -> list[str]:
    lines = (line.split() for line in read("/etc/resolv.conf").splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
