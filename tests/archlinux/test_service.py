"""The service with the workshop image: what a visitor and a program get, within the default limits."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.harness import chromium, running
from tests.acceptance.test_click import click_and_compute
from tests.acceptance.test_restart import Kernel

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test has to build the images


@pytest.mark.browser
async def test_a_click_ends_in_an_executed_cell_and_a_plot(full: str, tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=2", image=full) as service, chromium() as browser:
        await click_and_compute(browser, service)


@pytest.mark.parametrize(
    ("kernel", "code", "answer"),
    [
        ("ir", "png('x.png'); plot(faithful); x <- dev.off(); cat(6 * 7, file.size('x.png') > 1000)", ["42", "TRUE"]),
        ("octave", "A = rand(300); disp(norm(A / A - eye(300)) < 1e-6); save x.mat A; disp(6 * 7)", ["1", "42"]),
        ("bash", "echo $((6 * 7)) > x && cat x && id -un", ["42", "jovyan"]),
    ],
)
async def test_every_language_computes_and_writes_for_a_visitor(
    full: str, tmp_path: Path, kernel: str, code: str, answer: list[str]
) -> None:
    async with running(tmp_path, "docker", "--pool-size=1", image=full) as service:
        taken = Kernel(await service.spawn())
        await taken.begin(kernel)
        assert (await taken.run(code)).split() == answer


@pytest.mark.browser
@pytest.mark.parametrize("path", ["lab/tree/welcome.ipynb", "notebooks/welcome.ipynb", "tree"])
async def test_the_pages_have_the_workshops_look_and_ask_no_third_party(full: str, tmp_path: Path, path: str) -> None:
    async with running(tmp_path, "docker", "--pool-size=1", image=full) as service, chromium() as browser:
        page = await (await browser.new_context()).new_page()
        asked, logos = set(), []
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.on("response", lambda reply: logos.append(reply.status) if reply.url.endswith("custom/logo.svg") else None)
        await page.goto(f"{service.url}/{path}")
        await page.wait_for_url("**/user/**")
        logo = page.locator("#jp-MainLogo" if path.startswith("lab") else "#jp-NotebookLogo")
        await logo.wait_for(timeout=60_000)
        look = "getComputedStyle(document.body).getPropertyValue('--jp-brand-color1')"
        await page.wait_for_function(f"{look}.trim() === '#0f6b6b'")
        assert "logo.svg" in await logo.evaluate("element => getComputedStyle(element).backgroundImage")
        await page.wait_for_load_state("networkidle")
        assert logos
        assert set(logos) <= {200, 304}
        assert asked - {""} == {urlsplit(service.url).netloc}
