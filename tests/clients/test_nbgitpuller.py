"""Links of nbgitpuller's to an image without it, which has the content already, by the table of repositories."""

from urllib.parse import quote

import pytest
from playwright.async_api import BrowserContext

from tests.clients.stage import DIRECTORY, REPOSITORY, World, says

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]

REPO = quote(f"https://github.com/{REPOSITORY}", safe="")
PULL = f"/hub/user-redirect/git-pull?repo={REPO}&urlpath=tree%2Fworkshop%2Fdocs%2Fsecond.ipynb&branch=main"


async def test_the_link_that_embed_gives_opens_the_document(place: World, reader: BrowserContext) -> None:
    link = await place.snippet(
        "nbgitpuller", document=f"https://github.com/{REPOSITORY}/blob/main/docs/second.ipynb", **{"as": "lab"}
    )
    page = await reader.new_page()
    await page.goto(link)
    await says(page.locator(".jp-CodeCell"), "docs/second.ipynb")
    assert "/lab/" in page.url


@pytest.mark.parametrize(
    "path",
    [
        # The forms that its link generator makes for a JupyterHub, for Canvas, and for Binder.
        PULL,
        f"/hub/lti/launch?next={quote(PULL, safe='')}",
        f"/v2/gh/else/environment/main?urlpath=git-pull%3Frepo%3D{quote(REPO)}%26urlpath%3Dtree%252Fworkshop%252Fdocs%252Fsecond.ipynb%26branch%3Dmain",
    ],
)
async def test_a_link_of_its_generator_opens_the_document(place: World, reader: BrowserContext, path: str) -> None:
    page = await reader.new_page()
    await page.goto(place.service.url + path)
    await says(page.locator(".jp-CodeCell"), "docs/second.ipynb")
    assert f"/{DIRECTORY}/docs/second.ipynb" in page.url
    assert await place.assigned() == 1
