"""The ports of this machine's loopback on which notebooks listen that are processes, and whose process that is.

A port is reserved before anybody is told of it. But any user may bind a port that another has only bound, if both set
SO_REUSEADDR (socket(7)). So before each connection it is checked who listens: nobody else's process is sent a
notebook's token, or what a visitor sends.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

HOST = "127.0.0.1"
_NETLINK_SOCK_DIAG = 4
# sock_diag(7): the request names the local end of a connection that would come in; the answer has its listener's UID.
_SOCK_DIAG_BY_FAMILY = 20
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI2s2s16s16sI8s")
_NLM_F_REQUEST = 1
_LISTENING = 1 << 10
_ANY_COOKIE = b"\xff" * 8
_UID_AT = _HEADER.size + 64  # bytes; in struct inet_diag_msg


@contextlib.contextmanager
def reserved() -> Iterator[int]:
    """Yield a port that the system gives to nobody else; a server that sets SO_REUSEADDR can listen on it.

    Nearly all do, those of Python, Node, Go and Java included: without it, a server cannot be restarted for a minute.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, 0))
        yield int(sock.getsockname()[1])


def owner(port: int) -> int | None:
    """Return the UID of whoever a connection to this port reaches; None for nobody. Raises OSError."""
    ends = struct.pack("!H", port), b"\0\0", socket.inet_aton(HOST).ljust(16, b"\0"), b"\0" * 16
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _LISTENING, *ends, 0, _ANY_COOKIE)
    head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(head + body)  # the kernel answers before this returns
        answer = kernel.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:  # an error: there is no listener
        return None
    return int(struct.unpack_from("=I", answer, _UID_AT)[0])


def can_tell() -> bool:
    """Return True if this machine tells who listens; some sandboxes do not."""
    with contextlib.suppress(OSError), socket.create_server((HOST, 0)) as sock:
        return owner(sock.getsockname()[1]) == os.geteuid()
    return False


def socket_to(port: int) -> socket.socket:
    """Return a non-blocking socket to connect to ``port`` at once. Raises OSError unless this user listens there."""
    listener = owner(port)
    if listener != os.geteuid():
        raise ConnectionRefusedError(f"{'nobody' if listener is None else f'UID {listener}'} listens on port {port}")
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock
