"""The service as for ``tests/web``, and time for a longer search."""

import pytest

from tests.fuzz.effort import FACTOR
from tests.web.conftest import _no_blocking_calls, open_place, pytest_asyncio_loop_factories

__all__ = ["_no_blocking_calls", "open_place", "pytest_asyncio_loop_factories"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if FACTOR > 1:
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
