"""The admin API, and the listener that serves it."""

import asyncio
import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.web.guests import Guest, Place, eventually
from tmppool.keys import id_of

ROUTES = [("DELETE", "/api/pool"), ("GET", "/api/notebooks"), ("DELETE", "/api/notebooks/x"), ("GET", "/metrics")]


@pytest.fixture
async def operator(place: Place) -> Guest:
    return place.operator()


async def spawn(place: Place) -> str:
    return str((await place.program().post("/api/spawn")).json["url"].split("/")[2])


async def test_a_drain_replaces_what_nobody_holds_and_leaves_sessions_alone(place: Place, operator: Guest) -> None:
    key = await spawn(place)
    await place.until(warm=3)
    old = set(place.backend.notebooks)
    answer = await operator.ask("DELETE", "/api/pool")
    assert (answer.status, answer.json) == (200, {"drained": 3})
    await place.until(warm=3, assigned=1)
    await eventually(lambda: set(place.backend.notebooks) & old == {key})
    assert b"fake notebook" in (await place.program().get(f"/user/{key}/tree")).body


async def test_notebooks_are_listed_without_their_keys(place: Place, operator: Guest) -> None:
    key = await spawn(place)
    await place.until(warm=3)
    answer = await operator.get("/api/notebooks")
    found = answer.json["notebooks"]
    assert sorted(notebook["state"] for notebook in found) == ["assigned", "warm", "warm", "warm"]
    assert all(set(notebook) == {"id", "pool", "state", "since", "idle_for"} for notebook in found)
    assert {notebook["pool"] for notebook in found} == {"tmppool"}
    (mine,) = (notebook for notebook in found if notebook["state"] == "assigned")
    assert mine["id"] == id_of(key)
    assert mine["since"] == pytest.approx(time.time(), abs=30)
    assert mine["idle_for"] == pytest.approx(0, abs=30)
    assert [notebook["idle_for"] for notebook in found if notebook["state"] == "warm"] == [None] * 3
    assert not [known for known in place.backend.notebooks if known in answer.text]


@pytest.mark.parametrize("by", ["key", "id"])
async def test_one_notebook_can_be_ended(place: Place, operator: Guest, by: str) -> None:
    key = await spawn(place)
    answer = await operator.ask("DELETE", f"/api/notebooks/{key if by == 'key' else id_of(key)}")
    assert answer.status == 200
    assert answer.json["id"] == id_of(key)
    await eventually(lambda: key not in place.backend.notebooks)
    assert (await place.program().get(f"/api/session/{key}")).json["reason"] == "drained"
    assert (await operator.ask("DELETE", f"/api/notebooks/{key}")).status == 404


async def test_a_notebook_that_is_not_there_cannot_be_ended(operator: Guest) -> None:
    answer = await operator.ask("DELETE", "/api/notebooks/none")
    assert answer.status == 404
    assert "no notebook" in answer.json["message"]


async def test_metrics_are_what_prometheus_reads(place: Place, operator: Guest) -> None:
    key = await spawn(place)
    await place.until(warm=3)
    await place.program().ask("DELETE", f"/api/session/{key}")
    await place.until(warm=4)
    await eventually(lambda: key not in place.backend.notebooks)
    answer = await operator.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for line in (
        'tmppool_notebooks{pool="tmppool",state="warm"} 4.0',
        'tmppool_notebooks{pool="tmppool",state="assigned"} 0.0',
        'tmppool_capacity{pool="tmppool"} 4.0',
        'tmppool_transitions_total{pool="tmppool",reason="click",to="assigned"} 1.0',
        'tmppool_session_seconds_count{pool="tmppool",reason="ended"} 1.0',
    ):
        assert line in lines
    assert key not in answer.text


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/nowhere")])
async def test_with_a_token_nothing_is_answered_without_it(open_place: Any, method: str, path: str) -> None:
    place = await open_place(admin_auth_token="right-token-of-the-operator")
    for value in (
        None,
        "token wrong",
        "right-token-of-the-operator",
        "token right-token-of-the-operato",
        "Basic right-token-of-the-operator",
    ):
        headers = {} if value is None else {"Authorization": value}
        answer = await place.operator().ask(method, path, headers)
        assert answer.status == 403
        assert "right" not in answer.text
    known = await place.operator(Authorization="token right-token-of-the-operator").ask(method, path)
    assert known.status == (404 if path in ("/nowhere", "/api/notebooks/x") else 200)


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/nowhere"), ("GET", "/api/openapi.json")])
async def test_without_a_token_of_the_operators_it_is_open_to_who_can_read_the_state_directory_only(
    place: Place, method: str, path: str
) -> None:
    for wrong in ({"Authorization": ""}, {"Authorization": "token "}, {"Authorization": f"token {'x' * 43}"}):
        assert (await place.operator(**wrong).ask(method, path)).status == 403
    known = await place.operator().ask(method, path)
    assert known.status == (404 if path in ("/nowhere", "/api/notebooks/x") else 200)


async def test_the_log_says_where_the_token_is_and_not_what_it_is(open_place: Any, tmp_path: Path) -> None:
    with capture_logs() as logs:
        place = await open_place()
    (line,) = [line for line in logs if line["event"] == "admin.opened"]
    assert line["token_file"] == str(tmp_path / "state" / "admin-token")
    assert place.operator_token not in str(logs)
    assert (tmp_path / "state" / "admin-token").stat().st_mode & 0o777 == 0o600


TOKEN = "right-token-of-the-operator"
WRONG = {
    "none": [],
    "empty": [""],
    "only the scheme": ["token"],
    "an empty token": ["token "],
    "the token alone": [TOKEN],
    "another scheme": [f"Basic {TOKEN}"],
    "one letter less": [f"token {TOKEN[:-1]}"],
    "one letter more": [f"token {TOKEN}x"],
    "capitals": [f"token {TOKEN.upper()}"],
    "bytes that are no text": ["token \udcff\udcfe"],
    "letters beyond ASCII": [f"token {TOKEN}é"],
    "twice, the right one first": [f"token {TOKEN}", "token wrong"],
    "twice, the right one last": ["token wrong", f"token {TOKEN}"],
    "twice the right one": [f"token {TOKEN}", f"token {TOKEN}"],
    "in one field": [f"token wrong, token {TOKEN}"],
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_token_that_is_not_exactly_the_one_is_refused(open_place: Any, name: str) -> None:
    place = await open_place(admin_auth_token=TOKEN)
    fields = "".join(f"Authorization: {value}\r\n" for value in WRONG[name])
    answer = await raw(place.admin_url, f"DELETE /api/pool HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    assert answer.split()[1] in (b"400", b"403")
    assert TOKEN.encode() not in answer
    assert (await place.stats())["warm"] == 4


@pytest.mark.parametrize("token", ["a?b?a?b?a?b?a?b?", "é" * 16, "\udcff" * 16])
async def test_a_token_of_any_bytes_is_compared_byte_for_byte(open_place: Any, token: str) -> None:
    place = await open_place(admin_auth_token=token)
    for given, status in ((token, b"200"), (token.replace("?", "\udcff") + "x", b"403"), ("?" * 16, b"403")):
        answer = await raw(place.admin_url, f"GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: token {given}\r\n\r\n")
        assert answer.split()[1] == status


@pytest.mark.parametrize("path", ["/api/pool?token={}", "/api/pool?access_token={}", "/api/pool"])
async def test_the_token_counts_in_its_field_only(open_place: Any, path: str) -> None:
    place = await open_place(admin_auth_token=TOKEN)
    headers = {"Cookie": f"token={TOKEN}", "X-Token": TOKEN, "Proxy-Authorization": f"token {TOKEN}"}
    assert (await place.operator().ask("DELETE", path.format(TOKEN), headers)).status == 403


# What a browser on the operator's machine may be made to send


HERE = ["127.0.0.1", "127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "127.8.9.10:1", "[::1]:{port}", "[::ffff:127.0.0.1]"]  # fmt: skip
ELSEWHERE = ["", "evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "192.0.2.1", "0.0.0.0", "[::]", "[::1", "127.1", "2130706433", "evil.example#localhost", "localhost:99999999", "::1"]  # fmt: skip


def known(place: Place) -> str:
    return f"Authorization: token {place.operator_token}\r\n"


@pytest.mark.parametrize("host", HERE)
async def test_without_a_token_of_the_operators_it_is_answered_at_this_machines_own_names(
    place: Place, host: str
) -> None:
    host = host.format(port=place.admin_url.rpartition(":")[2])
    request = f"GET /api/notebooks HTTP/1.1\r\nHost: {host}\r\n{known(place)}\r\n"
    assert (await raw(place.admin_url, request)).split()[1] == b"200"


@pytest.mark.parametrize("host", ELSEWHERE)
async def test_a_foreign_name_that_leads_here_is_not_answered(place: Place, host: str) -> None:
    host = host.format(port=place.admin_url.rpartition(":")[2])
    for line in ("GET /api/notebooks", "GET /metrics", "DELETE /api/pool", "GET /nowhere"):
        answer = await raw(place.admin_url, f"{line} HTTP/1.1\r\nHost: {host}\r\n{known(place)}\r\n")
        assert answer.split()[1] in (b"400", b"421"), answer
        assert b"warm" not in answer
    assert (await place.stats())["warm"] == 4


@pytest.mark.parametrize("fields", ["", "Host: localhost\r\nHost: evil.example\r\n", "Host: evil.example\r\nHost: localhost\r\n"])  # fmt: skip
async def test_a_request_without_one_name_is_not_answered(place: Place, fields: str) -> None:
    for version in ("1.0", "1.1"):
        answer = await raw(place.admin_url, f"GET /api/notebooks HTTP/{version}\r\n{fields}{known(place)}\r\n")
        assert answer.split()[1] in (b"400", b"421")


async def test_with_a_token_any_name_will_do(open_place: Any) -> None:
    place = await open_place(admin_auth_token=TOKEN)
    operator = place.operator(Authorization=f"Bearer {TOKEN}", Host="pool.example")
    assert (await operator.get("/api/notebooks")).status == 200


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
    ids=str,
)
async def test_a_page_of_another_origin_gets_nothing_here(
    open_place: Any, headers: dict[str, str], token: str | None
) -> None:
    place = await open_place(admin_auth_token=token)
    operator = place.operator(Authorization=f"token {TOKEN}")
    paths = ("/api/pool", "/api/notebooks", "/metrics", "/nowhere")
    for path, method in itertools.product(paths, ("GET", "HEAD", "DELETE", "POST", "PUT", "OPTIONS")):
        answer = await operator.ask(method, path, headers)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert (await place.stats())["warm"] == 4


async def test_the_operators_own_page_is_answered(place: Place) -> None:
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": place.admin_url},
        {"Sec-Fetch-Site": "none"},
        {"Origin": place.admin_url},
    ):
        assert (await place.operator().ask("GET", "/api/notebooks", headers)).status == 200


async def test_a_look_changes_nothing(place: Place, operator: Guest) -> None:
    key = await spawn(place)
    await place.until(warm=3)
    before = set(place.backend.notebooks)
    for method, path in itertools.product(
        ("GET", "HEAD", "OPTIONS", "POST"), ("/api/pool", "/api/notebooks", f"/api/notebooks/{key}", "/metrics")
    ):
        await operator.ask(method, path, {"X-HTTP-Method-Override": "DELETE"})
    assert set(place.backend.notebooks) == before
    assert (await place.stats())["assigned"] == 1


# None of it on the public listener


SPELLINGS = [
    "{0}", "{0}/", "{0}?", "{0}?token=x", "{0};", "{0};x=1", "{0}/.", "{0}/..", "{0}/../{1}", "/{0}", "//{0}", "/.{0}", "/..{0}", "/./{1}", "/../{1}",
    "/x/../{1}", "/user/../{1}", "/static/../{1}", "/static/..%2f{1}", "/lab/..{0}", "/lab/%2e%2e{0}", "/%2e{0}", "/%2e%2e{0}", "/%2f{1}", "/%5c{1}",
    "\\{1}", "/{1}%00", "/{1}%20", "/{1}%0d%0a", "/{1}%3f", "/{1}%23", "/{1}%2f", "{0}%2f..", "{0}.json", "{0}%c0%af", "/%252f{1}", "/:10000{0}", "/@127.0.0.1{0}",
    "http://{admin}{0}", "http://localhost:{port}{0}", "http://{public}{0}", "HTTP://{admin}{0}", "https://{admin}{0}", "http://x@{admin}{0}", "//{admin}{0}", "{admin}{0}",
]  # fmt: skip
FORMS = [
    str, str.upper, str.title, lambda path: path.replace("a", "%61").replace("m", "%6d"), lambda path: path.replace("/", "%2f"),
    lambda path: path[0] + path[1:].replace("/", "%2F"), lambda path: path.replace("/", "//"), lambda path: path.replace("/", "/./"),
    lambda path: "/" + "".join(f"%{ord(letter):02x}" for letter in path[1:]), lambda path: path.replace("e", "\u0435"),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/api/pool", "/api/notebooks", "/api/notebooks/x", "/metrics"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_operators_addresses_are_not_on_the_public_listener(place: Place, method: str, path: str) -> None:
    before = set(place.backend.notebooks)
    admin, public = place.admin_url.partition("//")[2], place.url.partition("//")[2]
    targets = {
        spelling.format(form(path), form(path)[1:], admin=admin, public=public, port=admin.rpartition(":")[2])
        for spelling, form in itertools.product(SPELLINGS, FORMS)
    }
    assert len(targets) > 380
    for target in sorted(targets):
        for host in (public, admin):
            answer = await raw(place.url, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            status = int(answer.split()[1])
            is_launch_link = re.match("^(http://[^/]*)?/lab/", target, re.IGNORECASE) and method == "GET"
            assert status in (400, 404, 405) or (is_launch_link and status == 200), target
            assert not re.search(rb"drained|tmppool_notebooks|\"notebooks\"", answer), target
    assert set(place.backend.notebooks) == before


async def raw(url: str, head: str) -> bytes:
    """Return all that is answered to this head, as it is."""
    host, _, port = url.partition("//")[2].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        if "Connection: close" not in head:
            head = head.replace("\r\n", "\r\nConnection: close\r\n", 1)
        writer.write(head.encode(errors="surrogateescape"))
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def test_visitors_addresses_are_not_on_the_operators_listener(place: Place, operator: Guest) -> None:
    for path in ("/spawn", "/lab", "/user/" + "x" * 22 + "/", "/api/session/" + "x" * 22):
        assert (await operator.get(path)).status == 404
    for path in ("/spawn", "/api/spawn"):
        assert (await operator.post(path)).status == 404
    assert (await place.stats())["assigned"] == 0


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_drain_is_a_delete_only(place: Place, operator: Guest, method: str) -> None:
    answer = await operator.ask(method, "/api/pool")
    assert answer.status == 405
    assert answer.headers["Allow"] == "DELETE"
    assert (await place.stats())["warm"] == 4
