"""A visitor's own notebooks are listed to them, and to nobody else."""

from typing import Any

import pytest

from tests.web.guests import MODES, Place
from tmppool.pool_settings import PoolSettings


@pytest.mark.parametrize("mode", MODES)
async def test_a_visitor_sees_their_notebooks_and_where_to_start_another(open_place: Any, mode: dict[str, str]) -> None:
    place: Place = await open_place(pools={"r": PoolSettings(pool_size=1)}, **mode)
    person, stranger = place.person(), place.person()
    empty = await person.ask("GET", "/hub/home")
    assert (empty.status, "holds no notebook" in empty.text) == (200, True)
    key = await person.start()
    page = await person.ask("GET", "/hub/home")
    assert f"/user/{key}/" in page.text
    assert f"/session/{key}" in page.text
    assert "This notebook is yours. It ends" in page.text
    assert "end the one that you have" in page.text
    assert "/?pool=r" in page.text
    assert 'href="/"' not in page.text
    assert key not in (await stranger.ask("GET", "/hub/home")).text
