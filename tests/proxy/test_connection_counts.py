"""How many connections there are, and from where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy.connection_counts import Acceptance, ConnectionCounts
from tmppool.proxy.forwarded import networks


def test_one_address_has_so_many_and_no_more_and_others_have_their_own() -> None:
    counts = ConnectionCounts(0, 2)
    assert [counts.enter("192.0.2.1") for _ in range(3)] == [
        Acceptance.ADMITTED,
        Acceptance.ADMITTED,
        Acceptance.TOO_MANY_FROM_ADDRESS,
    ]
    assert counts.enter("192.0.2.2") is Acceptance.ADMITTED


def test_who_leaves_makes_room_and_who_was_turned_away_took_none() -> None:
    counts = ConnectionCounts(0, 1)
    counts.enter("192.0.2.1")
    for _ in range(5):
        counts.enter("192.0.2.1")
    counts.leave("192.0.2.1")
    assert counts.enter("192.0.2.1") is Acceptance.ADMITTED


def test_no_limit_is_none() -> None:
    counts = ConnectionCounts(0, 0)
    assert {counts.enter("192.0.2.1") for _ in range(10_000)} == {Acceptance.ADMITTED}


def test_all_together_are_so_many_and_no_more() -> None:
    counts = ConnectionCounts(3, 2)
    entries = [counts.enter(f"192.0.2.{number}") for number in range(4)]
    assert entries == [Acceptance.ADMITTED] * 3 + [Acceptance.TOO_MANY]
    counts.leave("192.0.2.0")
    assert counts.enter("192.0.2.9") is Acceptance.ADMITTED


@pytest.mark.parametrize(
    ("other", "entry"),
    [
        ("2001:db8:1:2::1", Acceptance.TOO_MANY_FROM_ADDRESS),
        ("2001:db8:1:2:ffff::1", Acceptance.TOO_MANY_FROM_ADDRESS),
        ("2001:db8:1:3::1", Acceptance.ADMITTED),
        ("fe80::1%eth0", Acceptance.ADMITTED),
        ("192.0.2.1", Acceptance.ADMITTED),
        ("", Acceptance.ADMITTED),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_address(other: str, entry: Acceptance) -> None:
    counts = ConnectionCounts(0, 1)
    counts.enter("2001:db8:1:2::7")
    assert counts.enter(other) is entry


def test_behind_a_trusted_proxy_there_are_many_and_yet_not_more_than_all() -> None:
    counts = ConnectionCounts(5, 1, networks(["10.0.0.0/8"]))
    assert [counts.enter("10.1.2.3") for _ in range(6)] == [Acceptance.ADMITTED] * 5 + [Acceptance.TOO_MANY]
    counts.leave("10.1.2.3")
    counts.enter("192.0.2.1")
    counts.leave("10.1.2.3")
    assert counts.enter("192.0.2.1") is Acceptance.TOO_MANY_FROM_ADDRESS


@given(moves=st.lists(st.tuples(st.booleans(), st.sampled_from(["192.0.2.1", "2001:db8::1", "2001:db8::2"]))))
def test_whoever_comes_and_goes_nothing_is_left_of_those_who_went(moves: list[tuple[bool, str]]) -> None:
    counts, inside = ConnectionCounts(7, 3), []
    for comes, address in moves:
        if comes:
            if counts.enter(address) is Acceptance.ADMITTED:
                inside.append(address)
        elif inside:
            counts.leave(inside.pop(0))
        assert counts.size == len(inside) <= 7
        assert sum(counts._counts.values()) == len(inside)
    for address in inside:
        counts.leave(address)
    assert (counts.size, counts._counts) == (0, {})
