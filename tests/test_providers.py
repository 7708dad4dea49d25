"""Each provider can be linked to and can stand in the settings."""

import pytest

from tmppool.pool_settings import RepositorySettings
from tmppool.providers import ARCHIVES, PROVIDERS
from tmppool.web.peer_links import parse


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_link_and_a_row_of_the_settings_name_the_same(provider: str) -> None:
    link = parse(f"/v2/{provider}/a/b/c")
    assert link is not None
    assert link.repository is not None
    assert RepositorySettings(name=link.repository.name).name == link.repository.name
    named = "a/b/c" if provider in ARCHIVES else "https://a/b" if provider == "git" else "a/b"
    assert link.repository.name == f"{provider}/{named}"
