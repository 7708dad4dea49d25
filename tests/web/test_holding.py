"""What one address holds at a time, and what goes back because nobody opened it."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.specs import spec_of
from tests.web.guests import Answer, Guest, Place, eventually
from tmppool.backends.fake import FakeBackend
from tmppool.notebook import Reason, State
from tmppool.policy import Limits
from tmppool.pool import Pool
from tmppool.web.start_limits import HoldingLimit, may_hold_another, network_of

Open = Any
HERE, ELSEWHERE = "198.51.100.7", "198.51.100.8"
BY_DEFAULT = {"notebooks_per_address": None}


def programs(place: Place, count: int, address: str | None = None) -> list[Guest]:
    fields = {} if address is None else {"X_Forwarded_For": address}
    return [place.program(**fields) for _ in range(count)]


async def spawned(asking: list[Guest], path: str = "/api/spawn") -> list[Answer]:
    return await asyncio.gather(*(program.post(path) for program in asking))


def statuses(answers: list[Answer]) -> dict[int, int]:
    return dict(Counter(answer.status for answer in answers))


@pytest.fixture
async def six(open_place: Open) -> Place:
    """A pool of six with the default limit, and a proxy in front that is believed."""
    return await open_place(pool_size=6, trusted_proxies=("127.0.0.1",), **BY_DEFAULT)


# The decision


@pytest.mark.parametrize(
    ("capacity", "most", "held"),
    [
        pytest.param(1, None, 1, id="a pool of one locks nobody out"),
        pytest.param(2, None, 1, id="a pool of two is for two"),
        pytest.param(3, None, 2, id="rounded up"),
        pytest.param(6, None, 3, id="half of six"),
        pytest.param(101, None, 51, id="half of a large one"),
        pytest.param(6, 1, 1, id="as set"),
        pytest.param(2, 5, 5, id="as set, though the pool has fewer"),
    ],
)
def test_a_network_may_hold_so_many(capacity: int, most: int | None, held: int) -> None:
    assert [may_hold_another(number, capacity, most) for number in range(held + 2)] == [True] * held + [False] * 2


def test_neither_the_address_nor_a_plain_digest_of_it_is_kept() -> None:
    """With another secret it is another: who reads one ledger cannot look the networks of another up."""
    pool = Pool("main", FakeBackend(spec_of()), [], Limits(6, 6, 0, 0, 1))
    one, other = (HoldingLimit(secret).check(pool, network_of(HERE)) for secret in (b"a" * 32, b"b" * 32))
    assert one != other
    assert HERE not in one
    assert network_of(HERE).hex() not in one


# In the service


async def test_six_bare_requests_take_half_of_a_pool_of_six(open_place: Open) -> None:
    place = await open_place(pool_size=6, **BY_DEFAULT)
    answers = await spawned(programs(place, 6))
    assert statuses(answers) == {200: 3, 429: 3}
    assert (await place.stats())["assigned"] == 3
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.json["status"] == "held"
    assert "end one of them" in refused.json["message"]
    assert int(refused.headers["Retry-After"]) >= 1
    person = await place.person().click()  # programs and people have one limit
    assert (person.status, person.title) == (429, "Your network has reached its limit")


async def test_any_number_at_the_same_moment_are_counted(six: Place) -> None:
    assert statuses(await spawned(programs(six, 40, HERE))) == {200: 3, 429: 37}
    assert statuses(await spawned(programs(six, 40, ELSEWHERE))) == {200: 3, 429: 37}


async def test_a_pool_that_has_nothing_to_give_says_so_to_whoever_asks(open_place: Open) -> None:
    """As tmpnb's clients expect it: they wait until a notebook is free."""
    place = await open_place(pool_size=1, **BY_DEFAULT)
    answers = await spawned(programs(place, 3))
    assert sorted(answer.json.get("status", "given") for answer in answers) == ["full", "full", "given"]
    assert (await place.person().click()).title == "All notebooks are in use"


async def test_a_network_of_ipv6_is_one_address(six: Place) -> None:
    asking = [six.program(X_Forwarded_For=f"2001:db8:1:2::{n:x}") for n in range(1, 7)]
    assert statuses(await spawned(asking)) == {200: 3, 429: 3}
    assert statuses(await spawned(programs(six, 1, "2001:db8:1:3::1"))) == {200: 1}


async def test_an_address_that_nobody_vouches_for_changes_nothing(open_place: Open) -> None:
    place = await open_place(pool_size=6, **BY_DEFAULT)
    asking = [place.program(X_Forwarded_For=f"192.0.2.{n}", Forwarded=f"for=192.0.2.{n}") for n in range(6)]
    assert statuses(await spawned(asking)) == {200: 3, 429: 3}


async def test_the_field_that_a_proxy_passes_on_gives_no_second_share(six: Place) -> None:
    """It writes X-Forwarded-For into every request, and passes Forwarded on as the visitor sent it."""
    assert statuses(await spawned(programs(six, 4, HERE))) == {200: 3, 429: 1}
    forged = [six.program(X_Forwarded_For=HERE, Forwarded=f"for=192.0.2.{n}") for n in range(4)]
    assert statuses(await spawned(forged)) == {429: 4}


async def test_each_pool_has_a_share_of_its_own(open_place: Open) -> None:
    place = await open_place(pool_size=4, pools={"other": {"pool_size": 2}}, **BY_DEFAULT)
    await eventually(lambda: place.pools.get("other").count(State.WARM) == 2)
    assert statuses(await spawned(programs(place, 4))) == {200: 2, 429: 2}
    assert statuses(await spawned(programs(place, 2), "/api/spawn?pool=other")) == {200: 1, 429: 1}


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        pytest.param({"notebooks_per_address": 1}, 1, id="as set"),
        pytest.param({"notebooks_per_address": 0}, 6, id="0 is no limit"),
        pytest.param({"starts_per_hour": 0}, 6, id="no limit on starts, none on what is held"),
        pytest.param({"starts_per_hour": 0, "notebooks_per_address": 2}, 2, id="unless it is set"),
    ],
)
async def test_the_limit_is_a_setting(open_place: Open, settings: dict[str, int], taken: int) -> None:
    place = await open_place(pool_size=6, **(BY_DEFAULT | settings))
    assert statuses(await spawned(programs(place, 6))).get(200) == taken


async def test_behind_the_lock_there_is_one_visitor_and_no_limit(open_place: Open) -> None:
    place = await open_place(pool_size=4, backend="process", **BY_DEFAULT)
    assert statuses(await spawned([place.insider() for _ in range(4)])) == {200: 4}


async def test_the_end_of_a_session_frees_its_place_at_once(six: Place) -> None:
    first, *_ = await spawned(programs(six, 3, HERE))
    (program,) = programs(six, 1, HERE)
    for _ in range(3):
        assert (await program.post("/api/spawn")).status == 429
        await program.ask("DELETE", first.json["url"].replace("/user/", "/api/session/").rstrip("/"))
        await six.until(warm=4)
        first = await program.post("/api/spawn")
        assert first.status == 200


async def test_what_could_not_be_given_is_not_held(six: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_set(_notebook: object) -> bool:
        await asyncio.sleep(0.5)  # until all of them are under way
        return False

    with monkeypatch.context() as patched:
        patched.setattr(six.pools.default.marks, "is_set", is_set)
        assert statuses(await spawned(programs(six, 6, HERE))) == {503: 3, 429: 3}
    await six.until(warm=6)
    assert statuses(await spawned(programs(six, 6, HERE))) == {200: 3, 429: 3}


async def test_a_refusal_costs_no_start_of_the_hour(open_place: Open) -> None:
    place = await open_place(pool_size=2, starts_per_hour=2, **BY_DEFAULT)
    (first,) = await spawned(programs(place, 1))
    assert [answer.json["status"] for answer in await spawned(programs(place, 4))] == ["held"] * 4
    await place.program().ask("DELETE", first.json["url"].replace("/user/", "/api/session/").rstrip("/"))
    await place.until(warm=2)
    assert statuses(await spawned(programs(place, 1))) == {200: 1}


async def test_a_class_with_the_code_holds_what_it_needs_and_counts_for_nobody(open_place: Open) -> None:
    place = await open_place(pool_size=40, workshop_code="monday", trusted_proxies=("127.0.0.1",), **BY_DEFAULT)
    people = [place.person(X_Forwarded_For=HERE) for _ in range(30)]
    answers = await asyncio.gather(*(person.click("/lab?code=monday") for person in people))
    assert statuses(answers) == {303: 30}
    # Whoever shares the address with the class has the address's share as before.
    assert statuses(await spawned(programs(place, 10, HERE))) == {200: 10}


async def test_the_operators_token_lifts_the_limit(open_place: Open) -> None:
    place = await open_place(pool_size=4, api_auth_token="right-token-of-the-api", **BY_DEFAULT)
    asking = [place.program(Authorization="token right-token-of-the-api") for _ in range(4)]
    assert statuses(await spawned(asking)) == {200: 4}


async def test_the_page_says_why_and_leads_back_to_what_is_held(open_place: Open) -> None:
    place = await open_place(pool_size=2, workshop_code="monday", **BY_DEFAULT)
    owner = place.person()
    key = await owner.start("/lab")
    stranger = await place.person().click("/lab/tree/a.ipynb?x=1")
    assert stranger.status == 429
    assert "as many notebooks as one network may have here" in stranger.text
    assert "look for its tab" in stranger.text
    assert key not in stranger.text
    assert f'data-retry-after="{stranger.headers["Retry-After"]}"' in stranger.text
    assert stranger.form()["action"] == "/spawn/lab/tree/a.ipynb?x=1"
    assert 'name="code"' in stranger.text
    # A browser that has lost its visitor's cookie still has the notebook's.
    owner.session.cookie_jar.clear(lambda cookie: cookie.key == place.cookie)
    page = await owner.click("/lab")
    assert page.status == 429
    assert f'<a href="/user/{key}/">Your notebook</a>' in page.text
    assert (await owner.get(f"/user/{key}/")).status == 200


async def test_who_returns_is_not_refused(open_place: Open) -> None:
    place = await open_place(pool_size=2, **BY_DEFAULT)
    person = place.person()
    key = await person.start()
    for _ in range(3):
        assert (await person.get("/lab")).key == key


async def test_no_address_is_logged_or_kept(six: Place) -> None:
    with capture_logs() as logs:
        await spawned(programs(six, 6, HERE))
    assert HERE not in str(logs)
    await six.ledger.flush()
    kept = b"".join(part.read_bytes() for part in six.state.iterdir() if part.name.startswith("ledger.sqlite"))
    assert HERE.encode() not in kept
    assert network_of(HERE).hex().encode() not in kept


# What nobody opened


@pytest.fixture
async def hasty(open_place: Open) -> Place:
    """Whatever is not opened within a moment goes back."""
    return await open_place(pool_size=4, open_timeout=0.5, cull_period=0.05)


async def test_what_nobody_opened_goes_back_and_says_why(hasty: Place) -> None:
    (program,) = await spawned(programs(hasty, 1))
    clicked = await hasty.person().click("/lab")  # whose redirect nobody follows
    assert clicked.status == 303
    keys = [program.json["url"].split("/")[2], clicked.key]
    await eventually(lambda: not any(hasty.pools.find(key) for key in keys))
    for key in keys:
        page = await hasty.person().get(f"/user/{key}/lab")
        assert page.status == 410
        assert "Nobody opened it in time" in page.text
        assert (await hasty.stranger().get(f"/user/{key}/lab")).json["reason"] == "unopened"
        await hasty.ledger.flush()
        row = hasty.ledger.rows()[key]
        assert (row.reason, row.opened_at, row.network) == (Reason.UNOPENED, None, None)
    metrics = (await hasty.operator().get("/metrics")).text
    assert 'tmppool_transitions_total{pool="tmppool",reason="unopened",to="reaping"} 2.0' in metrics


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/user/{key}/api/kernels"), ("POST", "/api/session/{key}/extend"), ("POST", "/api/session/{key}/share")],
)
async def test_what_a_program_uses_is_opened(hasty: Place, method: str, path: str) -> None:
    program = hasty.program()
    key = (await program.post("/api/spawn")).json["url"].split("/")[2]
    before = (await program.get(f"/api/session/{key}")).json["idle_expires_at"]
    assert before < time.time() + 1
    assert (await program.ask(method, path.format(key=key))).status == 200
    assert (await program.get(f"/api/session/{key}")).json["idle_expires_at"] > before + 3000
    await asyncio.sleep(0.8)
    assert hasty.held(key).is_opened
    await hasty.ledger.flush()
    assert hasty.ledger.rows()[key].opened_at == pytest.approx(time.time(), abs=30)


async def test_what_a_person_follows_is_opened_and_a_look_at_its_end_opens_nothing(hasty: Place) -> None:
    key = await hasty.person().start("/lab")
    program = hasty.program()
    other = (await program.post("/api/spawn")).json["url"].split("/")[2]
    async with asyncio.timeout(10):
        while (await program.get(f"/api/session/{other}")).status == 200:
            await asyncio.sleep(0.05)
    assert hasty.held(key).is_live


async def test_0_waits_for_ever(open_place: Open) -> None:
    place = await open_place(open_timeout=0, cull_period=0.05)
    (answer,) = await spawned(programs(place, 1))
    await asyncio.sleep(0.3)
    assert place.held(answer.json["url"].split("/")[2]).is_live
    assert answer.json["idle_expires_at"] > time.time() + 3000
