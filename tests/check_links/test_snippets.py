"""What ``/embed`` gives to page authors is read as it is meant, in each language and whatever a document is called."""

import pytest

from tests.web.test_snippets import NAMES, ORIGIN, made, subject
from tmppool.check_links.text import Finder, Link, Use
from tmppool.web import snippets
from tmppool.web.snippets import Way

FINDER = Finder([ORIGIN])
USES = {Way.NOTEBOOK: Use.LINK, Way.LAB: Use.LINK, Way.LIVE: Use.SCRIPT, Way.FRAME: Use.FRAME}


def found(text: str) -> list[list[Link]]:
    """Return the links as in a page, and as in a configuration."""
    return [list(FINDER.links("page", text, is_markup=is_markup)) for is_markup in (True, False)]


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("name", NAMES)
def test_each_link_is_found_whole_and_with_its_use(way: Way, name: str) -> None:
    link = subject(name).link.partition("#")[0].removeprefix(ORIGIN)
    for snippet in made(way, name=name).values():
        for links in found(snippet.text):
            assert links, snippet
            assert not any(each.is_made for each in links)
            assert USES[way] in {each.use for each in links}
            assert (link in snippet.text) == (link in {each.target for each in links})
            others = {each.target.partition("?")[0] for each in links if each.target != link}
            assert others <= {"/", "/badge.svg", "/live-cells.js", "/hub/user-redirect/git-pull"}


def test_a_frame_is_found_in_each_language() -> None:
    for snippet in snippets.make(Way.FRAME, subject()):
        assert {each.use for links in found(snippet.text) for each in links} == {Use.FRAME}
