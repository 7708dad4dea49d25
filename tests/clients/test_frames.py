"""The frame that /embed gives, in pages that tools make."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.async_api import BrowserContext

from tests.clients import tools
from tests.clients.stage import DIRECTORY, World, over_tls, run_framed_cell

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.fronts,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]


class Tool(NamedTuple):
    """``snippet`` is the name at /embed of what the page holds; ``others`` are the files beside it."""

    make: Callable[[Path, Path], Awaitable[Path]]
    snippet: str
    page: str
    others: dict[str, str]


BOOK = {
    "_config.yml": 'title: Workshop\nexecute:\n  execute_notebooks: "off"\n',
    "_toc.yml": "format: jb-book\nroot: index\n",
}
TOOLS = {
    "Sphinx": Tool(tools.sphinx, "reStructuredText", "index.rst", {"conf.py": ""}),
    "MkDocs": Tool(tools.mkdocs, "HTML and Markdown", "docs/index.md", {}),
    "pandoc": Tool(tools.pandoc, "Quarto", "docs/index.md", {}),
    "Jupyter Book 1": Tool(tools.jupyter_book, "HTML and Markdown", "index.md", BOOK),
}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS.keys())
async def test_a_frame_in_a_page_of_a_tool_shows_a_notebook_whose_cell_runs(
    place: World, reader: BrowserContext, tmp_path: Path, tool: Tool
) -> None:
    async with over_tls(place, reader, tmp_path / "front") as origin:
        wanted = {"document": f"{DIRECTORY}/docs/second.ipynb", "as": "frame"}
        element = (await place.snippet(tool.snippet, **wanted)).replace(place.service.url, origin)
        heading = "Workshop\n========" if tool.page.endswith(".rst") else "# Workshop"
        source = tmp_path / "source"
        for name, text in {tool.page: f"{heading}\n\nText.\n\n{element}\n\nMore.\n", **tool.others}.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text, encoding="utf-8")
        pages = await tool.make(source, place.site.root / f"frame-{tool.make.__name__}")
        page = await reader.new_page()
        await page.goto(place.site.address(pages / "index.html"))
        await run_framed_cell(page)
    assert await place.assigned() == 1
