"""The service as for ``tests/web``, with documents in its image."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import _no_blocking_calls, open_place, pytest_asyncio_loop_factories
from tests.web.guests import Place
from tmppool.image_documents import Document
from tmppool.pool_settings import PoolSettings, RepositorySettings

__all__ = ["_no_blocking_calls", "open_place", "pytest_asyncio_loop_factories"]

DOCUMENTS = tuple(Document(path) for path in ("intro.ipynb", "my file.ipynb", "week 1/plots.ipynb", "notes.md"))
SETTINGS: dict[str, Any] = {
    "pools": {"r": PoolSettings(pool_size=1)},
    "repositories": (RepositorySettings(name="gh/org/book", pool="r", directory="week 1", prefix="docs"),),
    "unknown_repositories": "refuse",
    "embed_origins": ("https://docs.example",),
}


@pytest.fixture
async def service(open_place: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: DOCUMENTS)
    place: Place = await open_place(**SETTINGS)
    return place


@pytest.fixture
def site(service: Place, tmp_path: Path) -> Path:
    """The samples, with links to the service that runs."""
    folder = tmp_path / "site"
    shutil.copytree(Path(__file__).parent / "samples", folder)
    for file in filter(Path.is_file, folder.rglob("*")):
        file.write_text(
            re.sub(
                "(https://)?nb.example", lambda found: service.url if found[1] else service.url[7:], file.read_text()
            )
        )
    (folder / "old.html").write_bytes(f"<a href='{service.url}/notebooks/größe.ipynb'>Größe</a>".encode("cp1252"))
    (folder / "wide.md").write_bytes(f"[x]({service.url}/notebooks/größe.ipynb)".encode("utf-16"))
    (folder / "picture.svg").write_bytes(f"\0{service.url}/notebooks/none.ipynb".encode())
    return folder
