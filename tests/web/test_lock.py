"""Where notebooks are processes: this machine's own user only, by a secret and by the Host."""

import asyncio
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.web.guests import MODES, PERSON, Answer, Guest, Place, opened
from tests.web.test_openapi import application, served
from tmppool.web import openapi, routes
from tmppool.web.addresses import ADDRESSES
from tmppool.web.lock import Lock

HERE = ["127.0.0.1", "127.0.0.1:{port}", "127.8.9.10:1", "localhost", "LocalHost:{port}", "[::1]", "[::1]:{port}", "a.localhost", "a.b.localhost:{port}"]  # fmt: skip
ELSEWHERE = ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "evillocalhost", "192.0.2.1", "0.0.0.0", "[::]", "127.1", "2130706433", "localhost.", "xn--localhost"]  # fmt: skip
OPEN = {
    "/health", "/robots.txt", "/static/{name}", "/session/{key}", "/session/{key}/share",
    "/session/{key}/unshare", "/session/{key}/end", "/session/{key}/claim", "/api/session/{key}", "/api/session/{key}/extend",
    "/api/session/{key}/touch", "/api/session/{key}/share",
}  # fmt: skip
"""What is answered without the secret: it tells nothing, or asks for a notebook's own secret."""

SERVED = served(application(routes.public))
LOCKED = "This service is for the person who started it: open the URL that it printed, which ends in a token."


@pytest.fixture
async def place(open_place: Any) -> Place:
    return await open_place(backend="process")


def path_of(address: str, **known: str) -> str:
    """A path of that route."""
    words = {"key": "x" * 22, "name": "style.css", "rest": f"{'x' * 22}/api", **known}
    return re.sub(r"\{(\w+)\}", lambda found: words[found[1]], address)


def asks() -> Iterator[tuple[str, str]]:
    """Each address that takes the secret, with each method, and addresses that there are none of."""
    for address, methods in SERVED.items():
        if address not in OPEN:
            yield from ((method, path_of(address)) for method in sorted(methods))
    yield from itertools.product(("GET", "POST", "DELETE", "OPTIONS"), ("/nowhere", "/api/nowhere", "/.git/config"))
    yield from (("PUT", "/"), ("TRACE", "/"), ("GET", "/static"), ("GET", "/users/x"), ("GET", "/session"))


# The secret


def test_a_route_is_closed_unless_it_stands_here() -> None:
    assert {address for address in SERVED if ADDRESSES[address].is_open} == OPEN


async def test_without_the_secret_nothing_is_started_or_shown(place: Place) -> None:
    wrong = f"{place.secret[:-1]}{'a' if place.secret[-1] != 'a' else 'b'}"
    cookie = f"tmppool-{place.port}"
    forged = [
        {},
        {"Authorization": f"token {wrong}"},
        {"Authorization": "token "},
        {"Authorization": place.secret},
        {"Cookie": f"{cookie}={wrong}"},
        {"Cookie": f"{cookie}={place.secret}"},
        {
            "Cookie": f"tmppool-1={Lock(place.secret, place.port).value}; x{cookie}={Lock(place.secret, place.port).value}"
        },
    ]
    for method, path in asks():
        for fields in forged:
            for target in (path, f"{path}?token={wrong}", f"{path}?token=", f"{path}?xtoken={place.secret}"):
                program, person = (
                    place.stranger(),
                    place.stranger(**{k.replace("-", "_"): v for k, v in PERSON.items()}),
                )
                answer = await program.ask(method, target, fields)
                assert (answer.status, method == "HEAD" or answer.json) == (
                    403,
                    method == "HEAD" or {"message": LOCKED},
                ), (method, target)
                answer = await person.ask(method, target, fields)
                assert answer.status == 403, (method, target)
                assert "Set-Cookie" not in answer.headers
                await close(program, person)
    stats = await place.stats()
    assert (stats["warm"], stats["assigned"]) == (4, 0)


async def close(*guests: Guest) -> None:
    for guest in guests:
        await guest.session.close()


async def test_what_is_open_tells_nothing_of_a_notebook(place: Place) -> None:
    stranger = place.stranger()
    for address in OPEN:
        for method in sorted(SERVED[address] - {"*"}) or ["GET"]:
            answer = await stranger.ask(method, path_of(address))
            assert answer.status in (200, 204, 424), (method, address)
            if answer.status == 424 and method != "HEAD":
                assert answer.json["reason"] == "unknown"


async def test_who_opens_what_was_printed_is_in(place: Place) -> None:
    for path in ("/", "/lab/tree/day%201/a.ipynb", "/spawn/lab", "/tree"):
        person = place.person()
        assert (await person.get(path)).status == 403
        entered = await person.get(f"{path}?a=%2F%20b&token={place.secret}&a=+&%63")
        assert entered.status == 303
        assert entered.location == f"{path}?a=%2F%20b&a=+&%63"
        assert (entered.headers["Cache-Control"], entered.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        cookie = entered.headers["Set-Cookie"]
        assert re.fullmatch(rf"tmppool-{place.port}=[0-9a-f]{{32}}; HttpOnly; Path=/; SameSite=Lax", cookie)
        assert place.secret not in cookie
        assert (await person.get(path)).status == 200
        key = await person.start(path)
        assert (await person.get(f"/user/{key}/lab")).status == 200
        assert not any("tmppool-" in fields.get("Cookie", "") for fields in place.notebook(key).headers)


async def test_a_look_without_a_body_enters_too_and_nothing_else_does(place: Place) -> None:
    person = place.person()
    assert (await person.ask("POST", f"/spawn?token={place.secret}")).status != 303
    assert (await person.get("/")).status == 403
    assert (await person.ask("HEAD", f"/?token={place.secret}")).status == 303
    assert (await person.get("/")).status == 200


async def test_an_address_that_is_none_takes_the_secret_out_of_the_bar_as_well(place: Place) -> None:
    person = place.person()
    assert (await person.get(f"/nowhere?token={place.secret}")).location == "/nowhere"
    assert (await person.get("/nowhere")).status == 404


async def test_a_program_says_the_secret(place: Place) -> None:
    secret = place.secret
    for fields, query in (({"Authorization": f"token {secret}"}, ""), ({"Authorization": f"Bearer {secret}"}, ""), ({}, f"?token={secret}")):  # fmt: skip
        program = place.program()
        assert (await program.ask("GET", f"/api/stats{query}", fields)).json["capacity"] == 4
        assert (await program.ask("GET", f"/stats{query}", fields)).json["capacity"] == 4
        document = (await program.ask("GET", f"/api/openapi.json{query}", fields)).json
        assert document == openapi.public(with_pages=True, is_local=True)
        taken = await program.ask("POST", f"/api/spawn{query}", fields)
        assert taken.status == 200
        assert (await place.stranger().get(f"{taken.json['url']}api")).status == 403
        assert (await place.stranger().get(f"{taken.json['url']}api?token={taken.json['token']}")).status == 200
        assert (await place.stranger().get(f"{taken.json['url']}api?token={secret}")).status == 403


async def test_any_of_several_cookies_that_is_right_counts(place: Place) -> None:
    """A page in a notebook can set others of the name: the right one is not shut out by them."""
    name, right = f"tmppool-{place.port}", Lock(place.secret, place.port).value
    for cookies in (f"{name}=tossed; {name}={right}", f"{name}={right}; {name}=tossed", f"a=b;{name}= {right} "):
        assert (await place.person(Cookie=cookies).get("/")).status == 200, cookies


async def test_the_operators_token_is_the_secret_and_is_not_printed(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_AUTH_TOKEN", "a-token-of-the-operators")
    place = await open_place(backend="process", fake={})
    assert place.secret == ""
    for path in ("/api/stats", "/api/openapi.json", "/nowhere", "/"):
        assert (await place.stranger().get(path)).status == 403
    program = place.stranger(Authorization="token a-token-of-the-operators")
    async with asyncio.timeout(30):
        while (await program.get("/api/stats")).json["warm"] != 4:
            await asyncio.sleep(0.01)
    assert (await program.post("/api/spawn")).status == 200
    assert (await program.get("/")).status == 404  # the pages are off


async def test_the_operators_listener_asks_for_it_too(place: Place) -> None:
    for method, path in (("GET", "/api/notebooks"), ("DELETE", "/api/pool"), ("GET", "/metrics")):
        assert (await place.operator().ask(method, path)).status == 403
        assert (await place.operator(Authorization=f"token {place.secret}").ask(method, path)).status == 200


async def test_each_start_has_a_secret_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = []
    for _ in range(2):
        async with opened(tmp_path, monkeypatch, backend="process") as place:
            secrets.append(place.secret)
            assert (await place.stranger(Authorization=f"token {secrets[0]}").get("/")).status == (
                200 if len(secrets) == 1 else 403
            )
    assert [len(secret) for secret in secrets] == [32, 32]  # characters of URL-safe base64: 192 bits


async def test_with_containers_no_secret_is_asked_for(open_place: Any) -> None:
    place = await open_place()
    assert place.secret == ""
    assert (await place.person(Host="nb.example").get("/")).status == 200


async def test_the_secret_is_in_no_line_of_the_log(open_place: Any) -> None:
    with capture_logs() as logs:
        place = await open_place(backend="process")
        await place.person().get(f"/?token={place.secret}")
        await place.person().get(f"/?token={place.secret[:-1]}")
    (line,) = [line for line in logs if line["event"] == "service.opened"]
    assert line["url"] == f"http://127.0.0.1:{place.port}"
    assert place.secret[:-1] not in str(logs)


# The pages


def is_refused_in_words(answer: Answer, status: int, said: str) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Cache-Control"] == "no-store"
    assert said in answer.text
    assert "Back to the start" not in answer.text  # which would say the same again


async def test_a_person_is_told_what_to_open(place: Place) -> None:
    is_refused_in_words(await place.person().get("/lab"), 403, LOCKED)
    is_refused_in_words(await place.person(Host="evil.example").get("/"), 421, "localhost and 127.0.0.1")


# The Host


@pytest.mark.parametrize("host", HERE)
async def test_this_machines_own_names_are_answered(place: Place, host: str) -> None:
    named = {"Host": host.format(port=place.port)}
    assert (await place.insider().ask("GET", "/api/stats", named)).status == 200
    assert (await place.stranger().ask("GET", "/health", named)).status == 200


@pytest.mark.parametrize("host", ELSEWHERE)
async def test_a_foreign_name_that_leads_here_is_shown_nothing(place: Place, host: str) -> None:
    """DNS rebinding: the secret and the cookies are with a foreign page, which is one of ours to the browser."""
    taken = (await place.insider().post("/api/spawn")).json
    key = taken["url"].split("/")[2]
    asked = place.asked(key).copy()
    named = {
        "Host": host.format(port=place.port),
        "Authorization": f"token {taken['token']}",
        "Cookie": f"tmppool-{place.port}={Lock(place.secret, place.port).value}",
    }
    guests = [place.owner(), place.insider(), place.stranger()]
    for address, methods in SERVED.items():
        for method, guest in itertools.product(sorted(methods - {"*"}) or ["GET", "POST"], guests):
            for path in (path_of(address, key=key), f"{path_of(address, rest=f'{key}/api')}?token={place.secret}"):
                answer = await guest.ask(method, path, named)
                assert answer.status == (200 if address == "/static/{name}" else 421), (method, path)
                assert "Set-Cookie" not in answer.headers
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await guests[0].session.ws_connect(f"{place.url}/user/{key}/api/kernels/1/channels", headers=named)
    assert refused.value.status == 421
    assert place.asked(key) == asked
    assert (await place.stats())["assigned"] == 1


async def test_a_request_without_a_host_is_shown_nothing(place: Place) -> None:
    for target in ("/", "/health", "/api/stats", "/user/x"):
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(f"GET {target}?token={place.secret} HTTP/1.0\r\n\r\n".encode())
        assert (await asyncio.wait_for(reader.read(), 30)).split()[1] == b"421"
        writer.close()


async def test_with_a_host_for_each_notebook_the_secret_opens_the_main_one(open_place: Any) -> None:
    place = await open_place(backend="process", **MODES[1])
    person = place.person()
    assert (await person.get("/")).status == 403
    assert (await person.get(f"/?token={place.secret}")).status == 303
    key = await person.start("/lab")
    assert (await place.stranger().get(f"/user/{key}/api")).status == 403
    away = await person.get(f"{place.origin(key)}/lab")
    assert (away.status, away.location) == (303, f"{place.url}/lab")


# What programs are told


async def test_each_refusal_is_described(place: Place) -> None:
    document = openapi.public(with_pages=True, is_local=True)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            assert "421" in operation["responses"]
            is_locked = (await place.stranger().ask(method.upper(), path_of(path))).status == 403
            assert is_locked is (path not in OPEN)
            if is_locked:
                assert "403" in operation["responses"]
                assert operation["security"] == [{"token": []}]
    assert "421" not in str(openapi.public(with_pages=True))
