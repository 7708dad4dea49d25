"""A route is a decision: nothing about it changes afterwards."""

import dataclasses

import pytest

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
