"""A book of Jupyter Book 1: its launch buttons and live cells. For the version of thebe, see test_sphinx."""

import json

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.clients import tools
from tests.clients.stage import DIRECTORY, World, chosen, run_live_cell, says

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]

MORE = """
title: Workshop
execute:
  execute_notebooks: "off"
"""
CELL = {
    "cell_type": "code",
    "id": "b",
    "metadata": {},
    "outputs": [],
    "execution_count": None,
    "source": "print('hello', 6 * 7)",
}
TITLE = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Second"}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page_url(place: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of a book, by the settings of /embed and where the book is in its repository."""
    source = tmp_path_factory.mktemp("book") / "docs"
    source.mkdir()
    settings = await place.snippet("Jupyter Book 1", document=f"{DIRECTORY}/docs/second.ipynb", **{"as": "live"})
    hub = f'launch_buttons:\n  jupyterhub_url: "{place.service.url}"\n'
    settings = settings.replace("launch_buttons:\n", hub).replace(
        "repository:\n", "repository:\n  path_to_book: docs\n"
    )
    (source / "_config.yml").write_text(settings + MORE)
    (source / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n- file: second\n")
    (source / "index.md").write_text("# Workshop\n")
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": KERNEL, "cells": [TITLE, CELL]}
    (source / "second.ipynb").write_text(json.dumps(book))
    pages = await tools.jupyter_book(source, place.site.root / "jupyter-book")
    return place.site.address(pages / "second.html")


@pytest.mark.parametrize("button", ["Binder", "JupyterHub"])
async def test_a_launch_button_opens_the_document(
    place: World, page_url: str, reader: BrowserContext, button: str
) -> None:
    page = await reader.new_page()
    async with reader.expect_page() as opening:
        await chosen(page, page_url, button)
    await says((await opening.value).locator(".jp-CodeCell"), "docs/second.ipynb")
    assert await place.assigned() == 1


async def test_live_cells_run(place: World, page_url: str, reader: BrowserContext) -> None:
    page = await reader.new_page()
    await chosen(page, page_url, "Live Code")
    await run_live_cell(page)
    assert await place.assigned() == 1
