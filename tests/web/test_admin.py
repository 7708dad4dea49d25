"""The operator's listener."""

import time
from typing import Any

import pytest

from tests.web.guests import Guest, Place, eventually
from tmppool.running import digest

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
    assert mine["id"] == digest(key)
    assert mine["since"] == pytest.approx(time.time(), abs=30)
    assert mine["idle_for"] == pytest.approx(0, abs=30)
    assert not [known for known in place.backend.notebooks if known in answer.text]


@pytest.mark.parametrize("by", ["key", "id"])
async def test_one_notebook_can_be_ended(place: Place, operator: Guest, by: str) -> None:
    key = await spawn(place)
    answer = await operator.ask("DELETE", f"/api/notebooks/{key if by == 'key' else digest(key)}")
    assert answer.status == 200
    assert answer.json["id"] == digest(key)
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


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_operators_addresses_are_not_on_the_public_listener(place: Place, method: str) -> None:
    before = set(place.backend.notebooks)
    for path in (
        "/api/pool",
        "/api/notebooks",
        "/api/notebooks/x",
        "/metrics",
        "/api%2Fpool",
        "//api/pool",
        "/api/./pool",
        "/%6detrics",
    ):
        assert (await place.program().ask(method, path)).status in (400, 404, 405), path
    assert set(place.backend.notebooks) == before


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
