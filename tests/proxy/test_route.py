"""A route is a decision: nothing about it changes afterwards."""

import dataclasses

import pytest

from tmppool.proxy import wire
from tmppool.proxy.route import ToApplication, ToNotebook
from tmppool.proxy.upstream import Upstream
from tmppool.running import Dial


def test_a_route_is_for_plain_requests_without_notice_unless_told() -> None:
    made = ToNotebook("/user/k/", Upstream(Dial("h", 1)), b"")
    assert (made.notice, made.is_websocket, made.touch, made.on_close) == (None, False, None, set())
    assert (made.target, made.on_taken, made.unreachable()) == (None, None, ToApplication())


def test_a_route_does_not_change() -> None:
    made = ToNotebook("/user/k/", Upstream(Dial("h", 1)), b"")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.is_websocket = True  # type: ignore[misc]


def test_two_routes_do_not_share_what_is_closed() -> None:
    one, other = (ToNotebook("/user/k/", Upstream(Dial("h", 1)), b"") for _ in range(2))
    one.on_close.add(lambda: None)
    assert other.on_close == set()


JUPYTERS = "frame-ancestors 'self'; report-uri /x; sandbox allow-scripts"  # of each file that it sends


@pytest.mark.parametrize(
    ("ours", "kept"),
    [
        ("frame-ancestors 'self'", [JUPYTERS, "Frame-Ancestors 'none', img-src *"]),
        ("frame-ancestors 'self' https://docs.example", ["report-uri /x; sandbox allow-scripts", "img-src *"]),
    ],
)
def test_where_other_pages_may_embed_a_notebook_no_response_of_its_own_says_otherwise(
    ours: str, kept: list[str]
) -> None:
    fields = f"Content-Security-Policy: {JUPYTERS}\r\nContent-Security-Policy: Frame-Ancestors 'none', img-src *\r\n"
    response = wire.parse_response(f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n".encode())
    policy = f"Content-Security-Policy: {ours}".encode()
    made = ToNotebook("/user/k/", Upstream(Dial("h", 1)), b"", frame_policy=policy)
    lines = [line.decode() for line in made.response_lines(response)]
    found = [line.partition(": ")[2] for line in lines if line.startswith("Content-Security-Policy")]
    assert found == [*kept, ours]
