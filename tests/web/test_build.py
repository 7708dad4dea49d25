"""The event stream gives one notebook to the page that asks, and none to anybody else."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.web.guests import Guest, Place

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
