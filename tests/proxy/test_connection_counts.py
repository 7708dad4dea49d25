"""How many connections there are, and from where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy.connection_counts import ConnectionCounts, Entry
from tmppool.proxy.forwarded import networks


def test_one_address_has_so_many_and_no_more_and_others_have_their_own() -> None:
    crowd = ConnectionCounts(0, 2)
    assert [crowd.enter("192.0.2.1") for _ in range(3)] == [Entry.ADMITTED, Entry.ADMITTED, Entry.TOO_MANY_FROM_THERE]
    assert crowd.enter("192.0.2.2") is Entry.ADMITTED


def test_who_leaves_makes_room_and_who_was_turned_away_took_none() -> None:
    crowd = ConnectionCounts(0, 1)
    crowd.enter("192.0.2.1")
    for _ in range(5):
        crowd.enter("192.0.2.1")
    crowd.leave("192.0.2.1")
    assert crowd.enter("192.0.2.1") is Entry.ADMITTED


def test_no_limit_is_none() -> None:
    crowd = ConnectionCounts(0, 0)
    assert {crowd.enter("192.0.2.1") for _ in range(10_000)} == {Entry.ADMITTED}


def test_all_together_are_so_many_and_no_more() -> None:
    crowd = ConnectionCounts(3, 2)
    entries = [crowd.enter(f"192.0.2.{number}") for number in range(4)]
    assert entries == [Entry.ADMITTED] * 3 + [Entry.FULL]
    crowd.leave("192.0.2.0")
    assert crowd.enter("192.0.2.9") is Entry.ADMITTED


@pytest.mark.parametrize(
    ("other", "entry"),
    [
        ("2001:db8:1:2::1", Entry.TOO_MANY_FROM_THERE),
        ("2001:db8:1:2:ffff::1", Entry.TOO_MANY_FROM_THERE),
        ("2001:db8:1:3::1", Entry.ADMITTED),
        ("fe80::1%eth0", Entry.ADMITTED),
        ("192.0.2.1", Entry.ADMITTED),
        ("", Entry.ADMITTED),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_address(other: str, entry: Entry) -> None:
    crowd = ConnectionCounts(0, 1)
    crowd.enter("2001:db8:1:2::7")
    assert crowd.enter(other) is entry


def test_behind_a_trusted_proxy_there_are_many_and_yet_not_more_than_all() -> None:
    crowd = ConnectionCounts(5, 1, networks(["10.0.0.0/8"]))
    assert [crowd.enter("10.1.2.3") for _ in range(6)] == [Entry.ADMITTED] * 5 + [Entry.FULL]
    crowd.leave("10.1.2.3")
    crowd.enter("192.0.2.1")
    crowd.leave("10.1.2.3")
    assert crowd.enter("192.0.2.1") is Entry.TOO_MANY_FROM_THERE


@given(moves=st.lists(st.tuples(st.booleans(), st.sampled_from(["192.0.2.1", "2001:db8::1", "2001:db8::2"]))))
def test_whoever_comes_and_goes_nothing_is_left_of_those_who_went(moves: list[tuple[bool, str]]) -> None:
    crowd, inside = ConnectionCounts(7, 3), []
    for comes, address in moves:
        if comes:
            if crowd.enter(address) is Entry.ADMITTED:
                inside.append(address)
        elif inside:
            crowd.leave(inside.pop(0))
        assert crowd.size == len(inside) <= 7
        assert sum(crowd._counts.values()) == len(inside)
    for address in inside:
        crowd.leave(address)
    assert (crowd.size, crowd._counts) == (0, {})
