"""The service on the loop that it runs on, with fake notebooks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.web.guests import Guest, Place, opened


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> None:
    """Opening the service may block; ``opened`` looks at what it does from then on."""


@pytest.fixture
async def open_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Open the service with settings of the test's own."""
    async with AsyncExitStack() as stack:

        async def open_one(**settings: Any) -> Place:
            return await stack.enter_async_context(opened(tmp_path / "state", monkeypatch, **settings))

        yield open_one


@pytest.fixture
async def place(open_place: Any) -> Place:
    return await open_place()


@pytest.fixture
async def person(place: Place) -> Guest:
    return place.person()
