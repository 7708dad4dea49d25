"""Anybody learns whether notebooks are to be had, and the operator alone why not."""

import asyncio
from typing import Any

from tests.web.guests import Answer, Guest
from tmppool.errors import BackendError

REASON = "the fake was told to fail"


async def until(guest: Guest, status: int) -> Answer:
    async with asyncio.timeout(30):
        while (answer := await guest.get("/health")).status != status:
            await asyncio.sleep(0.01)
    return answer


async def test_the_public_learns_that_a_pool_is_degraded_and_not_why(open_place: Any) -> None:
    place = await open_place(fake={"fail_next": 1000}, pools={"other": {"pool_size": 1}})
    answer = await until(place.stranger(), 503)
    states = {check["service"]: check["state"] for check in answer.json["checks"] if "state" in check}
    assert set(states) == {"pool tmppool", "backend of tmppool", "pool other", "backend of other"}
    assert (states["pool tmppool"], states["backend of tmppool"]) == ("degraded", "healthy")
    assert REASON not in answer.text
    assert "message" not in answer.text


async def test_the_operator_learns_why(open_place: Any) -> None:
    place = await open_place(fake={"fail_next": 1000})
    answer = await until(place.operator(), 503)
    assert [check["message"] for check in answer.json["checks"] if not check["ok"]] == [REASON]


async def test_a_pool_that_is_full_of_what_cannot_be_stopped_says_so(open_place: Any) -> None:
    """Else it would only be called full, and nobody would look for what is stuck."""
    place = await open_place(pool_size=1)
    program, genuine = place.program(), place.backend.stop

    async def stop(_key: str) -> None:
        raise BackendError("device or resource busy")

    place.backend.stop = stop
    key = (await program.post("/api/spawn")).json["url"].split("/")[2]
    assert (await place.operator().get("/health")).status == 200
    await place.operator().ask("DELETE", f"/api/notebooks/{key}")
    answer = await until(place.operator(), 503)
    (said,) = [check["message"] for check in answer.json["checks"] if not check["ok"]]
    assert said == "places are held by notebooks that have ended and could not be stopped (1): device or resource busy"
    place.backend.stop = genuine
    await until(place.operator(), 200)


async def test_the_operators_health_is_the_operators(open_place: Any) -> None:
    place = await open_place()
    assert (await place.operator(Authorization="").get("/health")).status == 403
    answer = await place.operator().get("/health")
    assert (answer.status, answer.json["ok"]) == (200, True)
