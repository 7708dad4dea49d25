"""Deadlines: what must hold between them."""

import dataclasses

import pytest

from tmppool.proxy.deadlines import Deadlines


def test_every_deadline_is_longer_than_the_pause_between_two_looks() -> None:
    known = dataclasses.asdict(Deadlines())
    look = known.pop("look")
    del known["body_rate"]
    assert min(known.values()) > look > 0


def test_a_proxy_in_front_closes_its_idle_connections_before_we_do() -> None:
    assert Deadlines().idle > 60


def test_jupyters_own_pings_end_a_websocket_no_earlier_than_we_do() -> None:
    assert Deadlines().unread_tunnel <= 90


def test_deadlines_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Deadlines().head = 1.0  # type: ignore[misc]
