"""A port is reserved before it is told, and nobody else's process is taken for a notebook."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tmppool.backends import port_owner
from tmppool.running import Dial

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
# Listens as another user, and says what it is sent; from the first to the last moment with SO_REUSEADDR.
SQUATTER = """
import os, socket, sys
os.setuid(65534)
sock = socket.create_server(eval(sys.argv[1]), family=int(sys.argv[2]), dualstack_ipv6=int(sys.argv[2]) != 2)
print("listening", flush=True)
while True:
    print("got", sock.accept()[0].recv(1000), flush=True)
"""


@contextmanager
def squatter(port: int, address: str = "127.0.0.1") -> Iterator[subprocess.Popen[str]]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    words = [sys.executable, "-c", SQUATTER, repr((address, port)), str(int(family))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "listening\n"
            yield child
        finally:
            child.kill()


def test_a_port_that_is_reserved_is_given_to_nobody_by_the_system_and_a_server_can_listen_on_it() -> None:
    with port_owner.reserved() as port:
        with socket.socket() as other, pytest.raises(OSError) as refused:
            other.bind(("127.0.0.1", port))
        assert refused.value.errno == errno.EADDRINUSE
        assert port_owner.owner(port) is None
        with socket.create_server(("127.0.0.1", port)):
            assert port_owner.owner(port) == os.geteuid()
    with socket.create_server(("127.0.0.1", port)):
        assert port_owner.owner(port) == os.geteuid()


def test_no_port_is_reserved_twice() -> None:
    with port_owner.reserved() as one, port_owner.reserved() as other:
        assert one != other


@AS_ROOT
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_another_user_who_listens_is_told_apart(address: str) -> None:
    with port_owner.reserved() as port, squatter(port, address):
        assert port_owner.owner(port) == NOBODY
        with pytest.raises(ConnectionRefusedError, match=rf"^UID {NOBODY} listens on port {port}$"):
            port_owner.socket_to(port)


async def test_what_is_ours_is_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with await Dial("127.0.0.1", port, lambda: port_owner.socket_to(port)).connect() as sock:
            assert sock.getpeername() == ("127.0.0.1", port)


def test_where_nobody_listens_nobody_is_connected_to() -> None:
    with port_owner.reserved() as port, pytest.raises(ConnectionRefusedError, match=r"^nobody listens"):
        port_owner.socket_to(port)


def test_a_machine_that_does_not_tell_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert port_owner.can_tell()
    monkeypatch.setattr(port_owner, "_NETLINK_SOCK_DIAG", 31)  # a family that no kernel has
    assert not port_owner.can_tell()
