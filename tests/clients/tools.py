"""Tools that make pages: each makes those of a source, and returns the folder where they are."""

import sys
from pathlib import Path

from tests.clients.stage import HERE, in_thread

_BOOK = HERE / ".book"
_CONVERT = (
    "import pypandoc, sys; pypandoc.convert_file(sys.argv[1], 'html', 'markdown', ['-s'], outputfile=sys.argv[2])"
)


async def sphinx(source: Path, out: Path) -> Path:
    await in_thread(sys.executable, "-m", "sphinx", "-q", "-b", "html", source, out, cwd=source)
    return out


async def mkdocs(source: Path, out: Path) -> Path:
    (source / "mkdocs.yml").write_text("site_name: Workshop\n", encoding="utf-8")
    await in_thread("mkdocs", "build", "--quiet", "--site-dir", out, cwd=source, environment=_BOOK)
    return out


async def pandoc(source: Path, out: Path) -> Path:
    out.mkdir()
    page = (source / "docs/index.md", out / "index.html")
    await in_thread("python", "-c", _CONVERT, *page, cwd=source, environment=_BOOK)
    return out


async def jupyter_book(source: Path, out: Path) -> Path:
    await in_thread("jupyter-book", "build", "--quiet", "--path-output", out, source, cwd=source, environment=_BOOK)
    return out / "_build/html"
