"""The event stream gives one notebook to the page that asks, and none to anybody else."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.web.guests import Guest, Place, eventually, opened
from tmppool.backends.base import Edition
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError
from tmppool.notebook import Notebook, Reason, State
from tmppool.pool import Pool
from tmppool.running import Running
from tmppool.sessions import Sessions
from tmppool.web import start_limits, stream_starts, waiting_line
from tmppool.web.addresses import ADDRESSES

PAGE = {
    "Accept": "text/event-stream",
    "Origin": "https://docs.example",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Dest": "empty",
}
FRIEND = {"embed_origins": ("https://docs.example",), "starts_per_hour": 0}
SPEC = "/build/gh/org/repo/main"


class Stream:
    """The messages of an event stream as an EventSource would have them, with the last id."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply
        self.id = ""
        self.comments = 0

    async def message(self) -> dict[str, str]:
        async with asyncio.timeout(20):
            while True:
                line = (await self.reply.content.readline()).decode().rstrip("\n")
                assert self.reply.content.at_eof() is False or line, "the stream has ended"
                if line.startswith("id: "):
                    self.id = line[4:]
                self.comments += line.startswith(":")
                if line.startswith("data: "):
                    return dict(json.loads(line[6:]))

    async def last(self) -> dict[str, str]:
        while (found := await self.message())["phase"] not in ("ready", "failed"):
            pass
        return found


@contextlib.asynccontextmanager
async def stream(guest: Guest, path: str = SPEC, **headers: str) -> AsyncIterator[Stream]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    url = URL(guest.whole(path), encoded=True)
    async with guest.session.get(url, headers=PAGE | fields) as reply:
        yield Stream(reply)


async def test_a_page_gets_a_notebook_in_binders_form(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    async with stream(place.program()) as found:
        assert found.reply.status == 200
        assert found.reply.headers["Content-Type"] == "text/event-stream"
        assert found.reply.headers["Access-Control-Allow-Origin"] == "*"
        assert found.reply.headers["Cache-Control"] == "no-store"
        assert found.reply.headers["X-Accel-Buffering"] == "no"
        assert (await found.message())["phase"] == "waiting"
        ready = await found.last()
    assert ready["phase"] == "ready"
    assert ready["url"].startswith(f"{place.url}/user/")
    assert ready["url"].endswith("/")
    page = place.program()
    seen = await page.ask(
        "GET", ready["url"].removeprefix(place.url) + "api/status", {"Authorization": f"token {ready['token']}"}
    )
    assert seen.status == 200
    assert (await place.stats())["assigned"] == 1


async def test_who_is_cut_off_and_comes_back_takes_nothing_twice(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    guest = place.program()
    async with stream(guest) as first:
        await first.message()
    async with stream(guest, Last_Event_ID=first.id) as second:
        ready = await second.last()
        assert second.id == first.id
    async with stream(guest, Last_Event_ID=first.id) as third:
        assert await third.last() == ready
    async with stream(guest, Last_Event_ID=first.id) as one, stream(guest, Last_Event_ID=first.id) as other:
        assert await one.last() == await other.last() == ready
    assert (await place.stats())["assigned"] == 1
    async with stream(guest, Last_Event_ID="forged") as another:
        assert (await another.last())["url"] != ready["url"]


async def test_a_page_that_stays_open_gets_no_second_notebook_by_itself(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    guest = place.program()
    async with stream(guest) as first:
        await first.last()
    (pool,) = place.pools
    (notebook,) = [each for each in pool if each.state is State.ASSIGNED]
    pool.reap(notebook, Reason.IDLE)
    async with stream(guest, Last_Event_ID=first.id) as again:
        told = await again.last()
    assert (told["phase"], told["message"]) == (
        "failed",
        "The notebook of this page has ended. Load the page anew for another one.",
    )
    assert (await place.stats())["assigned"] == 0


async def test_a_notebook_that_ended_before_its_page_learnt_of_it_is_none_of_the_pages(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = await open_place(**FRIEND)
    assign = Sessions.assign

    async def in_vain(sessions: Sessions, pool: Pool, *given: Any, **more: Any) -> Notebook:
        notebook = await assign(sessions, pool, *given, **more)
        pool.reap(notebook, Reason.DIED)
        return notebook

    monkeypatch.setattr(Sessions, "assign", in_vain)
    async with stream(place.program()) as found:
        told = await found.last()
    assert (told["phase"], told["message"]) == ("failed", "The notebook could not be started.")


async def test_a_ticket_is_the_same_with_whatever_its_reader_skips(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    guest = place.program()
    async with stream(guest) as first:
        ready = await first.last()
    for junk in ("!!!!", "~~~~", "===="):
        async with stream(guest, Last_Event_ID=first.id + junk) as again:
            assert await again.last() == ready, junk
    assert (await place.stats())["assigned"] == 1


async def test_a_look_takes_nothing_at_any_address(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    for route in ADDRESSES:
        path = route.format(rest="gh/org/repo/main", key="k" * 22, name="style.css")
        await place.program().ask("HEAD", path, PAGE)
    looked = await place.program().ask("HEAD", SPEC, PAGE)
    assert (looked.status, looked.headers["Content-Type"], looked.body) == (200, "text/event-stream", b"")
    assert (await place.stats())["assigned"] == 0


async def test_a_stream_that_is_cut_at_once_takes_nothing(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    fields = "".join(f"{name}: {value}\r\n" for name, value in PAGE.items())
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(f"GET {SPEC} HTTP/1.1\r\nHost: 127.0.0.1:{place.port}\r\n{fields}\r\n".encode())
        writer.close()
    await asyncio.sleep(0.3)
    assert (await place.stats())["assigned"] == 0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the assignments of a place wait until the event is set."""

    def hold(place: Place) -> asyncio.Event:
        may_go = asyncio.Event()
        give = place.backend.give

        async def wait(key: str) -> None:
            await may_go.wait()
            await give(key)

        monkeypatch.setattr(place.backend, "give", wait)
        return may_go

    return hold


async def test_what_a_stream_was_cut_from_before_it_told_the_token_ends_soon(
    open_place: Any, slow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_starts, "COMES_BACK", 0.2)
    place: Place = await open_place(**FRIEND)
    may_go = slow(place)
    async with stream(place.program()) as cut:
        await cut.message()
        await place.until(assigned=1)
        (notebook,) = [each for each in place.pools.default if each.state is State.ASSIGNED]
    may_go.set()
    await eventually(lambda: place.pools.ended(notebook.key) is not None)
    ended = place.pools.ended(notebook.key)
    assert ended is not None
    assert ended.reason is Reason.UNOPENED
    assert (await place.stats())["assigned"] == 0


async def test_a_page_that_comes_back_soon_has_lost_nothing(
    open_place: Any, slow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_starts, "COMES_BACK", 0.2)
    place: Place = await open_place(**FRIEND)
    guest, may_go = place.program(), slow(place)
    async with stream(guest) as cut:
        await cut.message()
        await place.until(assigned=1)
    async with stream(guest, Last_Event_ID=cut.id) as again:
        await asyncio.sleep(0.5)
        may_go.set()
        ready = await again.last()
    await asyncio.sleep(0.5)  # who was told the token may take their time
    stats = await place.stats()
    assert (ready["phase"], stats["assigned"]) == ("ready", 1)


async def test_a_full_pool_makes_the_page_wait_until_a_notebook_is_free(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND, pool_size=1)
    guest = place.program()
    async with stream(guest) as first, stream(guest) as second:
        ready = await first.last()
        assert [(await second.message())["phase"], (await second.message())["message"]] == [
            "waiting",
            "All notebooks are in use. Waiting until one is free…",
        ]
        path = ready["url"].removeprefix(place.url).replace("/user/", "/api/session/").rstrip("/")
        ended = await place.program().ask("DELETE", path, {"Authorization": f"token {ready['token']}"})
        assert ended.status == 200
        assert (await second.last())["url"] != ready["url"]


async def test_a_warming_pool_makes_the_page_wait_until_a_notebook_has_started(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_start, start = asyncio.Event(), FakeBackend.start

    async def wait(backend: FakeBackend, key: str, edition: Edition | None = None) -> Running:
        await may_start.wait()
        return await start(backend, key, edition)

    monkeypatch.setattr(FakeBackend, "start", wait)
    place: Place = await open_place(**FRIEND, fake={})
    async with stream(place.program()) as found:
        words = [(await found.message())["message"] for _ in range(2)]
        assert words == ["Waiting for a notebook…", "A notebook is starting…"]
        may_start.set()
        assert (await found.last())["phase"] == "ready"


async def test_a_backend_that_is_ill_makes_the_page_wait_until_it_is_well(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_line, "_LOOK", 0.02)
    place: Place = await open_place(**FRIEND)
    place.backend.is_ill = True
    place.pools.default.note_illness(BackendError("away"))
    async with stream(place.program()) as found:
        words = [(await found.message())["message"] for _ in range(2)]
        assert words == ["Waiting for a notebook…", "Notebooks cannot be started right now. Waiting until they can…"]
        place.backend.is_ill = False
        place.pools.default.note_illness(None)
        assert (await found.last())["phase"] == "ready"


async def test_a_service_that_ends_waits_for_no_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as streams:
        async with opened(tmp_path / "state", monkeypatch, **FRIEND, pool_size=1) as place:
            guest = Guest(place.url, {})
            streams.push_async_callback(guest.session.close)
            for fields in ({}, {}, {"Origin": "https://evil.example"}):  # one is told, one waits, one is refused
                found = await streams.enter_async_context(stream(guest, **fields))
                await found.message()
            began = loop.time()
        assert loop.time() - began < 3


async def test_a_service_that_ends_leaves_nothing_that_its_page_would_take_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: Any
) -> None:
    async with opened(tmp_path / "state", monkeypatch, **FRIEND) as place:
        may_go = slow(place)
        async with stream(place.program()) as cut:
            await cut.message()
            await place.until(assigned=1)
        (notebook,) = [each for each in place.pools.default if each.state is State.ASSIGNED]
        may_go.set()
    ended = place.pools.ended(notebook.key)
    assert ended is not None
    assert ended.reason is Reason.UNOPENED


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Origin": "https://evil.example"}, "Pages of https://evil.example may not start notebooks here"),
        ({"Origin": "null"}, "Pages of null may not"),
        ({"Sec-Purpose": "prefetch"}, "Only a page in a browser"),
        ({"User-Agent": "Googlebot/2.1"}, "Only a page in a browser"),
    ],
)
async def test_nobody_else_takes_one(open_place: Any, fields: dict[str, str], words: str) -> None:
    place: Place = await open_place(**FRIEND)
    async with stream(place.program(), **fields) as found:
        assert found.reply.headers["Access-Control-Allow-Origin"] == "*"
        said = await found.last()
    assert (said["phase"], words in said["message"]) == ("failed", True), said
    assert (await place.stats())["assigned"] == 0


async def test_a_page_that_may_only_call_the_api_takes_none_by_a_stream(open_place: Any) -> None:
    place: Place = await open_place(allow_origin="*")
    async with stream(place.program()) as found:
        assert "lists it in --embed-origins" in (await found.last())["message"]
    assert (await place.stats())["assigned"] == 0
    spawned = await place.program(Origin="https://docs.example", Sec_Fetch_Site="cross-site").post("/api/spawn")
    assert (spawned.status, "token" in spawned.json) == (200, True)


async def test_a_program_is_no_page(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    guest = place.program()
    url = URL(guest.whole(SPEC), encoded=True)
    async with guest.session.get(url, headers={"Accept": "text/event-stream"}) as reply:
        said = await Stream(reply).last()
    assert "programs use POST /api/spawn" in said["message"]
    assert (await guest.ask("GET", SPEC)).status == 400
    assert (await place.stats())["assigned"] == 0


async def test_a_person_is_led_to_the_launch_page(place: Place) -> None:
    answer = await place.person().ask("GET", f"{SPEC}?urlpath=lab")
    assert (answer.status, answer.location) == (303, "/v2/gh/org/repo/main?urlpath=lab")


async def test_streams_that_get_nothing_leave_others_their_tickets(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_starts, "_MOST_TOLD", 1)
    place: Place = await open_place(**FRIEND, pool_size=1)
    guest = place.program()
    async with stream(guest) as first:
        ready = await first.last()
    for _ in range(3):
        async with stream(guest, Origin="https://evil.example") as refused:
            assert (await refused.last())["phase"] == "failed"
        async with stream(guest) as waits:
            assert [(await waits.message())["phase"] for _ in range(2)] == ["waiting", "waiting"]
    async with stream(guest, Last_Event_ID=first.id) as again:
        assert await again.last() == ready


async def test_a_page_that_waits_for_longer_than_a_ticket_lives_takes_one_notebook(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_starts, "LIFETIME", 0.2)
    place: Place = await open_place(**FRIEND, pool_size=2)
    held = [await place.person().start() for _ in range(2)]
    guest = place.program()
    async with stream(guest) as old:
        assert [(await old.message())["phase"] for _ in range(2)] == ["waiting", "waiting"]
        await asyncio.sleep(0.4)
        async with stream(guest, Last_Event_ID=old.id) as new:  # its network has changed: the old one is half-open
            assert (await new.message())["phase"] == "waiting"
            for key in held:
                place.pools.default.reap(place.held(key), Reason.IDLE)
            assert await old.last() == await new.last()
    assert (await place.stats())["assigned"] == 1


async def test_a_ticket_counts_in_its_pool_only(open_place: Any) -> None:
    rows = ({"name": "gh/org/other", "pool": "r"},)
    place: Place = await open_place(**FRIEND, pools={"r": {"pool_size": 1}}, repositories=rows)
    guest = place.program()
    async with stream(guest) as first:
        ready = await first.last()
    async with stream(guest, "/build/gh/org/other/main", Last_Event_ID=first.id) as other:
        told = await other.last()
    assert (told["phase"], told["pool"], ready["pool"]) == ("ready", "r", "tmppool")
    assert told["url"] != ready["url"]


async def test_where_one_is_free_the_first_who_waits_gets_it(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND, pool_size=2)
    held = [await place.person().start() for _ in range(2)]
    waiting = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            waiting.append(await stack.enter_async_context(stream(place.program())))
            assert [(await waiting[-1].message())["phase"] for _ in range(2)] == ["waiting", "waiting"]
        for key, one in zip(held, waiting, strict=False):
            place.pools.default.reap(place.held(key), Reason.IDLE)
            assert (await one.last())["phase"] == "ready"
    assert (await place.stats())["assigned"] == 2


async def test_who_holds_a_share_waits_until_one_of_it_ends_and_others_pass(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND, pool_size=3, notebooks_per_address=1, trusted_proxies=("127.0.0.1",))
    here, there = ({"X_Forwarded_For": address} for address in ("198.51.100.7", "198.51.100.8"))
    async with stream(place.program(), **here) as first:
        key = (await first.last())["url"].rstrip("/").rpartition("/")[2]
    async with stream(place.program(), **here) as second:
        assert (await second.message())["message"] == "Waiting for a notebook…"
        assert "Your network address holds" in (await second.message())["message"]
        async with stream(place.program(), **there) as other:
            assert (await other.last())["phase"] == "ready"
        place.pools.default.reap(place.held(key), Reason.IDLE)
        assert (await second.last())["phase"] == "ready"
    assert (await place.stats())["assigned"] == 2


async def test_the_code_of_a_workshop_holds_nobody_back(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND, notebooks_per_address=1, workshop_code="monday")
    for _ in range(2):
        async with stream(place.program(), f"{SPEC}?code=monday") as found:
            assert (await found.last())["phase"] == "ready"


async def test_a_code_that_was_right_counts_for_as_long_as_its_page_waits(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_limits, "WRONG_CODES_PER_HOUR", 1)
    place: Place = await open_place(**FRIEND, pool_size=1, workshop_code="monday")
    key = await place.person().start()
    async with stream(place.program(), f"{SPEC}?code=monday") as found:
        assert [(await found.message())["phase"] for _ in range(2)] == ["waiting", "waiting"]
        for _ in range(2):  # others at the same address guess
            assert (await place.program().post("/api/spawn?code=tuesday")).status in (403, 429)
        async with stream(place.program(), f"{SPEC}?code=monday") as late:
            assert "Many wrong workshop codes" in (await late.last())["message"]
        place.pools.default.reap(place.held(key), Reason.IDLE)
        assert (await found.last())["phase"] == "ready"


async def test_who_is_refused_need_not_wait_to_be_told(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND | {"starts_per_hour": 1}, pool_size=1)
    await place.person().start()
    async with stream(place.program()) as found:
        told = await found.last()
    assert (told["phase"], "Many notebooks were started" in told["message"]) == ("failed", True)


async def test_where_too_many_wait_already_the_next_one_is_told(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_line, "_MOST_OF_NETWORK", 1)
    place: Place = await open_place(**FRIEND, pool_size=1)
    await place.person().start()
    async with stream(place.program()) as first, stream(place.program()) as second:
        assert [(await first.message())["phase"] for _ in range(2)] == ["waiting", "waiting"]
        assert "Many pages are waiting" in (await second.last())["message"]


async def test_a_page_that_looks_for_a_hubs_binderhub_gets_its_notebook(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    async with stream(place.program(), f"/services/binder{SPEC}") as found:
        assert (await found.last())["phase"] == "ready"


async def test_encoded_letters_in_the_address_are_letters(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND)
    answer = await place.person().ask("GET", "/%62uild/gh/org/repo/m%61in?urlpath=lab%2Ftree")
    assert (answer.status, answer.location) == (303, "/v2/gh/org/repo/main?urlpath=lab%2Ftree")
    async with stream(place.program(), "/bu%69ld/gh/org/repo/main") as found:
        assert (await found.last())["phase"] == "ready"


@pytest.mark.parametrize("origin", ["https://docs.example", "https://evil.example"])
async def test_a_page_of_any_site_reads_why_it_gets_nothing(open_place: Any, origin: str) -> None:
    place: Place = await open_place(**FRIEND)
    for path in ("/build/gh/a%00/b", "/build/gh/../b", "/build/gh/a%/b"):
        answer = await place.program().ask("GET", path, PAGE | {"Origin": origin})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (400, "*"), path
    answer = await place.program().ask("GET", SPEC, {"Origin": origin})
    assert (answer.status, "Access-Control-Allow-Origin" in answer.headers) == (400, True)
    wish = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "last-event-id"}
    answer = await place.program().ask("OPTIONS", SPEC, wish | {"Access-Control-Request-Private-Network": "true"})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, *"  # * alone does not mean the first
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


@pytest.mark.parametrize("path", ["/build/bb/org/repo/main", "/build/gh/org", "/build/gh"])
async def test_a_repository_that_is_none_is_said(open_place: Any, path: str) -> None:
    place: Place = await open_place(**FRIEND)
    async with stream(place.program(), path) as found:
        assert (await found.last())["phase"] == "failed"
    assert (await place.stats())["assigned"] == 0


async def test_an_address_that_started_too_many_is_told(open_place: Any) -> None:
    place: Place = await open_place(**FRIEND | {"starts_per_hour": 1})
    async with stream(place.program()) as one:
        assert (await one.last())["phase"] == "ready"
    async with stream(place.program()) as other:
        assert (await other.last())["phase"] == "failed"
