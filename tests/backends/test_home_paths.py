"""Where links and variables of an image lead in a notebook."""

import pytest

from tmppool.backends.home_paths import Copies, Tree

COPY = "/home/notebook"
ROOT = Tree("/root", "/root")
DATA = Tree("/home/jovyan", "/data")  # a link
REPO = Tree("/srv/repo", "/srv/repo")
DEEP = Tree("/a/b/c", "/a/b/c")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/jovyan", COPY),
        ("/home/jovyan/x/y", f"{COPY}/x/y"),
        ("/home//jovyan/x", f"{COPY}/x"),
        ("//home/jovyan/x/", f"{COPY}/x"),
        ("/home/jovyan/../jovyan/./x", f"{COPY}/x"),
        ("/opt/../data/priv", f"{COPY}/priv"),
        ("/data", COPY),
        ("/data/../etc", None),
        ("/data2/x", None),
        ("/home", None),
        ("/", None),
        ("/srv/repo/out", f"{COPY}/out"),
        ("/srv", None),
        ("/talks/x", f"{COPY}/talks/x"),
        ("/data/talks/x", f"{COPY}/talks/x"),
    ],
)
def test_an_absolute_path_is_led_to_the_copy_by_whatever_name(path: str, expected: str | None) -> None:
    copies = Copies([(DATA, COPY), (REPO, COPY), (Tree("/talks", "/data/talks"), f"{COPY}/talks")])
    assert copies.moved(path) == expected


@pytest.mark.parametrize(
    ("tree", "name", "target", "expected"),
    [
        (ROOT, "data", "../opt/data", "/opt/data"),
        (ROOT, "data", "..", "/"),
        (ROOT, "a/b/data", "../../x", "../../x"),
        (ROOT, "a/b/data", "../../../x", "/x"),
        (ROOT, "a/data", "../../root/x", f"{COPY}/x"),
        (ROOT, "a/data", "./.././/x", "./.././/x"),
        (ROOT, "a/data", "b/../../..", "/"),
        (ROOT, "data", "/opt/../etc", "/opt/../etc"),
        (ROOT, "data", "/root//x", f"{COPY}/x"),
        (ROOT, "data", "a..b/...", "a..b/..."),
        (DATA, "data", "../opt", "/opt"),  # the link's own place is in the real directory
        (DATA, "data", "../data/x", f"{COPY}/x"),
        (DATA, "data", "../home/jovyan/x", f"{COPY}/x"),
        (DEEP, "data", "../../../srv/repo/x", f"{COPY}/x"),
        (REPO, "data", "../../a/b/c/x", f"{COPY}/x"),
        (REPO, "data", "../data", "/srv/data"),
    ],
)
def test_a_link_leads_where_it_leads_in_the_image(tree: Tree, name: str, target: str, expected: str) -> None:
    copies = Copies([(each, COPY) for each in (ROOT, DATA, DEEP, REPO)])
    assert copies.link(target, name, tree) == expected
