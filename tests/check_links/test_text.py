"""A link is found in whatever holds it, and is what a browser makes of it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.check_links.text import Finder, Link, Use

NB = "https://nb.example"
FINDER = Finder([NB, "http://127.0.0.1:8000", "http://[::1]:8000", "https://xn--bcher-kva.example"])


def found(text: str, *, is_markup: bool = True) -> list[Link]:
    return list(FINDER.links("page", text, is_markup=is_markup))


def targets(text: str, *, is_markup: bool = True) -> list[str]:
    return [link.target for link in found(text, is_markup=is_markup)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # HTML
        (f'<a href="{NB}/lab?a=1&amp;pool=r">', "/lab?a=1&pool=r"),
        (f"<a href='{NB}/lab?a=1&pool=r'>", "/lab?a=1&pool=r"),
        (f"<a href={NB}/lab?a=1&amp;pool=r>", "/lab?a=1&pool=r"),
        (f'<a href="{NB}/lab?copy=1&copy=2&reg=3">', "/lab?copy=1&copy=2&reg=3"),
        (f'<a href="{NB}/lab?a&#38;pool&#x3D;r">', "/lab?a&pool=r"),
        (f'<a href="{NB}/lab/tree/my file.ipynb">', "/lab/tree/my%20file.ipynb"),
        (f'<a href="{NB}/lab/tree/it\'s.ipynb">', "/lab/tree/it's.ipynb"),
        (f'<a href="{NB}/lab#cell-id=1?a">', "/lab"),
        ('<a href="//nb.example/lab">', "/lab"),
        ('<a href="HTTPS://NB.Example/lab">', "/lab"),
        ('<a href="http://nb.example:80/lab">', "/lab"),
        (f'<a href="{NB}:443/lab">', "/lab"),
        (f'<a href="{NB}">{{}}', "/"),
        (f'<a href="{NB}?pool=r">', "/?pool=r"),
        (f'<a href="{NB}/lab/größe.ipynb">', "/lab/gr%C3%B6%C3%9Fe.ipynb"),
        (f'<a href="{NB}/lab/tree/gr%C3%B6%C3%9Fe.ipynb">', "/lab/tree/gr%C3%B6%C3%9Fe.ipynb"),
        (f'<a href="{NB}/lab/../tree/./a/%2e%2E/b">', "/tree/b"),
        (f'<a href="{NB}/lab/..">', "/"),
        (f'<a href="{NB}/../..">', "/"),
        (f'<a href="{NB}//evil.example/x">', "//evil.example/x"),
        (f'<a href="{NB}/lab&#10;">', "/lab"),
        (f"<div data-x='{{&quot;url&quot;:&quot;{NB}/lab&quot;,&quot;b&quot;:1}}'>", "/lab"),
        (f"<p>{NB}/lab</p>", "/lab"),
        (f"<code>&#34;{NB}/lab.png&#34;: x</code>", "/lab.png"),
        (f"<code>&lt;{NB}/lab&gt;.</code>", "/lab"),
        ('<a href="http://127.0.0.1:8000/lab">', "/lab"),
        ('<a href="http://[::1]:8000/lab">', "/lab"),
        ('<a href="https://bücher.example/lab">', "/lab"),
        ('<a href="https://xn--bcher-kva.example/lab">', "/lab"),
        # Markdown
        (f"[x]({NB}/lab)", "/lab"),
        (f'[x]({NB}/lab "Title")', "/lab"),
        (f"[x]({NB}/lab/a(1).ipynb)", "/lab/a(1).ipynb"),
        (f"([x]({NB}/lab))", "/lab"),
        (f"[x](<{NB}/lab/my file.ipynb>)", "/lab/my%20file.ipynb"),
        (f"<{NB}/lab>", "/lab"),
        (f"[x]: {NB}/lab", "/lab"),
        (f"See {NB}/lab, or not.", "/lab"),
        (f"**{NB}/lab.**", "/lab"),
        (f"({NB}/lab).", "/lab"),
        (f"| {NB}/lab | b |", "/lab"),
        (f"|{NB}/lab|b|", "/lab"),
        (f"`{NB}/lab`", "/lab"),
        (f"“{NB}”, it says", "/"),
        (f"{NB}/a\\_b.ipynb", "/a_b.ipynb"),
        (f"{NB}.", "/"),
        (f"{NB}: there", "/"),
        (f"{NB}/lab it's", "/lab"),
        # reStructuredText, YAML, TOML, programs
        (f"`x <{NB}/lab>`_", "/lab"),
        (f".. _x: {NB}/lab", "/lab"),
        (f"url: {NB}/lab # why", "/lab"),
        (f'url = "{NB}/lab"', "/lab"),
        (f"url: '{NB}/lab'", "/lab"),
        (f"{{url: {NB}/lab}}", "/lab"),
        (f"[{NB}/lab]", "/lab"),
        # JSON, and Markdown in it
        (f'"[x]({NB}/lab/a.ipynb)\\n",', "/lab/a.ipynb"),
        (f'"<a href=\\"{NB}/lab?a=1&amp;b=2\\">\\n"', "/lab?a=1&b=2"),
        (f'"{NB}/lab.\\n", "b"', "/lab"),
        (f'"{NB}/lab and more"', "/lab"),
        (f'"see {NB}/lab.\\n"', "/lab"),
        (f'"{NB}/lab?a=1\\u0026pool=r"', "/lab?a=1&pool=r"),
        ('"https:\\/\\/nb.example\\/lab\\/a.ipynb"', "/lab/a.ipynb"),
        ('"https:\\u002F\\u002Fnb.example\\u002Flab\\u002Fa.ipynb"', "/lab/a.ipynb"),  # serialize-javascript
        # In another link
        ("https://s.example/?u=https%3A%2F%2Fnb.example%2Flab%3Fpool%3Dr&t=1", "/lab?pool=r"),
        ("https://s.example/?u=http%3A%2F%2F127.0.0.1%3A8000%2Flab", "/lab"),
        (f"https://s.example/?t=1&u={NB}/lab&x=1", "/lab"),
        (f"https://s.example/{NB}/lab", "/lab"),
    ],
)
def test_a_link_is_what_a_browser_makes_of_it(text: str, expected: str) -> None:
    assert targets(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "https://nb.example.evil/lab",
        "https://nb.example@evil/lab",
        "https://nb.example:pw@evil/lab",
        "https://nb.example:8443/lab",
        "https://nb.example-evil/lab",
        "https://my-nb.example/lab",
        "https://a.nb.example/lab",
        "wss://nb.example/lab",
        "ftp://nb.example",
        "http://127.0.0.1:80001/lab",
        "http://127.0.0.1/lab",
        "nb.example/lab",
        'host = "nb.example"',
        "https%3A%2F%2Fnb.example.evil",
        "https://nb%2Eexample/lab",
    ],
)
def test_what_leads_elsewhere_is_no_link_to_the_service(text: str) -> None:
    assert targets(text) == []


def test_only_in_html_is_an_escaped_ampersand_one() -> None:
    text = f"url: {NB}/lab?a=1&amp;pool=r"
    assert targets(text, is_markup=True) == ["/lab?a=1&pool=r"]
    assert targets(text, is_markup=False) == ["/lab?a=1&amp;pool=r"]


@pytest.mark.parametrize(
    "text",
    [
        f'<a href="{NB}/lab/tree/{{{{ page.path }}}}">',
        f'<a href="{NB}/lab/tree/{{% url %}}">',
        f"[x]({NB}/lab/tree/{{{{page}}}})",
        f"{NB}/lab/tree/{{{{ page }}}}",
        f"`{NB}/lab/tree/${{path}}`",
        f'"{NB}/lab/tree/" + path',
        f"'{NB}/lab/tree/' ~ path",
        f"'{NB}/lab/tree/' . $path",
        f'"{NB}/lab/tree/%s" % path',
        f'"{NB}/lab/tree/%(path)s"',
        f'"{NB}/lab/tree/{{}}".format(path)',
        f'<a href="{NB}/lab/tree/<%= path %>">',
        f'<a href="{NB}/lab/tree/<?php echo 1 ?>">',
        f"{NB}/v2/gh/<org>/<repo>",
        f"{NB}/v2/gh/&lt;org&gt;/&lt;repo&gt;",
        f"{NB}/v2/gh/[org]/[repo]",
        f"{NB}/v2/gh/|org|",
        f"{NB}/v2/gh/…",
        f"{NB}/lab/tree/$NAME",
    ],
)
def test_what_a_template_or_a_reader_is_to_fill_is_known(text: str) -> None:
    assert [link.is_made for link in found(text)] == [True]


@pytest.mark.parametrize(
    "text",
    [
        f'{{% set x = "{NB}/lab" %}}',
        f'["{NB}/lab/", "b"]',
        f'<a href="{NB}/lab/">a</a>',
        f"{NB}/lab/%d0%bf.ipynb",
        f"{NB}/lab</p>",
        f'f("{NB}/lab").x',
    ],
)
def test_a_link_that_is_whole_is_known(text: str) -> None:
    assert [link.is_made for link in found(text)] == [False]


@pytest.mark.parametrize(
    ("text", "use"),
    [
        (f'<iframe src="{NB}/lab">', Use.FRAME),
        (f'<IFRAME\n  style="a:b"\n  src="{NB}/lab">', Use.FRAME),
        (f'<object data="{NB}/lab">', Use.FRAME),
        (f'<embed src="{NB}/lab">', Use.FRAME),
        (f'"<iframe src=\\"{NB}/lab\\">"', Use.FRAME),
        (f"```{{iframe}} {NB}/lab", Use.FRAME),
        (f'{{{{< iframe src="{NB}/lab" >}}}}', Use.FRAME),
        (f'IFrame("{NB}/lab", 800)', Use.FRAME),
        (f'IFrame(src="{NB}/lab")', Use.FRAME),
        (f'iframe.src = "{NB}/lab"', Use.FRAME),
        (f'new EventSource("{NB}/build/gh/o/r/main")', Use.SCRIPT),
        (f'fetch("{NB}/services/binder/build/gh/o/r/main")', Use.SCRIPT),
        (f'binderUrl: "{NB}"', Use.SCRIPT),
        (f'"binderUrl": "{NB}"', Use.SCRIPT),
        (f"{{&quot;binderUrl&quot;:&quot;{NB}&quot;}}", Use.SCRIPT),
        (f'baseUrl: "{NB}/"', Use.SCRIPT),
        (f'new Juniper({{repo: "o/r", url: "{NB}"}})', Use.SCRIPT),
        (f"jupyter:\n  binder:\n    url: {NB}/\n", Use.SCRIPT),
        (f"jupyter:\n  binder:\n    repo: o/r\n    ref: main\n    url: '{NB}/'\n", Use.SCRIPT),
        (f"jupyter: {{server: {{token: x, url: {NB}/}}}}", Use.SCRIPT),
        (f'fetch("{NB}/api/stats")', Use.SCRIPT),
        (f"fetch(`{NB}/api/stats`)", Use.SCRIPT),
        (f'axios.post("{NB}/api/spawn")', Use.SCRIPT),
        (f'axios("{NB}/api/spawn")', Use.SCRIPT),
        (f'$.post("{NB}/api/spawn")', Use.SCRIPT),
        (f'xhr.open("POST", "{NB}/api/spawn")', Use.SCRIPT),
        (f'const url = "{NB}/build/gh/o/r/main"', Use.SCRIPT),
        (f"new EventSource(`{NB}/build/gh/o/r/main`)", Use.SCRIPT),
        (f'<iframe title="a > b" src="{NB}/lab">', Use.FRAME),
        (f"<iframe title='a > \"b' src={NB}/lab>", Use.FRAME),
        (f'<iframe title="{"x" * 1500}" src="{NB}/lab">', Use.FRAME),
        (f'<iframe title=it\'s src="{NB}/lab">', Use.FRAME),
        (f'<iframe alt=x"y class = "a" src={NB}/lab>', Use.FRAME),
        (f"<iframe title=don't></iframe><a href='{NB}/lab'>", Use.LINK),
        (f'IFrame(\n    width="100%",\n    src="{NB}/lab",\n)', Use.FRAME),
        (f'tags$iframe(width = 800, src = "{NB}/lab")', Use.FRAME),
        (f'knitr::include_url("{NB}/lab")', Use.FRAME),
        (f'$("#frame").attr("src", "{NB}/lab")', Use.FRAME),
        (f'await fetch(\n    "{NB}/api/spawn",', Use.SCRIPT),
        (f'new EventSource(\n  "{NB}/build/gh/o/r/main",', Use.SCRIPT),
        (f'new URL("{NB}/build/gh/o/r/main")', Use.SCRIPT),
        (f'<iframe src="\n    {NB}/lab">', Use.FRAME),  # browsers strip it
        (f'document.getElementById("f").src = "{NB}/lab"', Use.FRAME),
        (f'frame.setAttribute("src", "{NB}/lab")', Use.FRAME),
        (f'picture.src = "{NB}/badge.svg"', Use.LINK),
        (f'<object type="image/svg+xml" data="{NB}/badge.svg">', Use.LINK),  # every page may show it
        (f'requests.post("{NB}/api/spawn")', Use.LINK),  # no page's script
        (f'<iframe title="it\'s"></iframe> it\'s "{NB}/lab"', Use.LINK),
        (f'fetch("{NB}/versions")', Use.LINK),  # any page may read that
        (f'<a href="{NB}/lab">', Use.LINK),
        (f'<iframe src="x"></iframe><a href="{NB}/lab">', Use.LINK),
        (f"&lt;iframe src=&quot;{NB}/lab&quot;&gt;", Use.LINK),  # is shown, not used
        (f"An iframe may show {NB}/lab", Use.LINK),
        (f"binder: {NB}/", Use.LINK),
        (f"binderhub_url: {NB}", Use.LINK),
        (f"servers:\n  - url: {NB}", Use.LINK),
    ],
)
def test_the_use_of_a_link_is_known(text: str, use: Use) -> None:
    assert [link.use for link in found(text)] == [use]


@pytest.mark.parametrize("text", ['<a href="nb.example/lab">', "[x](nb.example/lab)", "<a href='nb.example'>"])
def test_a_link_without_its_scheme_is_noticed(text: str) -> None:
    assert [link.has_scheme for link in found(text)] == [False]


def test_a_link_has_its_place() -> None:
    links = found(f"a\r\n  <{NB}/lab> {NB}/tree\n\nü {NB}/notebooks")
    assert [(link.line, link.column, link.target) for link in links] == [
        (2, 4, "/lab"),
        (2, 28, "/tree"),
        (4, 3, "/notebooks"),
    ]
    assert {(link.file, link.service) for link in links} == {("page", NB)}


def test_a_link_is_told_as_it_is_meant() -> None:
    text = f"<a href='{NB}/lab?a=1&amp;b=2#c'> <a href='HTTP://127.0.0.1:8000/x'>"
    assert [link.written for link in found(text)] == [f"{NB}/lab?a=1&b=2#c", "HTTP://127.0.0.1:8000/x"]
    assert [link.fragment for link in found(text)] == ["c", ""]


@pytest.mark.parametrize("user", ["me", "me:secret", "me:p%40ss", "me:p@ss", "me@home.example:p@", ":secret"])
@pytest.mark.parametrize("lead", ["https://", "//", "https:\\/\\/"])
def test_a_link_with_a_password_is_one_and_the_password_is_not_told(lead: str, user: str) -> None:
    (link,) = found(f'<a href="{lead}{user}@nb.example/lab/a.ipynb">')
    assert (link.target, link.has_user) == ("/lab/a.ipynb", True)
    assert link.written == f"{lead}…@nb.example/lab/a.ipynb".replace("\\", "")
    assert found('<a href="mailto:me@nb.example">') == found("//admin@nb.example knows") == []
    assert [link.has_user for link in found(f'<a href="{NB}/@me">')] == [False]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x", False),
        (b"x https://NB.example/", True),
        ("bücher.example".encode(), True),
        (b"xn--bcher-kva.example", True),
    ],
)
def test_a_text_without_a_host_is_not_read(content: bytes, expected: bool) -> None:  # noqa: FBT001
    assert FINDER.may_be_in(content) is expected


PIECES = st.sampled_from(
    [NB, "//nb.example", "https%3A%2F%2Fnb.example", "/lab", "%2F", "%", "?", "&amp;", "&#", ";", "\\", "\\u0026", "\\n",
     "\n", '"', "'", "(", ")", "<", ">", "{", "}", "iframe", "=", "href=", "..", "/", "\0", "\ud800", "\u2028", "é", " "]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join), st.booleans())
def test_whatever_a_text_holds_a_target_can_be_sent(text: str, is_markup: bool) -> None:  # noqa: FBT001
    for link in FINDER.links("page", text, is_markup=is_markup):
        assert link.target.startswith("/")
        assert link.target.isascii()
        assert not any(char.isspace() or not char.isprintable() or char in '#"<>' for char in link.target)


HOSTILE = {
    "a link": f"{NB}/lab ",
    "a link with no end": f"{NB}/",
    "slashes": "/",
    "quotes": '"',
    "an attribute": f'="{NB} ',
    "a frame": f"<iframe {NB}",
    "attributes": f"<iframe {'=x ' * 600}{NB} ",
    "quotes in attributes": "<iframe " + "='a =\"b " * 200 + f"{NB} ",
    "blanks in a frame": f"<iframe a={' ' * 1900}{NB} ",
    "arguments": f"iframe({' ' * 100}{NB} ",
    "users": f"//{'u' * 199}@//nb.example ",
    "users with signs": f"//{'u@' * 99}//nb.example ",
    "a shortcode": f"{{{{<iframe {NB}",
    "MyST": f"binder: url: a, {NB} ",
    "Juniper": f"Juniper({{url:{NB} ",
    "entities": f"{NB}/&amp;&#38;&",
    "escapes": f"{NB}/" + "\\/" * 50,
    "parentheses": f"({NB}/((((",
    "closing ones": f"{NB}/" + ")" * 99,
    "dots": f"{NB}/" + "../" * 50,
    "percent": f"{NB}/%2F%",
    "a name": "nb.example",
    "encoded": "https%3A%2F%2Fnb.example%2F",
    "blanks": f"= {' ' * 40}{NB}",
    "one line": f"x{NB}",
    "blanks in quotes": f'="{NB}/' + "\x0b" * 7000 + 'x" ',
    "controls": f"{NB}/" + "\x01" * 7000 + "x ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_longer_text_takes_no_longer_for_each_link(piece: str) -> None:
    """Of 10,000 links that are looked at in a file, each takes a bounded time, wherever it stands."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        began = time.thread_time()
        for count, _ in enumerate(FINDER.links("page", text, is_markup=True)):
            if count >= 2000:
                break
        return time.thread_time() - began

    short, long = (min(seconds(size) for _ in range(3)) for size in (100_000, 400_000))
    assert long < 10 * short + 0.05
