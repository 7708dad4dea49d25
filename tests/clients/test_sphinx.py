"""Sites made by Sphinx: sphinx-book-theme's buttons, sphinx-thebe's cells, sphinx-gallery's badges.

sphinx-thebe 0.3 loads thebe 0.8.2 where a page has not loaded another, and that version is not to be had here. With the
settings of /embed pages load thebe 0.9.3 as it is, before sphinx-thebe looks.
"""

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.clients import tools
from tests.clients.stage import DIRECTORY, World, chosen, follow_badge, run_live_cell, says

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]

PAGE = """
:kernelspec: {"name": "python3"}

Second
======

.. code-block:: python
   :class: thebe

   print("hello", 6 * 7)

.. toctree::

   auto_examples/index
"""
THEBE_PAGE = """
Plain
=====

.. thebe-button::

.. code-block:: python
   :class: thebe

   print("hello", 6 * 7)
"""
EXAMPLE = '"""\nThird\n=====\n\nText.\n"""\nprint("third")\n'
MORE = """
project = "workshop"
extensions.append("sphinx_gallery.gen_gallery")
plot_gallery = "False"
smartquotes = False  # would change the kernelspec, which tools for notebooks give without a page's text
html_theme_options["path_to_docs"] = "docs"
html_theme_options["launch_buttons"]["jupyterhub_url"] = {url!r}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def book(place: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a site with all three, by the settings of /embed and the three lines that they lack."""
    source = tmp_path_factory.mktemp("book") / "docs"
    source.mkdir()
    (source.parent / "examples").mkdir()
    wanted = {"document": f"{DIRECTORY}/docs/second.ipynb"}
    theme = await place.snippet("sphinx-book-theme", **wanted, **{"as": "live"})
    gallery = await place.snippet("sphinx-gallery", **wanted, **{"as": "notebook"})
    (source / "conf.py").write_text(theme + "\n" + gallery + MORE.format(url=place.service.url))
    (source / "requirements.txt").write_text("numpy\n")
    (source / "index.rst").write_text("Workshop\n========\n\n.. toctree::\n\n   second\n")
    (source / "second.rst").write_text(PAGE)
    (source / "second.ipynb").write_text("{}")
    (source.parent / "examples/GALLERY_HEADER.rst").write_text("Examples\n========\n")
    (source.parent / "examples/plot_third.py").write_text(EXAMPLE)
    await tools.sphinx(source, place.site.root / "book")
    return f"{place.site.url}/book"


@pytest.mark.parametrize("button", ["Binder", "JupyterHub"])
async def test_a_button_of_sphinx_book_theme_opens_the_document(
    place: World, book: str, reader: BrowserContext, button: str
) -> None:
    page = await reader.new_page()
    async with reader.expect_page() as opening:
        await chosen(page, f"{book}/second.html", button)
    tab = await opening.value
    await says(tab.locator(".jp-CodeCell"), "docs/second.ipynb")
    assert await place.assigned() == 1


async def test_live_code_of_sphinx_book_theme_runs(place: World, book: str, reader: BrowserContext) -> None:
    page = await reader.new_page()
    await chosen(page, f"{book}/second.html", "Live Code")
    await run_live_cell(page)
    assert await place.assigned() == 1


async def test_cells_of_sphinx_thebe_without_a_theme_for_it_run(
    place: World, reader: BrowserContext, tmp_path: Path
) -> None:
    settings = await place.snippet("sphinx-thebe", document=f"{DIRECTORY}/first.ipynb", **{"as": "live"})
    (tmp_path / "conf.py").write_text(settings)
    (tmp_path / "index.rst").write_text(THEBE_PAGE)
    await tools.sphinx(tmp_path, place.site.root / "plain")
    page = await reader.new_page()
    await page.goto(f"{place.site.url}/plain/index.html")
    await page.get_by_role("button", name="Run code").click()
    await run_live_cell(page)
    assert await place.assigned() == 1


async def test_a_badge_of_sphinx_gallery_opens_the_example(place: World, book: str, reader: BrowserContext) -> None:
    page = await reader.new_page()
    await page.goto(f"{book}/auto_examples/plot_third.html")
    await page.get_by_alt_text("Launch binder").click()
    await says(page.locator(".jp-CodeCell"), "plot_third.ipynb")
    assert await place.assigned() == 1


async def test_a_link_in_restructuredtext_shows_the_badge_and_opens_the_document(
    place: World, reader: BrowserContext, tmp_path: Path
) -> None:
    link = await place.snippet("reStructuredText", document=f"{DIRECTORY}/docs/second.ipynb")
    (tmp_path / "conf.py").touch()
    (tmp_path / "index.rst").write_text(f"Links\n=====\n\n{link}\n")
    await tools.sphinx(tmp_path, place.site.root / "links")
    page = await reader.new_page()
    await page.goto(f"{place.site.url}/links/index.html")
    await follow_badge(page)
