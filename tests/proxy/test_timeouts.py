"""Timeouts: what must hold between them."""

import dataclasses

import pytest

from tmppool.proxy.timeouts import Timeouts


def test_every_deadline_is_longer_than_the_pause_between_two_checks() -> None:
    known = dataclasses.asdict(Timeouts())
    interval = known.pop("check_interval")
    del known["body_rate"]
    assert min(known.values()) > interval > 0


def test_a_proxy_in_front_closes_its_idle_connections_before_we_do() -> None:
    assert Timeouts().idle > 60


def test_jupyters_own_pings_end_a_websocket_no_earlier_than_we_do() -> None:
    assert Timeouts().unread_tunnel <= 90


def test_deadlines_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Timeouts().head = 1.0  # type: ignore[misc]
