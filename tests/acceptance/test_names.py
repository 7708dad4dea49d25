"""Files with the names that people give them, and the links that they make, with a real Jupyter and a real browser."""

import json
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from tests.acceptance.harness import Service, Taken, chromium, claim, output_of, run_cell, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

NAMES = [
    "back\\slash", "\\", "two\\\\", "100%", "%41", "what?", "#1", "a;b", "a+b", "a&b=c", "it's", '"it"', "a b", " a", "\U0001f40d" * 62, "caf\u00e9", "cafe\u0301",
      "a..b", "a.", "a\nb", "a\tb", "{a}|^`", "<b>", "~", "$HOME", "*", "x" * 248,
]  # fmt: skip
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "id": "top", "metadata": {}, "source": "# Top\n" + "\n".join("text\n" * 200)},
        {"cell_type": "code", "id": "code", "metadata": {}, "source": "6 * 7", "outputs": [], "execution_count": None},
        {"cell_type": "markdown", "id": "last", "metadata": {}, "source": "# Last Section"},
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def whole(taken: Taken, path: str) -> URL:
    return URL(taken.url + path, encoded=True)


async def test_a_file_of_any_name_is_made_read_renamed_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path, "process") as service:
        taken = await service.spawn()
        async with taken.client() as program:
            for name in NAMES:
                await use(program, taken, quote(f"{name}.txt", safe=""))
            await use(program, taken, quote("dir\\x", safe="") + ".txt")
            for wrong in ("..%5Cx.txt", "a%5C..%5Cx", "%00.txt", "..%2fx"):
                async with program.get(whole(taken, f"api/contents/{wrong}")) as reply:
                    assert (reply.status, "two ways" in (await reply.json())["message"]) == (400, True)


async def use(program: aiohttp.ClientSession, taken: Taken, raw: str) -> None:
    url = whole(taken, f"api/contents/{raw}")
    text = {"type": "file", "format": "text", "content": raw}
    async with program.put(url, json=text) as reply:
        assert reply.status == 201, (raw, await reply.text())
    async with program.get(url) as reply:
        assert (await reply.json())["content"] == raw
    async with program.get(whole(taken, f"files/{raw}")) as reply:
        assert (reply.status, await reply.text()) == (200, raw)
    async with program.patch(url, json={"path": "renamed \\ %.txt"}) as reply:
        assert reply.status == 200, (raw, await reply.text())
    async with program.delete(whole(taken, "api/contents/renamed%20%5C%20%25.txt")) as reply:
        assert reply.status == 204, (raw, await reply.text())


@pytest.mark.browser
async def test_a_fragment_leads_from_the_link_to_its_section_and_to_a_fresh_notebook(tmp_path: Path) -> None:
    name = "a\\b 100%.ipynb"
    link = f"/lab/tree/{quote(name)}"
    async with running(tmp_path, "process", "--pool-size=3", warm=2) as service, chromium() as browser:
        page = await (await browser.new_context()).new_page()
        await page.goto(service.link)
        await page.wait_for_url("**/user/**")
        key = page.url.split("/user/")[1].split("/")[0]
        status = await page.evaluate(
            "async ([url, body]) => (await fetch(url, {method: 'PUT', body, headers: {'Content-Type': 'application/json', 'X-XSRFToken': (document.cookie.match(/_xsrf=([^;]*)/) || [])[1] || ''}})).status",
            [f"/user/{key}/api/contents/{quote(name)}", json.dumps({"type": "notebook", "content": NOTEBOOK})],
        )
        assert status == 201

        # A second click: the visitor holds a notebook already, and is sent on at once.
        await page.goto(f"{service.url}{link}#Last-Section")
        await page.wait_for_url("**/user/**")
        assert page.url == f"{service.url}/user/{key}{link}#Last-Section"
        await run_cell(page, 0)
        assert await output_of(page, 0, "42") == "42"
        await page.get_by_role("heading", name="Last Section").first.wait_for()

        # It ends: the page at its old address leads to a fresh one, at the same place.
        async with aiohttp.ClientSession(headers=service.headers) as operator:
            for notebook in await service.notebooks():
                await operator.delete(f"{service.admin_url}/api/notebooks/{notebook['id']}")
        gone = await page.context.new_page()
        await gone.goto(f"{service.url}/user/{key}/lab/tree/welcome.ipynb#Last-Section")
        await gone.get_by_role("link", name="Start a fresh notebook").click()
        await gone.wait_for_url(lambda url: "/user/" in url and key not in url)
        assert gone.url.endswith("/lab/tree/welcome.ipynb#Last-Section")


@pytest.mark.browser
async def test_the_fragment_survives_the_launch_page_with_every_kind_of_name(tmp_path: Path) -> None:
    async with (
        running(tmp_path, "fake", "--pool-size=7", "--starts-per-hour=0", warm=7) as service,
        chromium() as browser,
    ):
        for link in (
            "/lab/tree/x.ipynb#Last-Section",
            "/doc/tree/a%5Cb.ipynb?x=1#cell-id=7f3a%20b",
            "//lab/tree/100%.ipynb#%F0%9F%90%8D",
            "/#a?b#c",
        ):
            page = await (await browser.new_context()).new_page()
            await page.goto(service.url + link)
            await page.wait_for_url("**/user/**")
            assert page.url.partition("#")[2] == link.partition("#")[2]
        assert "100%25.ipynb" not in page.url
        page = await (await browser.new_context()).new_page()
        taken = await service.spawn()
        await claim(page, taken.at("lab/tree/x.ipynb") + "#Last-Section")
        assert page.url == f"{taken.url}lab/tree/x.ipynb#Last-Section"
        await without_scripts(service, browser)


async def without_scripts(service: Service, browser: object) -> None:
    """Without scripts the notebook opens too, at its beginning."""
    context = await browser.new_context(java_script_enabled=False)  # type: ignore[attr-defined]
    page = await context.new_page()
    await page.goto(f"{service.url}/lab/tree/x.ipynb#Last-Section")
    await page.get_by_role("button").click()
    await page.wait_for_url("**/user/**")
    assert "/lab/tree/x.ipynb" in page.url
