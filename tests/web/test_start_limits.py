"""A number of starts an hour for each address, any number with the code, and no guessing of it."""

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from yarl import URL

from tests.specs import spec_of
from tests.web.guests import Answer, Guest, Place
from tmppool import clocks
from tmppool.backends.fake import FakeBackend
from tmppool.errors import NoNotebookError, Shortage
from tmppool.policy import Limits
from tmppool.pool import Pool
from tmppool.web import start_limits as start_limits_module
from tmppool.web.start_limits import WRONG_CODES_PER_HOUR, RateLimiter, StartLimits, StartRefusedError, network_of
from tmppool.web.tickets import LIFETIME

Open = Any
HERE = "198.51.100.7"
POOL = Pool("main", FakeBackend(spec_of()), [], Limits(6, 6, 0, 0, 1))
SECOND = 1_000_000_000
HOUR = 3600 * SECOND


class Now:
    """Nanoseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 10**15 + 7

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def now() -> Now:
    return Now()


# One limiter


def interval(per_hour: int) -> int:
    """After how many nanoseconds the next event is there, rounded up."""
    return -(-HOUR // per_hour)


def test_a_key_has_its_events_at_once_and_is_then_told_when_there_is_one_more(now: Now) -> None:
    limiter = RateLimiter(60, now)
    assert [limiter.take(b"a") for _ in range(62)] == [0] * 60 + [60, 60]
    assert limiter.take(b"b") == 0


@pytest.mark.parametrize("per_hour", [1, 7, 60, 3599])
def test_a_start_is_back_exactly_when_said_and_not_a_nanosecond_before(now: Now, per_hour: int) -> None:
    limiter = RateLimiter(per_hour, now)
    first = now.now
    for number in range(1, 4):
        while limiter.take(b"a") == 0:
            pass
        now.now = first + number * interval(per_hour) - 1
        assert limiter.take(b"a") == 1
        now.now += 1
        assert limiter.take(b"a") == 0
        assert limiter.take(b"a") > 0


def test_the_wait_that_is_said_is_enough_and_one_second_less_is_not(now: Now) -> None:
    limiter = RateLimiter(7, now)
    for _ in range(7):
        limiter.take(b"a")
    now.now += 123 * SECOND + 456
    wait = limiter.take(b"a")
    now.now += (wait - 1) * SECOND
    assert limiter.take(b"a") == 1
    now.now += SECOND
    assert limiter.take(b"a") == 0


PASSING = st.one_of(st.just(0), st.integers(0, HOUR // 50), st.integers(0, HOUR // 2), st.just(interval(7)))


@given(st.integers(1, 9), st.lists(st.tuples(PASSING, st.booleans()), max_size=60))
def test_the_limiter_is_the_recommendations_leaky_bucket(per_hour: int, moves: list[tuple[int, bool]]) -> None:
    """ITU-T I.371 says the algorithm twice; the other way is a bucket that runs out evenly and holds so much."""
    now = Now()
    limiter, level, size = RateLimiter(per_hour, now), 0, interval(per_hour)
    for passed, is_given_back in moves:
        now.now += passed
        level = max(0, level - passed)
        is_there = level <= (per_hour - 1) * size
        assert (limiter.wait(b"a") == 0) is is_there
        assert (limiter.take(b"a") == 0) is is_there
        if is_there:
            level += size
            if is_given_back:
                limiter.give_back(b"a")
                level -= size
        assert len(limiter) == (level > 0)


@given(st.integers(1, 9), st.lists(PASSING, min_size=1, max_size=80))
def test_in_any_window_there_are_no_more_than_the_burst_and_what_came_back_in_it(
    per_hour: int, moves: list[int]
) -> None:
    now = Now()
    limiter, taken = RateLimiter(per_hour, now), []
    for passed in moves:
        now.now += passed
        if limiter.take(b"a") == 0:
            taken.append(now.now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            length = taken[last] - taken[first]
            assert last - first + 1 <= per_hour + length // interval(per_hour)
            assert length > HOUR or last - first + 1 <= 2 * per_hour


@given(st.integers(1, 9), st.lists(PASSING, max_size=20), st.integers(1, 5))
def test_what_is_taken_and_given_back_changes_nothing(per_hour: int, moves: list[int], times: int) -> None:
    now = Now()
    limiter, other = RateLimiter(per_hour, now), RateLimiter(per_hour, now)
    for passed in moves:
        now.now += passed
        for _ in range(times):
            if limiter.take(b"a") == 0:
                limiter.give_back(b"a")
        assert limiter.wait(b"a") == other.wait(b"a")
        assert len(limiter) == len(other)
        assert limiter.take(b"a") == other.take(b"a")


def test_nothing_is_given_back_to_a_key_that_took_nothing(now: Now) -> None:
    limiter = RateLimiter(1, now)
    limiter.give_back(b"a")
    assert [limiter.take(b"a"), len(limiter)] == [0, 1]
    assert limiter.take(b"a") == 3600


def test_a_key_whose_events_are_all_back_takes_no_memory(now: Now) -> None:
    limiter = RateLimiter(3, now)
    for number in range(100):
        limiter.take(b"%d" % number)
    limiter.take(b"0")
    now.now += interval(3) - 1
    assert len(limiter) == 100
    now.now += 1
    assert len(limiter) == 1
    now.now += interval(3)
    assert len(limiter) == 0


def test_what_is_counted_for_however_many_addresses_stays_below_twenty_megabytes(now: Now) -> None:
    """Of the starts and of the wrong codes together, from addresses that come once and from some that come again."""
    tracemalloc.start()
    try:
        limits = StartLimits(60, "monday", now)
        for number in (*range(18_000), *range(17_500, 18_000), *range(17_500, 18_000)):
            address = f"2001:db8:{number:x}::1"
            assert started(limits, address) is None
            assert refused(limits, address, None, "guess") == ("code", 0)
        size = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert limits._starts is not None
    assert len(limits._starts) == len(limits._wrong_codes) == start_limits_module._REMEMBERED >= 10_000
    assert size < 20 * 2**20


def test_the_one_longest_untouched_is_forgotten_first(now: Now, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_limits_module, "_REMEMBERED", 3)
    limiter = RateLimiter(2, now)
    for key in (b"a", b"b", b"c", b"a", b"d"):
        assert limiter.take(key) == 0
    assert limiter.take(b"a") > 0  # touched since
    assert [limiter.take(b"b"), limiter.take(b"b")] == [0, 0]


# Addresses


@pytest.mark.parametrize(
    ("one", "other", "is_one_network"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:DB8:0001:2:0:0:0:9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8:1:2::1", "192.0.2.1", False),
        ("", "no address", True),
    ],
)
def test_an_address_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, is_one_network: bool) -> None:  # noqa: FBT001
    assert (network_of(one) == network_of(other)) is is_one_network


# All limits of a start


def started(
    limits: StartLimits, address: str = HERE, visitor: str | None = None, code: str = ""
) -> StartRefusedError | None:
    try:
        with limits.count_start(POOL, address, visitor, code):
            return None
    except StartRefusedError as error:
        return error


def refused(*given: Any) -> tuple[str, int]:
    found = started(*given)
    assert found is not None
    return found.cause, found.retry_after


def test_an_address_may_start_so_many_in_an_hour(now: Now) -> None:
    limits = StartLimits(5, None, now)
    assert [started(limits) for _ in range(5)] == [None] * 5
    assert refused(limits) == ("starts", 720)
    assert started(limits, "198.51.100.8") is None
    now.now += 720 * SECOND
    assert started(limits) is None
    assert refused(limits) == ("starts", 720)


def test_0_is_no_limit(now: Now) -> None:
    limits = StartLimits(0, None, now)
    assert [started(limits) for _ in range(1000)] == [None] * 1000


def test_what_the_pool_could_not_give_costs_nothing(now: Now) -> None:
    limits = StartLimits(1, None, now)
    for _ in range(10):
        with pytest.raises(NoNotebookError), limits.count_start(POOL, HERE):
            raise NoNotebookError(Shortage.WARMING, "none", retry_after=1)
    assert started(limits) is None
    assert refused(limits)[0] == "starts"


def test_to_ask_if_a_start_is_refused_costs_nothing(now: Now) -> None:
    limits = StartLimits(1, "monday", now)
    for _ in range(3):
        assert not limits.check_start(HERE)
    assert started(limits) is None
    with pytest.raises(StartRefusedError) as caught:
        limits.check_start(HERE)
    assert (caught.value.cause, caught.value.retry_after) == ("starts", 3600)
    assert limits.check_start(HERE, "monday")
    with pytest.raises(StartRefusedError, match="code is wrong"):
        limits.check_start(HERE, "tuesday")


def test_a_visitor_who_left_after_the_start_has_paid(now: Now) -> None:
    limits = StartLimits(1, None, now)
    with pytest.raises(asyncio.CancelledError), limits.count_start(POOL, HERE):
        raise asyncio.CancelledError
    assert refused(limits)[0] == "starts"


def test_the_code_lifts_the_limit_and_costs_the_address_nothing(now: Now) -> None:
    limits = StartLimits(1, "monday", now)
    assert [started(limits, HERE, None, "monday") for _ in range(100)] == [None] * 100
    assert started(limits) is None
    assert refused(limits)[0] == "starts"
    assert started(limits, HERE, None, " monday ") is None


def test_a_visitor_gives_the_code_once(now: Now) -> None:
    limits = StartLimits(1, "monday", now)
    assert started(limits, HERE, "anna", "monday") is None
    assert [started(limits, HERE, "anna") for _ in range(9)] == [None] * 9
    assert started(limits, HERE, "bert") is None
    assert refused(limits, HERE, "bert")[0] == "starts"
    assert started(limits, HERE, None, "monday") is None
    assert refused(limits, HERE, None)[0] == "starts"  # a program has no name to remember


def test_only_so_many_participants_are_remembered_and_those_who_come_again_the_longest(
    now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_limits_module, "_REMEMBERED", 3)
    limits = StartLimits(1, "monday", now)
    for visitor in ("anna", "bert", "carl"):
        started(limits, HERE, visitor, "monday")
    assert started(limits, HERE, "anna") is None
    started(limits, HERE, "dora", "monday")
    assert started(limits) is None
    assert [started(limits, HERE, visitor) for visitor in ("anna", "carl", "dora")] == [None] * 3
    assert refused(limits, HERE, "bert")[0] == "starts"


@pytest.mark.parametrize("code", ["Monday", "monday2", "monda", "x", "\xff", "\udcff", "montag\0"])
def test_a_wrong_code_is_refused_and_costs_no_start(now: Now, code: str) -> None:
    limits = StartLimits(1, "monday", now)
    assert refused(limits, HERE, "anna", code) == ("code", 0)
    assert started(limits, HERE, "anna") is None
    assert refused(limits, HERE, "anna")[0] == "starts"


def test_the_same_wrong_code_is_one_guess_of_an_address(now: Now) -> None:
    """As of a class whose browsers all keep yesterday's."""
    limits = StartLimits(1, "monday", now)
    for _ in range(100):
        assert refused(limits, HERE, None, " sunday") == ("code", 0)
    assert started(limits, HERE, "anna", "monday") is None
    for number in range(WRONG_CODES_PER_HOUR - 1):
        assert refused(limits, HERE, None, f"guess {number}") == ("code", 0)
    assert refused(limits, HERE, None, "sunday")[0] == "guesses"
    assert refused(limits, "198.51.100.8", None, "sunday") == ("code", 0)


def test_after_too_many_wrong_codes_a_right_one_does_not_stand_out(now: Now) -> None:
    limits = StartLimits(100, "monday", now)
    for number in range(WRONG_CODES_PER_HOUR):
        assert refused(limits, HERE, None, f"guess {number}") == ("code", 0)
    wait = -(-3600 // WRONG_CODES_PER_HOUR)
    assert refused(limits, HERE, None, "guess") == ("guesses", wait)
    assert refused(limits, HERE, None, "monday") == ("guesses", wait)
    assert started(limits, "198.51.100.8", None, "monday") is None
    assert started(limits) is None  # without a code as ever
    now.now += wait * SECOND
    assert started(limits, HERE, None, "monday") is None
    assert refused(limits, HERE, None, "guess") == ("code", 0)


def test_who_gave_the_code_is_not_asked_again_whatever_others_guess(now: Now) -> None:
    limits = StartLimits(1, "monday", now)
    assert started(limits, HERE, "anna", "monday") is None
    for number in range(WRONG_CODES_PER_HOUR):
        assert refused(limits, HERE, "bert", f"guess {number}") == ("code", 0)
    assert refused(limits, HERE, "carl", "monday")[0] == "guesses"
    for code in ("monday", "", "yesterday's"):
        assert started(limits, HERE, "anna", code) is None


def test_without_a_workshop_code_a_code_means_nothing(now: Now) -> None:
    for code in (None, ""):
        limits = StartLimits(1, code, now)
        assert not limits.has_code
        assert started(limits, HERE, "anna", "x") is None
        assert refused(limits, HERE, "anna", "x")[0] == "starts"


def test_a_proxy_that_was_not_named_is_hinted_at_once_and_no_address_is_logged(now: Now) -> None:
    limits = StartLimits(1, None, now)
    with capture_logs() as logs:
        started(limits, "8.8.8.8")
        refused(limits, "8.8.8.8")
        assert logs == []  # an address of its own, which no proxy of the operator has
        for address in ("10.0.0.1", "10.0.0.2"):
            started(limits, address)
            refused(limits, address)
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("start.refused", "warning")
    assert "--trusted-proxies" in entry["message"]
    assert "10.0.0" not in str(entry)


# In the service


def behind(place: Place, address: str) -> Guest:
    return place.person(X_Forwarded_For=address)


@pytest.fixture
async def classroom(open_place: Open) -> Place:
    """Three starts an hour for each address, a code, and a proxy in front that is believed."""
    return await open_place(pool_size=50, starts_per_hour=3, workshop_code="monday", trusted_proxies=("127.0.0.1",))


async def statuses(asking: list[Any]) -> list[int]:
    answers: list[Answer] = await asyncio.gather(*asking)
    return sorted(answer.status for answer in answers)


async def test_a_class_of_forty_behind_one_address_is_served_with_the_code(classroom: Place) -> None:
    found = await statuses([behind(classroom, HERE).click("/lab/tree/a.ipynb?x=1&code=monday") for _ in range(40)])
    assert found == [303] * 40
    assert (await classroom.stats())["assigned"] == 40


async def test_a_class_of_forty_without_the_code_gets_as_many_as_the_limit_says(classroom: Place) -> None:
    assert await statuses([behind(classroom, HERE).click("/") for _ in range(40)]) == [303] * 3 + [429] * 37
    assert (await classroom.stats())["assigned"] == 3


async def test_neighbours_in_one_ipv6_network_share_a_limit(classroom: Place) -> None:
    found = await statuses([behind(classroom, f"2001:db8:1:2:{n:x}::{n:x}").click("/") for n in range(10)])
    assert found == [303] * 3 + [429] * 7
    assert (await behind(classroom, "2001:db8:1:3::1").click("/")).status == 303


async def test_a_forged_address_changes_nothing(open_place: Open) -> None:
    place = await open_place(pool_size=10, starts_per_hour=3)
    asking = [
        place.person(X_Forwarded_For=f"192.0.2.{n}", Forwarded=f"for=192.0.2.{n}", X_Real_IP=f"192.0.2.{n}").click()
        for n in range(10)
    ]
    assert await statuses(asking) == [303] * 3 + [429] * 7


async def test_behind_a_believed_proxy_only_its_own_word_counts(classroom: Place) -> None:
    asking = [behind(classroom, f"192.0.2.{n}, {HERE}").click("/") for n in range(10)]
    assert await statuses(asking) == [303] * 3 + [429] * 7


async def use_up(place: Place) -> None:
    for _ in range(3):
        assert (await behind(place, HERE).click()).status == 303


async def test_the_limited_page_says_why_and_when_and_asks_for_the_code(classroom: Place) -> None:
    await use_up(classroom)
    person = behind(classroom, HERE)
    page = await person.click("/lab/tree/a.ipynb?x=1")
    assert page.status == 429
    assert 1190 < int(page.headers["Retry-After"]) <= 1200
    assert f'data-retry-after="{page.headers["Retry-After"]}"' in page.text
    assert "Your network address has started many notebooks recently" in page.text
    assert "in 20 minutes" in page.text
    assert 'name="code"' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert page.form()["action"] == "/spawn/lab/tree/a.ipynb?x=1"
    fields = page.form()
    answer = await person.post(fields.pop("action"), fields | {"code": "monday"}, Sec_Fetch_Site="same-origin")
    assert answer.status == 303
    assert answer.location.endswith("/lab/tree/a.ipynb?x=1")


async def test_without_a_workshop_code_no_field_is_shown(open_place: Open) -> None:
    place = await open_place(starts_per_hour=1)
    await place.person().click()
    page = await place.person().click()
    assert page.status == 429
    assert "workshop" not in page.text.lower()
    assert 'name="code"' not in page.text


async def test_the_ticket_of_who_was_limited_is_good_again(classroom: Place) -> None:
    await use_up(classroom)
    person = behind(classroom, HERE)
    page = await person.get("/")
    fields = page.form()
    action = fields.pop("action")
    for data in (fields, fields | {"code": "wrong"}):
        assert (await person.post(action, data, Sec_Fetch_Site="same-origin")).status in (403, 429)
    assert (await person.post(action, fields | {"code": "monday"}, Sec_Fetch_Site="same-origin")).status == 303


async def test_a_visitor_who_returns_to_a_notebook_is_not_limited(open_place: Open) -> None:
    place = await open_place(starts_per_hour=1)
    person = place.person()
    page = await person.get("/")
    key = (await person.press(page)).key
    for _ in range(5):
        assert (await person.get("/lab")).key == key
        assert (await person.press(page)).key == key


async def test_a_pool_that_is_full_or_warming_costs_no_start(open_place: Open) -> None:
    place = await open_place(pool_size=1, starts_per_hour=2)
    first, second = place.person(), place.person()
    key = (await first.click()).key
    assert [(await second.click()).title for _ in range(4)] == ["All notebooks are in use"] * 4
    assert [(await place.program().post("/api/spawn")).json["status"] for _ in range(4)] == ["full"] * 4
    await first.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
    await place.until(warm=1)
    assert (await second.click()).status == 303
    assert "Too many starts" in (await place.person().click()).title


async def test_the_code_in_a_link_is_remembered_and_kept_from_the_notebook(classroom: Place) -> None:
    await use_up(classroom)
    person = behind(classroom, HERE)
    first = await person.click("/lab/tree/a.ipynb?x=1&code=monday&y=2")
    assert first.location == f"/user/{first.key}/lab/tree/a.ipynb?x=1&y=2"
    assert (await person.look("/lab?code=monday")).location == f"/user/{first.key}/lab"
    await person.ask("DELETE", f"/api/session/{first.key}", {"Sec-Fetch-Site": "same-origin"})
    assert (await person.click("/lab")).status == 303


@pytest.mark.parametrize("link", ["/?code=monday", "/spawn?code=monday", "/tree?code=mon%64ay", "/lab?code=+monday"])
async def test_any_link_may_hold_the_code(classroom: Place, link: str) -> None:
    await use_up(classroom)
    answer = await behind(classroom, HERE).click(link)
    assert answer.status == 303
    assert "monday" not in answer.location
    assert "code" not in answer.location


async def test_no_page_is_shown_at_a_url_with_the_code(classroom: Place) -> None:
    """At one host, a notebook's pages and service workers can read the URLs of ours."""
    person = behind(classroom, HERE)
    answer = await person.get("/lab/tree/a.ipynb?x=1&code=mon%20day%C3%A9&y=2")
    assert (answer.status, answer.location) == (303, "/lab/tree/a.ipynb?x=1&y=2")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{classroom.cookie}_code=mon%20day%C3%A9; ")
    assert "HttpOnly" in cookie
    page = await person.get(answer.location)
    assert page.form()["action"] == "/spawn/lab/tree/a.ipynb?x=1&y=2"
    assert (await person.press(page)).title == "Wrong workshop code"


async def test_without_a_workshop_code_the_codes_of_links_are_the_documents_own(place: Place) -> None:
    answer = await place.person().click("/lab/tree/a.ipynb?code=1&x")
    assert answer.location.endswith("/lab/tree/a.ipynb?code=1&x")


async def test_a_wrong_code_is_said_and_the_field_wins_over_the_link(classroom: Place) -> None:
    person = behind(classroom, HERE)
    page = await person.click("/lab?code=tuesday&x")
    assert (page.status, page.title) == (403, "Wrong workshop code")
    assert "tuesday" not in page.text
    assert "data-retry-after" not in page.text
    assert page.form()["action"] == "/spawn/lab?x"
    assert f"{classroom.cookie}_code" not in person.cookies()  # who leaves the field empty starts without it
    person.session.cookie_jar.update_cookies({f"{classroom.cookie}_code": "wrong"}, URL(classroom.url))
    for code, status in (("friday", 403), ("", 303)):
        fields = page.form()
        answer = await person.post(fields.pop("action"), fields | {"code": code}, Sec_Fetch_Site="same-origin")
        assert answer.status == status


async def test_guessing_the_code_is_limited(classroom: Place) -> None:
    person = behind(classroom, HERE)
    for n in range(WRONG_CODES_PER_HOUR):
        assert (await person.click(f"/?code=guess{n}")).status == 403
    page = await person.click("/?code=monday")
    assert (page.status, page.title) == (429, "Too many wrong codes")
    assert int(page.headers["Retry-After"]) > 1
    assert (await behind(classroom, HERE).click("/")).status == 303


# Programs


@pytest.fixture
def program(classroom: Place) -> Callable[..., Guest]:
    return lambda: classroom.program(X_Forwarded_For=HERE)


async def test_a_program_is_limited_as_a_person_is(classroom: Place, program: Callable[..., Guest]) -> None:
    for _ in range(3):
        assert (await program().post("/api/spawn")).status == 200
    answer = await program().post("/api/spawn")
    assert answer.status == 429
    assert set(answer.json) == {"status", "message"}
    assert answer.json["status"] == "limited"
    assert 1190 < int(answer.headers["Retry-After"]) <= 1200
    assert (await behind(classroom, HERE).click()).status == 429  # one limit for both
    assert (await program().post("/api/spawn?code=monday")).status == 200
    assert (await program().post("/api/spawn", {"code": "monday"})).status == 200
    wrong = await program().post("/api/spawn?code=sunday")
    assert (wrong.status, wrong.json["status"]) == (403, "wrong-code")
    assert (await classroom.stats())["assigned"] == 5


async def test_a_code_that_was_typed_into_a_page_that_was_open_for_too_long_counts(
    classroom: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert (await behind(classroom, HERE).click()).status == 303
    student = behind(classroom, HERE)
    limited = await student.click("/lab")
    assert limited.status == 429
    now = clocks.since_boot
    monkeypatch.setattr(clocks, "since_boot", lambda: now() + LIFETIME + 1)
    fields = limited.form()
    refused = await student.post(fields.pop("action"), {**fields, "code": "monday"}, Sec_Fetch_Site="same-origin")
    assert (refused.status, "monday" in refused.text) == (403, False)
    assert (await student.press(refused)).status == 303
    # A form that is none of ours leaves nothing.
    other = behind(classroom, HERE)
    await other.get("/lab")
    refused = await other.post("/spawn/lab", {"ticket": "x", "code": "monday"}, Sec_Fetch_Site="same-origin")
    assert (await other.press(refused)).status == 429


async def test_a_page_in_a_notebook_cannot_use_the_code_that_a_link_has_left(classroom: Place) -> None:
    """At one host it cannot read the cookie, but the browser sends it with what the page asks of the API."""
    student = behind(classroom, HERE)
    await student.get("/lab?code=monday")
    assert f"{classroom.cookie}_code" in student.cookies()
    by_script = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}
    for _ in range(3):
        assert (await student.post("/api/spawn", **by_script)).status == 200
    assert (await student.post("/api/spawn", **by_script)).status == 429


async def test_the_operators_token_lifts_the_limit(open_place: Open) -> None:
    place = await open_place(pool_size=5, starts_per_hour=1, api_auth_token="right-token-of-the-api")
    program = place.program(Authorization="token right-token-of-the-api")
    assert [(await program.post("/api/spawn")).status for _ in range(4)] == [200] * 4
    assert (await place.program().post("/api/spawn?code=x")).status == 403


async def test_a_foreign_page_takes_no_notebook_by_the_api_unless_its_origin_is_allowed(open_place: Open) -> None:
    place = await open_place(allow_origin="https://docs.example")
    for site, origin, status in (
        ("cross-site", "https://evil.example", 403),
        ("same-site", "null", 403),
        ("cross-site", "https://docs.example", 200),
        ("same-origin", place.url, 200),
    ):
        answer = await place.program(Sec_Fetch_Site=site, Origin=origin).post("/api/spawn")
        assert answer.status == status, origin
    assert (await place.stats())["assigned"] == 2


async def test_no_code_and_no_address_is_logged(classroom: Place) -> None:
    with capture_logs() as logs:
        await use_up(classroom)
        person = behind(classroom, HERE)
        for link in ("/", "/?code=tuesday-wrong", "/?code=monday"):
            await person.click(link)
        await classroom.program(X_Forwarded_For=HERE).post("/api/spawn?code=monday")
    said = str(logs)
    assert said.count("notebook.assigned") == 5  # it was listened to
    for secret in ("monday", "tuesday", HERE):
        assert secret not in said
