"""Whom code can reach: sockets that really listen, a name server that really answers."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tmppool.audit.inside import network
from tmppool.audit.inside.network import _Attempts


@pytest.fixture
def listening() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_WAIT", 0.3)
    monkeypatch.setattr(network, "_servers", list)


def outcome(name: str, *targets: tuple[str, int], mode: str = "none") -> tuple[bool, str]:
    facts = {"network": mode, "targets": [("host", [list(target) for target in targets])]}
    return dict(network.probes(facts))[name]()


def test_who_accepts_is_reached_and_who_refuses_is_not(
    listening: tuple[str, int], refusing: tuple[str, int], quiet: None
) -> None:
    assert outcome("reach-host", refusing) == (True, "nothing was reached")
    assert outcome("reach-host", refusing, listening) == (False, f"127.0.0.1 port {listening[1]}")


def test_who_does_not_answer_is_not_reached_and_not_waited_for_long(quiet: None) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as first, socket.socket() as more:
        for sock in (first, more):
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        assert outcome("reach-host", server.getsockname())[0]


@pytest.mark.parametrize(("mode", "wanted"), [("none", True), ("isolated", True), ("bridge", False)])
def test_names_are_asked_for_where_no_network_leads_outside(mode: str, *, wanted: bool) -> None:
    names = [name for name, _ in network.probes({"network": mode, "targets": []})]
    assert ("name-servers" in names) is wanted
    assert ("routes" in names) is (mode == "none")


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Any]]:
    """Start one that answers a question with its number and these bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        monkeypatch.setattr(network, "_WAIT", 2.0)
        monkeypatch.setattr(network, "_DNS", sock.getsockname()[1])
        monkeypatch.setattr(network, "_servers", lambda: ["127.0.0.1"])

        def answer(rest: bytes) -> None:
            question, address = sock.recvfrom(512)
            sock.sendto(question[:2] + rest, address)

        yield lambda rest: threading.Thread(target=answer, args=(rest,)).start()


@pytest.mark.parametrize(
    ("code", "held"), [(0, False), (3, False), (2, True), (5, True)], ids=["found", "no such name", "failed", "refused"]
)
def test_a_name_server_that_asks_someone_outside_does_not_hold(
    code: int, *, held: bool, name_server: Callable[[bytes], Any]
) -> None:
    name_server(bytes([0x81, 0x80 | code]) + bytes(8))
    assert outcome("name-servers")[0] is held


def test_everything_is_tried_once(listening: tuple[str, int], quiet: None) -> None:
    attempts = _Attempts([listening])
    attempts.made()
    attempts.reached.clear()
    assert attempts.made().reached == set()


def test_interfaces_that_are_up_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.listdir", lambda _path: ["lo", "tunl0", "eth0"])
    flags = {"lo": "0x9", "tunl0": "0x80", "eth0": "0x1003"}
    monkeypatch.setattr(network, "read", lambda path: flags[path.split("/")[4]])
    assert network._interfaces() == (False, "eth0 lo, not lo")
    flags["eth0"] = "0x1002"
    assert network._interfaces() == (True, "lo")


def test_a_route_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "read", lambda _path: "Iface\tDestination\n" + "eth0\t00000000\n")
    assert network._routes() == (False, "eth0")
    monkeypatch.setattr(network, "read", lambda _path: "Iface\tDestination")
    assert network._routes() == (True, "none")


def test_name_servers_are_read_from_the_resolvers_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "read", lambda _path: "search x\nnameserver 10.0.0.1\nnameserver\noptions ndots:0")
    assert network._servers() == ["10.0.0.1"]
