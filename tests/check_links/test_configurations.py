"""Settings that move a tool's button and not its cells are found; others are left alone."""

import pytest

from tmppool.check_links import configurations
from tmppool.check_links.text import Finder

NB = "https://nb.example"
BOOK = f'repository:\n  url: "u"\nlaunch_buttons:\n  binderhub_url: "{NB}"\n  thebe: true\n'
CONF = f'html_theme_options = {{\n    "launch_buttons": {{\n        "binderhub_url": "{NB}",\n        "thebe": True,\n    }},\n}}\n'
FOOTER = f'html:\n  extra_footer: |\n    <script type="text/x-thebe-config">{{"binderOptions": {{"binderUrl": "{NB}"}}}}</script>\n'


def told(file: str, text: str) -> list[tuple[int, str]]:
    links = [*Finder([NB]).links(file, text, is_markup=False)]
    return [(finding.link.line, finding.message) for finding in configurations.judge(file, text, links)]


@pytest.mark.parametrize(("file", "text", "line"), [("docs/_config.yml", BOOK, 4), ("conf.py", CONF, 3)])
def test_live_cells_that_would_go_elsewhere_are_told(file: str, text: str, line: int) -> None:
    ((found, message),) = told(file, text)
    assert (found, "mybinder.org" in message) == (line, True)


def test_a_line_is_looked_at_once_for_all_its_links() -> None:
    more = f"'{NB}/lab', " * 5000
    line = f'x = {{"thebe": True, "binderhub_url": "{NB}", "more": [{more}]}}'
    assert len(told("conf.py", line)) == 5001


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("_config.yml", BOOK + FOOTER),
        ("_config.yml", BOOK.replace("thebe: true", "thebe: false")),
        ("_config.yml", BOOK.replace("thebe", "# thebe")),
        ("_config.yml", BOOK.replace(NB, "https://elsewhere.example")),
        ("guide.md", BOOK),
    ],
)
def test_other_settings_are_left_alone(file: str, text: str) -> None:
    assert told(file, text) == []
