"""``/user/<key>/…`` where no notebook answers: people get a page, programs JSON, WebSockets a refusal."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.web.guests import MODES, Guest, Place
from tmppool.notebook import EXPLANATIONS, Reason

NEVER = "x" * 22
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "A" * 22 + "==",
}


@pytest.fixture(params=MODES, ids=("path", "domain"))
async def place(open_place: Any, request: pytest.FixtureRequest) -> Place:
    return await open_place(**request.param)


@pytest.fixture
async def ended(place: Place) -> str:
    program = place.program()
    await program.post("/api/spawn")
    key = next(iter(place.tokens))
    await program.ask("DELETE", f"/api/session/{key}")
    return key


def launch(place: Place, link: str) -> str:
    """A launch link, as pages at a notebook's own address have it."""
    return link if place.domain is None else place.url + link


async def test_a_person_is_told_why_and_offered_the_same_document_afresh(
    place: Place, person: Guest, ended: str
) -> None:
    page = await person.get(f"/user/{ended}/lab/tree/day%201/a.ipynb")
    assert page.status == 410
    assert EXPLANATIONS[Reason.ENDED] in page.text
    assert f'href="{launch(place, "/lab/tree/day%201/a.ipynb")}"' in page.text
    assert "day 1/<wbr>a.<wbr>ipynb</span>" in page.text
    assert "<code>" not in page.text  # the reason's code word is for programs
    assert ended not in page.text


async def test_a_person_at_an_address_that_never_was_is_told_so(place: Place, person: Guest) -> None:
    page = await person.get(f"/user/{NEVER}/tree")
    assert (page.status, page.title) == (404, "Notebook not found")
    assert "has ended" not in page.text
    assert f'href="{launch(place, "/tree")}"' in page.text
    assert "never existed" in page.text


async def test_a_fresh_start_keeps_the_query(place: Place, person: Guest, ended: str) -> None:
    assert (
        f'href="{launch(place, "/lab/tree/a.ipynb?x=1")}"'
        in (await person.get(f"/user/{ended}/lab/tree/a.ipynb?x=1")).text
    )


async def test_a_fresh_start_is_in_the_same_pool(open_place: Any) -> None:
    place = await open_place(pools={"r": {"pool_size": 1}})
    program = place.program()
    while (answer := await program.post("/api/spawn?pool=r")).status != 200:
        pass
    key = answer.json["url"].split("/")[2]
    await program.ask("DELETE", f"/api/session/{key}")
    assert (await program.get(f"/user/{key}/lab")).json["fresh_url"] == "/lab?pool=r"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "api/contents"),
        ("POST", "api/sessions"),
        ("PUT", "api/contents/a.ipynb"),
        ("DELETE", "api/kernels/1"),
        ("PATCH", "x"),
        ("OPTIONS", "x"),
        ("PROPFIND", "x"),
    ],
)
async def test_a_program_is_told_as_jupyter_expects(place: Place, ended: str, method: str, path: str) -> None:
    answer = await place.program(Origin="https://page.example").ask(method, f"/user/{ended}/{path}")
    assert answer.status == 424
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["reason"] == "ended"
    assert answer.json["message"] == answer.json["explanation"] == EXPLANATIONS[Reason.ENDED]


async def test_a_request_of_unknown_length_is_told_the_same(place: Place, ended: str) -> None:
    async def body() -> Any:
        yield b"{}"

    assert (await place.program().ask("PUT", f"/user/{ended}/api/contents/a", data=body())).status == 424


@pytest.mark.parametrize("headers", [{}, {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}])
async def test_a_websocket_is_refused_at_once(place: Place, ended: str, headers: dict[str, str]) -> None:
    for key in (ended, NEVER):
        answer = await place.program().ask("GET", f"/user/{key}/api/kernels/1/channels", UPGRADE | headers)
        assert answer.status == 424
        assert answer.json["state"] == "gone"


async def test_a_fetch_of_a_page_is_a_programs(place: Place, ended: str) -> None:
    answer = await place.person().get(f"/user/{ended}/lab", Sec_Fetch_Mode="cors")
    assert answer.status == 424


@pytest.mark.parametrize("reason", [Reason.DIED, Reason.DRAINED, Reason.EXPIRED])
async def test_each_reason_is_explained(open_place: Any, reason: Reason) -> None:
    place = await open_place(**({"cull_max": 0.05, "cull_period": 0.02} if reason is Reason.EXPIRED else {}))
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    if reason is Reason.DIED:
        await place.backend.kill(key)
    elif reason is Reason.DRAINED:
        await place.operator().ask("DELETE", f"/api/notebooks/{key}")
    person = place.owner()
    while (page := await person.get(f"/user/{key}/tree")).status in (200, 502):
        await asyncio.sleep(0.01)
    assert page.status == 410
    assert EXPLANATIONS[reason] in page.text
    assert (await place.program().get(f"/user/{key}/api")).json["reason"] == reason


async def test_a_paused_notebook_says_so_and_is_as_before_when_it_goes_on(place: Place) -> None:
    key = (await place.program().post("/api/spawn")).json["url"].rstrip("/").rpartition("/")[2]
    _, notebook = place.pools.find(key)
    notebook.note_pause(0.0, is_paused=True)
    page = await place.owner().get(f"/user/{key}/tree")
    assert (page.status, "have paused this notebook" in page.text, "<h1>Paused</h1>" in page.text) == (503, True, True)
    for headers in ({}, UPGRADE):
        answer = await place.program().ask("GET", f"/user/{key}/api/kernels/1/channels", headers)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert "have paused this notebook" in answer.json["message"]
    assert (await place.program().get(f"/api/session/{key}")).json["state"] == "live"
    notebook.note_pause(0.0, is_paused=False)
    assert (await place.owner().get(f"/user/{key}/tree")).status == 200


async def test_of_what_waits_for_one_that_is_paused_meanwhile_only_changes_wait_on(place: Place) -> None:
    """A browser makes six connections to a host: while questions hold all, it cannot open the page that tells."""
    key = (await place.program().post("/api/spawn")).json["url"].rstrip("/").rpartition("/")[2]
    fake = place.backend.notebooks[key]
    fake.running = replace(fake.running, is_paused=True)  # and the service does not know yet
    questions = [asyncio.ensure_future(place.program().get(f"/user/{key}/api/contents/{n}")) for n in range(6)]
    socket = asyncio.ensure_future(place.program().ask("GET", f"/user/{key}/api/kernels/1/channels", UPGRADE))
    page = asyncio.ensure_future(place.owner().get(f"/user/{key}/tree"))
    change = asyncio.ensure_future(place.program().ask("PUT", f"/user/{key}/api/contents/a", data=b"kept"))
    await asyncio.sleep(0.2)
    assert not any(each.done() for each in (*questions, socket, page, change))
    place.backend.pause(key)
    for answer in [await each for each in (*questions, socket)]:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert "have paused this notebook" in answer.json["message"]
    shown = await page
    assert (shown.status, "<h1>Paused</h1>" in shown.text) == (503, True)
    assert not change.done()
    place.backend.pause(key, is_paused=False)
    answer = await change
    assert (answer.status, answer.body) == (200, b"kept")


@pytest.mark.parametrize(("reason", "is_kept"), [(Reason.LOST, True), (Reason.REMOVED, True), (Reason.ENDED, False)])
async def test_the_cookie_of_one_that_may_yet_be_found_is_kept(place: Place, reason: Reason, is_kept: bool) -> None:  # noqa: FBT001
    """A session that the engine denies may be found again: then its owner must still be its owner."""
    key = (await place.program().post("/api/spawn")).json["url"].rstrip("/").rpartition("/")[2]
    pool, notebook = place.pools.find(key)
    pool.reap(notebook, reason)
    page = await place.owner().get(f"/user/{key}/tree")
    assert page.status == 410
    assert ("Set-Cookie" not in page.headers) is is_kept


async def test_no_engine_is_asked_about_an_old_tab(place: Place, ended: str) -> None:
    place.backend.is_ill = True
    for _ in range(50):
        assert (await place.program().get(f"/user/{ended}/api/kernels")).status == 424


async def test_the_address_without_slash_leads_to_the_one_with_it(place: Place) -> None:
    await place.program().post("/api/spawn")
    key = next(iter(place.tokens))
    answer = await place.owner().get(f"/user/{key}")
    assert (answer.status, answer.location) == (302, f"/user/{key}/")
    assert (await place.person().get(f"/user/{NEVER}")).status == 404


async def test_a_page_elsewhere_cannot_change_anything_in_a_notebook(place: Place) -> None:
    await place.program().post("/api/spawn")
    key = next(iter(place.tokens))
    answer = await place.program().ask(
        "POST", f"/user/{key}/api/kernels", {"Origin": "https://evil.example"}, data=b"{}"
    )
    assert answer.status == 403
    assert "POST api/kernels" not in place.asked(key)


@pytest.mark.parametrize(
    "path",
    [
        "/user/",
        "/user/short/x",
        "/user/" + "x" * 129 + "/",
        "/user/%41" + "x" * 22 + "/",
        "/user/" + "x" * 20 + "%2F/tree",
        "/user//tree",
    ],
)
async def test_what_is_no_key_is_no_address(place: Place, path: str) -> None:
    """A host that is no notebook's says that alone."""
    is_elsewhere = place.domain is not None and "x" * 129 in path
    assert (await place.program().get(path)).status == (424 if is_elsewhere else 404)
    assert (await place.person().get(path)).status == 404
