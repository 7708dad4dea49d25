"""The service with the files of one repository, and the host of the pages: made once, when the first test asks."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.clients import stage
from tests.clients.stage import World


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with stage.world(tmp_path_factory.mktemp("clients")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def reader(place: World) -> AsyncIterator[BrowserContext]:
    """A browser profile; what was assigned in a test ends with it."""
    context = await place.reader()
    yield context
    await context.close()
    await place.end_all()
