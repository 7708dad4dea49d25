"""The public API: spawn, stats, sessions, health."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.web.guests import Guest, Place, eventually
from tmppool import __version__
from tmppool.image_documents import Document
from tmppool.pool_settings import PoolSettings

Open = Any
READ = ("/api/stats", "/stats", "/api/documents", "/health", "/oembed", "/api/openapi.json")


# /api/spawn


@pytest.mark.parametrize("path", ["/api/spawn", "/api/spawn/"])
async def test_a_program_gets_a_notebook(place: Place, path: str) -> None:
    program = place.program()
    answer = await program.post(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json) == {"url", "token", "pool", "expires_at", "idle_expires_at"}
    assert answer.json["pool"] == "tmppool"
    assert answer.json["expires_at"] == pytest.approx(time.time() + 14400, abs=60)
    assert answer.json["idle_expires_at"] == pytest.approx(time.time() + 300, abs=60)  # unless it is opened
    assert b"fake notebook" in (await program.get(answer.json["url"])).body
    session = await program.get(answer.json["url"].replace("/user/", "/api/session/").rstrip("/"))
    assert session.json["idle_expires_at"] == pytest.approx(time.time() + 3600, abs=60)


async def test_each_call_gets_another_notebook(open_place: Open) -> None:
    place = await open_place(pool_size=50)
    answers = await asyncio.gather(*(place.program().post("/api/spawn") for _ in range(50)))
    assert [answer.status for answer in answers] == [200] * 50
    assert len({answer.json["url"] for answer in answers}) == 50
    full = await place.program().post("/api/spawn")
    assert full.status == 429
    assert full.json["status"] == "full"
    assert int(full.headers["Retry-After"]) >= 1


async def test_while_notebooks_are_warming_a_program_is_told_when_to_ask_again(open_place: Open) -> None:
    place = await open_place(fake={"delay": 60.0})
    answer = await place.program().post("/api/spawn")
    assert answer.status == 503
    assert answer.json["status"] == "warming"
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_script_of_tmpnb_days_gets_its_answers_and_no_notebook_without_the_token(open_place: Open) -> None:
    """As thebe 0.1 asked in 2016, byte for byte (``static/main.coffee``): it knew of no token, as tmpnb had none."""
    place: Place = await open_place(allow_origin="https://page.example", pool_size=1)
    script = place.stranger(
        Origin="https://page.example", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors", Sec_Fetch_Dest="empty"
    )
    payload = b'{"image_name":"jupyter/notebook"}'
    asked = {"Content-Type": "text/plain;charset=UTF-8"}
    assert (await script.get("/api/stats")).json["available"] == 1
    spawned = await script.ask("POST", "/api/spawn/", asked, data=payload)
    assert (spawned.status, spawned.headers["Access-Control-Allow-Origin"]) == (200, "https://page.example")
    assert spawned.json["url"].startswith("/user/")
    full = await script.ask("POST", "/api/spawn/", asked, data=payload)
    assert (full.json["status"], full.headers["Access-Control-Allow-Origin"]) == ("full", "https://page.example")
    kernels = f"{spawned.json['url']}api/kernels"
    refused = await script.ask("POST", kernels, asked, data=b'{"name":"python2"}')
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (403, "*")
    allowed = await script.get(kernels, Authorization=f"token {spawned.json['token']}")
    assert allowed.status == 200


async def test_a_program_may_name_a_pool(open_place: Open) -> None:
    place = await open_place(pools={"r": {"pool_size": 1}})
    await eventually(lambda: all(backend.notebooks for backend in place.backends))
    answer = await place.program().post("/api/spawn?pool=r")
    assert answer.json["pool"] == "r"
    assert (await place.program().post("/api/spawn?pool=none")).status == 404
    assert (await place.program().get("/api/stats?pool=r")).json["capacity"] == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_post_takes_a_notebook(place: Place, method: str) -> None:
    answer = await place.program().ask(method, "/api/spawn")
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]
    assert (await place.stats())["assigned"] == 0


async def test_without_limits_there_are_no_ends(open_place: Open) -> None:
    place = await open_place(cull_timeout=0, cull_max=0, open_timeout=0)
    answer = await place.program().post("/api/spawn")
    assert (answer.json["expires_at"], answer.json["idle_expires_at"]) == (None, None)


# With API_AUTH_TOKEN


@pytest.fixture
async def guarded(open_place: Open) -> Place:
    return await open_place(api_auth_token="right-token-of-the-api")


@pytest.mark.parametrize(
    "value", [None, "", "token", "token ", "token wrong", "right-token-of-the-api", "Basic right-token-of-the-api", "token right-token-of-the-api2", "token \xff\xfe"]
)  # fmt: skip
async def test_without_the_token_no_program_gets_a_notebook(guarded: Place, value: str | None) -> None:
    headers = {} if value is None else {"Authorization": value}
    assert (await guarded.program().ask("POST", "/api/spawn", headers)).status == 403
    assert (await guarded.stats())["assigned"] == 0


@pytest.mark.parametrize("scheme", ["token", "Token", "Bearer", "bearer"])
async def test_with_the_token_a_program_gets_one(guarded: Place, scheme: str) -> None:
    assert (await guarded.program(Authorization=f"{scheme} right-token-of-the-api").post("/api/spawn")).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/spawn"), ("POST", "/spawn"), ("GET", "/lab/tree/a.ipynb"), ("GET", "/tree")],
)
async def test_with_a_token_asked_for_the_pages_are_off(guarded: Place, method: str, path: str) -> None:
    answer = await guarded.person().ask(method, path, {"Sec-Fetch-Site": "same-origin"})
    assert answer.status in (404, 405)
    assert "<form" not in answer.text
    assert (await guarded.stats())["assigned"] == 0


async def test_with_a_token_asked_for_notebooks_are_reached_as_ever(guarded: Place) -> None:
    taken = (await guarded.program(Authorization="token right-token-of-the-api").post("/api/spawn")).json
    person = guarded.person()
    sent_on = await person.claim(f"{taken['url']}tree?token={taken['token']}")
    assert b"fake notebook" in (await person.get(sent_on.location)).body


# /api/stats


@pytest.mark.parametrize("path", ["/api/stats", "/stats"])
async def test_stats_count_what_there_is(place: Place, path: str) -> None:
    program = place.program()
    await program.post("/api/spawn")
    await place.until(warm=3)
    answer = await program.get(path)
    assert answer.status == 200
    assert answer.json == {
        "available": 3,
        "capacity": 4,
        "version": __version__,
        "container_image": "fake",
        "starting": 0,
        "warm": 3,
        "assigned": 1,
    }


async def test_what_is_starting_is_not_available(open_place: Open) -> None:
    place = await open_place(fake={"delay": 60.0}, pool_size=3)
    found = (await place.program().get("/api/stats")).json
    assert (found["available"], found["starting"], found["warm"], found["capacity"]) == (0, 3, 0, 3)


# /api/session


@pytest.fixture
async def session(place: Place) -> tuple[Guest, str]:
    program = place.program()
    return program, (await program.post("/api/spawn")).json["url"].split("/")[2]


async def test_a_session_says_when_it_ends(session: tuple[Guest, str]) -> None:
    program, key = session
    found = (await program.get(f"/api/session/{key}")).json
    assert set(found) == {"state", "now", "role", "expires_at", "idle_expires_at"}
    assert found["state"] == "live"
    assert found["now"] < found["idle_expires_at"] < found["expires_at"]


@pytest.mark.parametrize("verb", ["extend", "touch"])
async def test_a_session_that_is_extended_ends_later_but_not_after_its_lifetime(
    session: tuple[Guest, str], verb: str
) -> None:
    program, key = session
    before = (await program.get(f"/api/session/{key}")).json
    await asyncio.sleep(0.02)
    after = (await program.post(f"/api/session/{key}/{verb}")).json
    assert after["idle_expires_at"] >= before["idle_expires_at"] + 0.015
    assert after["expires_at"] == pytest.approx(before["expires_at"], abs=0.01)


async def test_a_look_at_a_session_does_not_extend_it(session: tuple[Guest, str]) -> None:
    program, key = session
    before = (await program.get(f"/api/session/{key}")).json
    await asyncio.sleep(0.02)
    assert (await program.get(f"/api/session/{key}")).json["idle_expires_at"] == pytest.approx(
        before["idle_expires_at"], abs=0.01
    )


async def test_a_session_can_be_ended(place: Place, session: tuple[Guest, str]) -> None:
    program, key = session
    ended = await program.ask("DELETE", f"/api/session/{key}")
    assert ended.status == 200
    assert (ended.json["state"], ended.json["reason"]) == ("gone", "ended")
    again = await program.get(f"/api/session/{key}")
    assert again.status == 424
    assert (again.json["state"], again.json["reason"]) == ("gone", "ended")
    assert again.json["explanation"] == ended.json["explanation"]
    await eventually(lambda: key not in place.backend.notebooks)


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/extend"), ("POST", "/touch")])
@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
    ids=str,
)
async def test_a_page_elsewhere_cannot_change_a_session(
    session: tuple[Guest, str], method: str, path: str, headers: dict[str, str]
) -> None:
    program, key = session
    assert (await program.ask(method, f"/api/session/{key}{path}", headers)).status == 403
    assert (await program.get(f"/api/session/{key}")).json["state"] == "live"


async def test_a_session_that_never_was_is_unknown(place: Place) -> None:
    for path in ("", "/extend"):
        answer = await place.program().ask("POST" if path else "GET", "/api/session/" + "x" * 22 + path)
        assert answer.status == 424
        assert answer.json["reason"] == "unknown"


async def test_a_warm_notebook_is_nobodys_session(place: Place) -> None:
    for key in place.backend.notebooks:
        assert (await place.program().get(f"/api/session/{key}")).status == 424
        assert (await place.program().ask("DELETE", f"/api/session/{key}")).status == 424
        assert (await place.program().get(f"/user/{key}/tree")).status == 424
    assert (await place.stats())["warm"] == 4


# /health


async def test_a_service_that_can_serve_is_healthy(place: Place) -> None:
    answer = await place.program().get("/health")
    assert answer.status == 200
    assert answer.json["ok"] is True
    assert {check["service"] for check in answer.json["checks"]} == {"pool tmppool", "backend of tmppool", "ledger"}


async def test_a_pool_whose_notebooks_do_not_start_is_ill(open_place: Open) -> None:
    place = await open_place(fake={"fail_next": 1000})
    program = place.program()
    async with asyncio.timeout(30):
        while (answer := await program.get("/health")).status != 503:
            await asyncio.sleep(0.01)
    assert answer.json["ok"] is False
    assert [check["service"] for check in answer.json["checks"] if not check["ok"]] == ["pool tmppool"]


async def test_a_pool_whose_starts_fail_is_ill_though_notebooks_are_warm(open_place: Open) -> None:
    place = await open_place(pool_size=4, warm=2)
    place.backend.fail_next = 1
    program = place.program()
    await program.post("/api/spawn")
    async with asyncio.timeout(30):
        while (answer := await program.get("/health")).status != 503:
            await asyncio.sleep(0.01)
        assert (await program.get("/api/stats")).json["warm"] == 1
        while (answer := await program.get("/health")).status != 200:
            await asyncio.sleep(0.01)
    assert answer.json["ok"] is True


async def test_a_backend_that_does_not_answer_is_ill(open_place: Open) -> None:
    place = await open_place()
    place.backend.is_ill = True
    place.backend._dead.put_nowait(None)  # it missed something, so the pool asks it what runs
    program = place.program()
    async with asyncio.timeout(30):
        while (answer := await program.get("/health")).status != 503:
            await asyncio.sleep(0.01)
    (ill,) = (check for check in answer.json["checks"] if not check["ok"])
    assert ill == {"service": "backend of tmppool", "ok": False, "state": "degraded"}
    place.backend.is_ill = False
    place.backend._dead.put_nowait(None)
    async with asyncio.timeout(30):
        while (answer := await program.get("/health")).status != 200:
            await asyncio.sleep(0.01)
    assert {check.get("state", "healthy") for check in answer.json["checks"]} == {"healthy"}


async def test_a_ledger_that_keeps_nothing_is_told_and_leaves_the_service_healthy(
    open_place: Open, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("no directory")
    answer = await (await open_place()).program().get("/health")
    assert (answer.status, answer.json["ok"]) == (200, True)
    ledger = {"service": "ledger", "ok": False, "_ignore_failure": True}
    assert [check for check in answer.json["checks"] if not check["ok"]] == [ledger]


# Other origins


async def test_other_origins_may_call_what_the_operator_lets_them(open_place: Open) -> None:
    place = await open_place(
        allow_origin="https://page.example",
        allow_methods="POST",
        allow_headers="X-A",
        allow_credentials="true",
        expose_headers="X-B",
        max_age=60,
    )
    wanted = {
        "Access-Control-Allow-Origin": "https://page.example",
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "X-A",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-B",
        "Access-Control-Max-Age": "60",
    }
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    for path in (*READ, "/api/spawn", "/api/spawn/"):
        answer = await place.program().ask("OPTIONS", path, asked)
        assert answer.status == 204
        assert wanted.items() <= dict(answer.headers).items()
    assert wanted.items() <= dict((await place.program().post("/api/spawn")).headers).items()


async def test_what_a_page_may_read_it_may_ask_for_with_fields_of_its_own(open_place: Any) -> None:
    place: Place = await open_place(embed_origins=("https://docs.example",))
    page = place.program(Origin="https://docs.example", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
    for path in (*READ, "/versions", "/hub/api", "/hub/api/"):
        asked = await page.ask("OPTIONS", path, {"Access-Control-Request-Method": "GET"})
        assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (204, "*"), path
        assert "GET" in asked.headers["Access-Control-Allow-Methods"]
        read = await page.get(path)
        assert read.headers["Access-Control-Allow-Origin"] in ("*", "https://docs.example"), path
    stranger = place.program(Origin="https://evil.example", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
    for path in READ:
        asked = await stranger.ask("OPTIONS", path, {"Access-Control-Request-Method": "GET"})
        assert "Access-Control-Allow-Origin" not in asked.headers, path


async def test_any_page_may_read_that_an_address_is_not_there(place: Place) -> None:
    page = place.program(Origin="https://any.example", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
    for path in ("/api/nothing", "/hub/api/nothing", "/nothing"):
        answer = await page.get(path)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, "*"), path


async def test_other_origins_may_call_nothing_unless_told(place: Place) -> None:
    for answer in (
        await place.program().ask("OPTIONS", "/api/spawn"),
        await place.program().post("/api/spawn"),
        await place.program().get("/api/stats"),
    ):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_the_documents_of_the_image_are_listed(open_place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = (Document("a.ipynb", "A"), Document("d/b.md"))
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: known)
    place: Place = await open_place(pools={"r": PoolSettings(pool_size=1)})
    found = await place.program().get("/api/documents?pool=r")
    assert found.json == {
        "pool": "r",
        "pools": ["tmppool", "r"],
        "is_complete": True,
        "documents": [{"path": "a.ipynb", "title": "A"}, {"path": "d/b.md", "title": ""}],
    }
    assert (await place.program().get("/api/documents?pool=none")).status == 404
