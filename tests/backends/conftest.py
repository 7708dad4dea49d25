"""A client of the engine that a module's own ``small`` has opened."""

from collections.abc import AsyncIterator

import pytest

from tmppool.backends import engine


@pytest.fixture
async def docker(small: object) -> AsyncIterator[engine.Client]:
    made = await engine.connect()
    yield made
    await made.close()
