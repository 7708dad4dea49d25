"""The service on the loop that it runs on, with a scripted stranger for a notebook."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.proxy.stage import House, opened
from tmppool.proxy.timeouts import Timeouts

Open = Callable[..., Awaitable[House]]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> None:
    """Opening the service may block; ``opened`` looks at what it does from then on."""


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with opened(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
async def hurried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Open the service with these timeouts and none else; ``settings`` are the service's."""
    never = dict.fromkeys(("head", "idle", "body_start", "unread", "unread_tunnel", "response_head", "linger"), 3600.0)
    async with contextlib.AsyncExitStack() as stack:

        async def make(settings: dict[str, Any] | None = None, **timeouts: float) -> House:
            wanted = Timeouts(**(never | {"body_pause": 0.0, "check_interval": 0.01}))
            house = await stack.enter_async_context(opened(tmp_path, monkeypatch, timeouts=wanted, **(settings or {})))
            for name, seconds in timeouts.items():  # only from now on: to open it may take its time
                object.__setattr__(wanted, name, seconds)
            return house

        yield make
