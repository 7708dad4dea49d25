"""thebe-core 0.5 at another host, driven as MyST's theme does, with the options that mystmd and the theme make.

mystmd builds the content of a site. Its theme cannot be fetched without a network, so that what the theme does is
replayed: its published functions make the options for thebe-core, and the links of its launch button.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page

from tests.clients.stage import DIRECTORY, HERE, PACKAGES, REPOSITORY, World, in_thread, says

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]

PAGE = "# Lesson\n\n```{code-cell} python\nprint('hello')\n```\n"
THEME = "jtex: v1\ntitle: none\nkind: site\nbuild:\n  start: 'true'\n  install: 'true'\n"


def published(path: str, *names: str) -> str:
    """Return an expression for functions of a published module, that neither imports nor exports anything."""
    text = (PACKAGES / path).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("import ")]
    body = "\n".join(lines).replace("\nexport function", "\nfunction")
    return f"(() => {{\nconst React = {{}};\n{body}\nreturn {{ {', '.join(names)} }};\n}})()"


def theme_options() -> str:
    return published("@myst-theme/jupyter/dist/utils.js", "thebeFrontmatterToOptions")


def launch_button() -> str:
    names = ("makeBinderURL", "makeNbgitpullerURL", "interrogateProviderType")
    return published("@myst-theme/frontmatter/dist/LaunchButton.js", *names)


async def built_site(tmp_path: Path, settings: str) -> dict[str, Any]:
    """Build the content of a site with mystmd; return its project, as themes get it."""
    (tmp_path / "theme").mkdir()
    (tmp_path / "theme/template.yml").write_text(THEME)
    (tmp_path / "theme/package.json").write_text("{}")
    (tmp_path / "index.md").write_text(PAGE)
    (tmp_path / "myst.yml").write_text(f"version: 1\n{settings}\nsite:\n  template: ./theme\n")
    await in_thread("myst", "build", "--site", "--ci", cwd=tmp_path)
    project: dict[str, Any] = json.loads((tmp_path / "_build/site/config.json").read_text())["projects"][0]
    return project


@pytest_asyncio.fixture(loop_scope="session")
async def core(place: World, reader: BrowserContext) -> Page:
    url = place.site.write("core.html", (HERE / "core.html").read_text(encoding="utf-8"))
    page = await reader.new_page()
    await page.goto(url)
    return page


async def test_a_site_of_myst_with_the_settings_of_embed_runs_its_cells(
    place: World, core: Page, tmp_path: Path
) -> None:
    settings = await place.snippet("MyST", document=f"{DIRECTORY}/first.ipynb", **{"as": "live"})
    project = await built_site(tmp_path, settings)
    options = await core.evaluate(f"fm => {theme_options()}.thebeFrontmatterToOptions(fm)", project["thebe"])
    assert options["binderOptions"]["repo"] == REPOSITORY
    await core.evaluate("options => connect(options, true)", options)
    await says(core.locator("#output"), "hello 42")
    assert await place.assigned() == 1
    url = await core.evaluate("server.userServerUrl")

    again = await core.context.new_page()  # another page of the site, or the same once more
    await again.goto(core.url)
    await again.evaluate("options => connect(options, true)", options)
    await says(again.locator("#output"), "hello 42")
    assert await again.evaluate("server.userServerUrl") == url
    assert await place.assigned() == 1

    await again.goto(url)  # as the theme's button "Jupyter" does
    await again.get_by_role("button", name="Open the notebook").click()
    await again.wait_for_url("**/user/**")
    await again.locator(".jp-FileBrowser, .jp-Notebook, .jp-DirListing").first.wait_for(timeout=60_000)
    assert await place.assigned() == 1


async def test_a_site_of_myst_with_a_server_runs_its_cells(place: World, core: Page, tmp_path: Path) -> None:
    taken = await place.spawn()
    settings = f"project:\n  jupyter:\n    server:\n      url: {taken.url}\n      token: {taken.token}"
    project = await built_site(tmp_path, settings)
    options = await core.evaluate(f"fm => {theme_options()}.thebeFrontmatterToOptions(fm)", project["thebe"])
    await core.evaluate("options => connect(options, false)", options)
    await says(core.locator("#output"), "hello 42")
    assert await place.assigned() == 1


async def test_mysts_launch_button_recognises_the_service_and_its_links_open_the_document(
    place: World, core: Page
) -> None:
    base = f"{place.service.url}/"
    assert await core.evaluate(f"base => {launch_button()}.interrogateProviderType(base)", base) == "binderhub"
    whole = f"https://github.com/{REPOSITORY}"
    for function, provider, repo in (
        ("makeBinderURL", "github", REPOSITORY),
        ("makeBinderURL", "git", whole),
        ("makeNbgitpullerURL", "github", whole),
    ):
        binder = {"url": base, "provider": provider, "repo": repo}
        link = await core.evaluate(f"binder => {launch_button()}.{function}(binder, '/docs/second.ipynb')", binder)
        page = await core.context.new_page()  # one that shows a document may ask before it is left
        await page.goto(urljoin(f"{base}hub/user-redirect/", link))
        await says(page.locator(".jp-CodeCell"), "docs/second.ipynb")
        await page.close()
    assert await place.assigned() == 1
