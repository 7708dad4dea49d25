"""Sessions: given away once it is written down, bound, shared and ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.guests import Place, eventually, opened
from tmppool.errors import BackendError, TakenError
from tmppool.notebook import State


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> None:
    """Opening the service may block; ``opened`` looks at what it does from then on."""


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with opened(tmp_path / "state", monkeypatch) as made:
        yield made


# Giving away


@pytest.mark.parametrize("is_durable", [True, False])
async def test_nobody_enters_before_the_backend_has_noted_that_the_notebook_is_given_away(
    place: Place,
    is_durable: bool,  # noqa: FBT001
) -> None:
    """The ledger alone does not do: it may be lost, and the notebook would look like a warm one."""
    (pool,) = place.pools
    backend = place.backend
    if not is_durable:
        place.ledger._path = None
    taken = set()

    async def refuse(key: str) -> None:
        taken.add(key)
        raise BackendError("no space left on device")

    give, backend.give = backend.give, refuse
    answer = await place.program().ask("POST", "/api/spawn")
    assert (answer.status, answer.json["status"], answer.headers["Retry-After"]) == (503, "warming", "10")
    assert len(taken) == 1
    assert all(pool.find(key) is None for key in taken)

    backend.give = give
    await eventually(lambda: pool.count(State.WARM))
    answer = await place.program().ask("POST", "/api/spawn")
    assert answer.status == 200
    assert backend.given == {answer.json["url"].split("/")[2]}


async def test_while_the_backend_is_ill_no_warm_notebook_is_wasted(place: Place) -> None:
    (pool,) = place.pools
    pool.note_illness(BackendError("the engine is away"))
    answer = await place.program().ask("POST", "/api/spawn")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert pool.count(State.WARM) == 4
    pool.note_illness(None)
    assert (await place.program().ask("POST", "/api/spawn")).status == 200


async def test_one_that_another_service_gave_away_is_left_alone(place: Place) -> None:
    (pool,) = place.pools
    backend = place.backend
    taken = set()

    async def be_late(key: str) -> None:
        taken.add(key)
        raise TakenError("another service was first")

    give, backend.give = backend.give, be_late
    answer = await place.program().ask("POST", "/api/spawn")
    assert answer.status == 503
    (key,) = taken
    assert key not in pool
    assert key in backend.notebooks
    assert backend.stopped == []
    backend.give = give
    assert (await place.program().ask("POST", "/api/spawn")).json["url"] != f"/user/{key}/"
