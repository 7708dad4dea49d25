"""A visitor's own notebooks are listed to them, and to nobody else."""

import re
from typing import Any

import pytest

from tests.web.guests import MODES, Place
from tmppool.notebook import Notebook
from tmppool.pool_settings import PoolSettings
from tmppool.web.visit import Visit


@pytest.mark.parametrize("mode", MODES)
async def test_a_visitor_sees_their_notebooks_and_where_to_start_another(open_place: Any, mode: dict[str, str]) -> None:
    place: Place = await open_place(pools={"r": PoolSettings(pool_size=1)}, **mode)
    person, stranger = place.person(), place.person()
    empty = await person.ask("GET", "/hub/home")
    assert (empty.status, "holds no notebook" in empty.text) == (200, True)
    key = await person.start()
    page = await person.ask("GET", "/hub/home")
    assert f"/user/{key}/" in page.text
    assert f'href="/session/{key}"' in page.text
    assert "This notebook is yours. It ends" in page.text
    assert "end the one that you have" in page.text
    assert "/?pool=r" in page.text
    assert 'href="/"' not in page.text
    assert key not in (await stranger.ask("GET", "/hub/home")).text


@pytest.mark.parametrize("mode", MODES)
async def test_a_notebook_is_returned_to_ended_and_replaced_from_there_without_a_script(
    open_place: Any, mode: dict[str, str]
) -> None:
    place: Place = await open_place(**mode)
    person = place.person()
    key = await person.start()
    page = await person.get("/hub/home")
    (back,) = re.findall(r'<a class="button" href="([^"]*)">Return to it</a>', page.text)
    assert (await person.follow(await person.get(back)))[1].status == 200
    ended = await person.press(page)
    assert (ended.status, ended.location) == (303, "/hub/home")
    page = await person.get(ended.location)
    assert (key in page.text, "holds no notebook" in page.text) == (False, True)
    assert (await person.get(f"/user/{key}/")).status == 410
    (start,) = re.findall(r'href="([^"]*)">Start a notebook<', page.text)
    assert await person.start(start) != key


async def test_a_page_elsewhere_ends_nothing_there(place: Place) -> None:
    person = place.person()
    key = await person.start()
    page = await person.get("/hub/home")
    assert (await person.press(page, Sec_Fetch_Site="cross-site")).status == 403
    assert (await place.person().press(page)).status == 403
    assert (await person.get(f"/user/{key}/")).status == 200


async def test_cookies_are_read_for_the_notebooks_that_they_are_named_for_only(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = await open_place(pool_size=3)
    one, other = place.person(), place.person()
    key = await one.start()
    await other.start()
    read = []
    has_cookie = Visit.has_owners_cookie

    def noted(visit: Visit, notebook: Notebook) -> bool:
        read.append(notebook.key)
        return has_cookie(visit, notebook)

    monkeypatch.setattr(Visit, "has_owners_cookie", noted)
    one.session.cookie_jar.clear(lambda cookie: cookie.key == place.cookie)
    assert f"/user/{key}/" in (await one.get("/hub/home")).text
    assert read == [key]
