"""Tickets: signed, short-lived, one visitor's own, good once."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from tmppool.web import tickets as tickets_module
from tmppool.web.tickets import LIFETIME, Tickets

SECRET = b"s" * 32


def test_a_ticket_is_good_once() -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("anna")
    assert [tickets.redeem(ticket, "anna") for _ in range(3)] == [True, False, False]


def test_each_ticket_is_another() -> None:
    tickets = Tickets(SECRET)
    assert len({tickets.issue("anna") for _ in range(100)}) == 100


def test_a_ticket_is_its_visitors_own() -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("anna")
    assert not tickets.redeem(ticket, "bert")
    assert not tickets.redeem(ticket, None)
    assert tickets.redeem(ticket, "anna")


def test_a_ticket_of_another_service_is_no_good() -> None:
    assert not Tickets(SECRET).redeem(Tickets(b"o" * 32).issue("anna"), "anna")


def test_a_ticket_outlives_a_restart() -> None:
    assert Tickets(SECRET).redeem(Tickets(SECRET).issue("anna"), "anna")


class WallClock:
    """The time that signatures and their memory see, in seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def test_a_ticket_is_good_for_its_lifetime_and_not_a_second_longer(wall_clock: WallClock) -> None:
    for tickets, lifetime in ((Tickets(SECRET), LIFETIME), (Tickets(SECRET, "other", 60), 60)):
        young, old = tickets.issue("anna"), tickets.issue("anna")
        wall_clock.now += lifetime
        assert tickets.redeem(young, "anna")
        wall_clock.now += 1
        assert not tickets.redeem(old, "anna")


@pytest.mark.parametrize("issued_at", [0.0, 0.4, 0.999])
def test_a_ticket_is_used_for_as_long_as_it_would_be_good(wall_clock: WallClock, issued_at: float) -> None:
    wall_clock.now += issued_at
    tickets = Tickets(SECRET, lifetime=3)
    ticket = tickets.issue("anna")
    assert tickets.redeem(ticket, "anna")
    for _ in range(60):
        wall_clock.now += 0.1
        assert not tickets.redeem(ticket, "anna")
    assert len(tickets._used) == 0


def test_a_ticket_that_got_nothing_may_be_tried_again() -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("anna")
    assert tickets.redeem(ticket, "anna")
    tickets.give_back(ticket, "bert")
    assert not tickets.redeem(ticket, "anna")
    tickets.give_back(ticket, "anna")
    assert tickets.redeem(ticket, "anna")
    tickets.give_back("nonsense", "anna")


def test_only_so_many_used_tickets_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets_module, "_REMEMBERED", 10)
    tickets = Tickets(SECRET)
    used = [tickets.issue("anna") for _ in range(50)]
    for ticket in used:
        assert tickets.redeem(ticket, "anna")
    assert not any(tickets.redeem(ticket, "anna") for ticket in used[40:])
    assert tickets.redeem(used[0], "anna")


def test_a_used_ticket_is_remembered_while_thousands_of_others_are_used() -> None:
    tickets = Tickets(SECRET)
    first = tickets.issue("anna")
    assert tickets.redeem(first, "anna")
    for _ in range(10_000):
        assert tickets.redeem(tickets.issue("bert"), "bert")
    assert not tickets.redeem(first, "anna")


@given(st.text() | st.binary().map(repr))
def test_nonsense_is_no_ticket(text: str) -> None:
    assert not Tickets(SECRET).redeem(text, "anna")


@given(st.integers(min_value=0), st.sampled_from("abcXYZ019-_."))
def test_a_changed_ticket_is_no_ticket(place: int, letter: str) -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("anna")
    place %= len(ticket)
    if ticket[place] != letter and place != len(ticket) - 1:  # the last letter holds bits that count for nothing
        assert not tickets.redeem(ticket[:place] + letter + ticket[place + 1 :], "anna")


@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_ticket_with_one_bit_changed_is_no_ticket(place: int, bit: int) -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("anna")
    place %= len(ticket) - 1  # the last letter holds bits that count for nothing
    changed = ticket[:place] + chr(ord(ticket[place]) ^ 1 << bit) + ticket[place + 1 :]
    assert not tickets.redeem(changed, "anna")
    assert tickets.redeem(ticket, "anna")


@given(st.data())
def test_a_ticket_that_is_cut_or_mixed_is_no_ticket(data: st.DataObject) -> None:
    tickets = Tickets(SECRET)
    mine, other = tickets.issue("anna"), tickets.issue("bert")
    cut = data.draw(st.integers(1, len(mine) - 1))
    for text in (mine[:cut], mine[cut:], mine[:cut] + other[cut:], other[:cut] + mine[cut:], mine + mine, mine + "."):
        if text not in (mine, other):
            assert not tickets.redeem(text, "anna"), text


@pytest.mark.parametrize(
    "content", [None, 7, "anna", ["anna"], ["anna", 7], ["anna", "x", "y"], {"anna": "x"}, ["anna", None], [None, "x"]]
)
def test_what_is_signed_but_no_ticket_is_no_ticket(content: object) -> None:
    signed = URLSafeTimedSerializer(SECRET, salt="tmppool.ticket").dumps(content)
    assert not Tickets(SECRET).redeem(signed, "anna")


def test_a_ticket_for_one_purpose_is_no_good_for_another() -> None:
    one, other = Tickets(SECRET), Tickets(SECRET, "other")
    assert not one.redeem(other.issue("anna"), "anna")
    assert not other.redeem(one.issue("anna"), "anna")
    assert other.redeem(other.issue("anna"), "anna")


def test_a_ticket_is_known_as_ours_when_it_is_used_or_too_old() -> None:
    tickets = Tickets(SECRET, lifetime=-1)
    ticket = tickets.issue("anna")
    assert not tickets.redeem(ticket, "anna")
    assert tickets.is_ours(ticket, "anna")
    assert not tickets.is_ours(ticket, "bert")
    assert not Tickets(SECRET, "other").is_ours(ticket, "anna")
    assert not tickets.is_ours("theirs", "anna")


def test_a_ticket_has_one_successor_that_it_does_not_tell() -> None:
    tickets, ticket = Tickets(SECRET), Tickets(SECRET).issue("anna")
    cookie = tickets.successor(ticket)
    assert re.fullmatch(r"[\w-]{22}", cookie)
    assert Tickets(SECRET).successor(ticket) == cookie  # after a restart too
    assert cookie not in (tickets.successor(tickets.issue("anna")), Tickets(SECRET + b"x").successor(ticket))
    assert tickets.successor("\udcff") != cookie


def test_what_was_signed_for_another_purpose_is_no_ticket() -> None:
    signed = URLSafeTimedSerializer(SECRET, salt="another").dumps(["anna", "x"])
    assert not Tickets(SECRET).redeem(signed, "anna")


@pytest.mark.parametrize("ahead", [86400.0, -86400.0])
def test_a_ticket_stays_valid_when_the_wall_clock_is_set(wall_clock: WallClock, ahead: float) -> None:
    at = [1000.0]
    tickets = Tickets(SECRET, clock=lambda: at[0])
    ticket = tickets.issue("anna")
    wall_clock.now += ahead
    assert tickets.redeem(ticket, "anna")
    assert not tickets.redeem(ticket, "anna")
    late = tickets.issue("anna")
    at[0] += LIFETIME + 1
    assert not tickets.redeem(late, "anna")
