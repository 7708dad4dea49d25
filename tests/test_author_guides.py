"""The guides for page authors give what /embed gives, and name each other."""

import re
from pathlib import Path

import pytest

from tmppool.web import snippets
from tmppool.web.peer_links import Repository
from tmppool.web.snippets import Subject, Way

GUIDES = Path(__file__).parents[1] / "docs/authors"
SUBJECT = Subject(
    "https://nb.example",
    "https://nb.example/notebooks/intro.ipynb",
    "Introduction",
    repository=Repository("gh/org/repo"),
    file="docs/intro.ipynb",
)
GIVEN = [(way, each) for way in Way if way is not Way.LAB for each in snippets.make(way, SUBJECT)]


@pytest.mark.parametrize(("way", "snippet"), GIVEN, ids=[f"{way}-{each.name}" for way, each in GIVEN])
def test_each_snippet_stands_in_a_guide_as_embed_gives_it(way: Way, snippet: snippets.Snippet) -> None:
    assert [path.name for path in GUIDES.glob("*.md") if f"\n{snippet.text}\n```" in path.read_text()]


def test_each_guide_is_in_the_list_and_each_link_leads_somewhere() -> None:
    linked = set()
    for path in GUIDES.glob("*.md"):
        for name, fragment in re.findall(r"\]\(([\w.-]+\.md)(?:#([\w-]+))?\)", path.read_text()):
            text = (GUIDES / name).read_text()
            titles = [re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
            assert not fragment or fragment in titles, f"{path.name}: {name}#{fragment}"
            linked |= {name} if path.name == "README.md" else set()
    assert linked == {path.name for path in GUIDES.glob("*.md")} - {"README.md"}
