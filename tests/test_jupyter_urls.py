"""What a path below a notebook means."""

import pytest

from tmppool import jupyter_urls

REQUESTS = {
    # What changes something
    ("POST", "api/sessions"): True,
    ("POST", "api/kernels"): True,
    ("POST", "api/kernels/1/interrupt"): True,
    ("POST", "api/kernels/1/restart"): True,
    ("DELETE", "api/kernels/1"): True,
    ("DELETE", "api/sessions/1"): True,
    ("PATCH", "api/sessions/1"): True,
    ("POST", "api/terminals"): True,
    ("DELETE", "api/terminals/1"): True,
    ("POST", "api/contents/"): True,
    ("POST", "api/contents/a"): True,
    ("DELETE", "api/contents/a.ipynb"): True,
    ("POST", "api/contents/a.ipynb/checkpoints"): True,
    ("PUT", "lab/api/settings/@jupyterlab/apputils-extension:themes"): True,
    ("POST", "git-pull/api"): True,
    # What looks, or what Jupyter's pages send by themselves
    ("GET", ""): False,
    ("GET", "lab"): False,
    ("HEAD", "api"): False,
    ("OPTIONS", "api/sessions"): False,
    ("GET", "api/kernels"): False,
    ("GET", "api/contents/a.ipynb"): False,
    ("GET", "api/events/subscribe"): False,
    ("PUT", "api/contents/a.ipynb"): False,
    ("PUT", "api/contents/deep/er/a%20b.ipynb"): False,
    ("PUT", "lab/api/workspaces/default"): False,
    ("POST", "lab/api/workspaces/default"): False,
    ("DELETE", "lab/api/workspaces/auto-1"): False,
    ("PUT", "lab/api/workspaces"): False,
    ("POST", "api/security/csp-report"): False,
    ("POST", "api/events"): False,
}


@pytest.mark.parametrize(("request_", "is_one"), REQUESTS.items(), ids=[" ".join(key) for key in REQUESTS])
def test_which_requests_of_a_program_are_work(request_: tuple[str, str], is_one: bool) -> None:  # noqa: FBT001
    assert jupyter_urls.is_work(*request_) is is_one


SOCKETS = {
    "api/kernels/1/channels": True,
    "terminals/websocket/1": True,
    "lsp/ws/pylsp": True,
    "proxy/8000/ws": True,
    "": True,
    "api/events/subscribe": False,
    "api/collaboration/room/x": False,
    "proxy/1/api/events/subscribe": True,
}


@pytest.mark.parametrize(("path", "carries"), SOCKETS.items(), ids=SOCKETS.keys())
def test_on_which_sockets_a_program_works(path: str, carries: bool) -> None:  # noqa: FBT001
    assert jupyter_urls.carries_work(path) is carries


DOCUMENTS = {
    "/notebooks/a.ipynb": "a.ipynb",
    "/notebooks/day%201/a.ipynb?x=1": "day 1/a.ipynb",
    "/tree/a.ipynb": "a.ipynb",
    "/edit/a.ipynb": "a.ipynb",
    "/doc/tree/a.ipynb": "a.ipynb",
    "/lab/tree/a.ipynb": "a.ipynb",
    "/lab/workspaces/auto-1/tree/a/b.ipynb": "a/b.ipynb",
    "/nbclassic/notebooks/a.ipynb": "a.ipynb",
    "/lab/tree/n%C3%A4her.ipynb": "näher.ipynb",
    "/lab/tree/a.md": None,
    "/lab/tree/": None,
    "/lab": None,
    "/tree": None,
    "/files/a.ipynb": None,
    "/notebooks/a.ipynb/": None,
    "/tree?x=/a.ipynb": None,
    "/": None,
}


@pytest.mark.parametrize(("target", "document"), DOCUMENTS.items(), ids=DOCUMENTS.keys())
def test_which_notebook_document_is_opened(target: str, document: str | None) -> None:
    assert jupyter_urls.document_of(target) == document


PAGES = {
    **dict.fromkeys(["lab", "lab/tree/a.ipynb", "doc/tree/a", "tree", "notebooks/a.ipynb", "edit/a.py"], True),
    **dict.fromkeys(["consoles/1", "terminals/1", "nbclassic/tree", "lab/"], True),
    **dict.fromkeys(["", "files/a.html", "api/contents", "labyrinth", "xlab", "git-pull", "static/lab/a.js"], False),
}


@pytest.mark.parametrize(("path", "is_one"), PAGES.items(), ids=PAGES.keys())
def test_which_paths_are_pages(path: str, is_one: bool) -> None:  # noqa: FBT001
    assert jupyter_urls.is_page(path) is is_one


OWN = {
    **dict.fromkeys(["api", "api/kernels", "lab", "files/a.html", "static/lab/a.js", "login", "lsp/ws/x"], True),
    **dict.fromkeys(
        ["", "proxy/8050/", "proxy/8050/api", "voila/render/a.ipynb", "rstudio/", "labs", "git/status"], False
    ),
}


@pytest.mark.parametrize(("path", "is_own"), OWN.items(), ids=OWN.keys())
def test_which_paths_are_jupyters(path: str, is_own: bool) -> None:  # noqa: FBT001
    assert jupyter_urls.is_own(path) is is_own


LINKS = {
    "lab": "/lab",
    "lab?reset": "/lab?reset",
    "files/a%20b.csv": "/files/a%20b.csv",
    "lab/workspaces/auto-1": "/lab",
    "lab/workspaces/auto-1?x=1": "/lab?x=1",
    "lab/workspaces/auto-1/tree/a.ipynb": "/lab/tree/a.ipynb",
    "tree/lab/workspaces/x": "/tree/lab/workspaces/x",
    "git-pull?repo=x": "/git-pull?repo=x",
    "": None,
    "api/kernels": None,
    "labyrinth": None,
    "/evil.example/lab": None,
}


@pytest.mark.parametrize(("path", "link"), LINKS.items(), ids=LINKS.keys())
def test_what_opens_the_same_in_another_notebook(path: str, link: str | None) -> None:
    assert jupyter_urls.deep_link(path) == link


def test_every_page_can_be_linked_to() -> None:
    assert all(jupyter_urls.deep_link(path) for path, is_one in PAGES.items() if is_one)


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("sw.js", False),
        ("lab/sw.js", False),
        ("files/a/sw.js", False),
        ("proxy/8080/sw.js", True),
        ("code-server/static/sw.js", True),
        ("", False),
    ],
)
def test_a_service_worker_rules_an_app_at_most(path: str, may: bool) -> None:  # noqa: FBT001
    assert jupyter_urls.may_hold_worker(path) is may


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lab/tree/a/b%20c.ipynb?x=1", ("lab/tree", "a/b%20c.ipynb?x=1")),
        ("lab/workspaces/auto-1/tree/a", ("lab/workspaces/auto-1/tree", "a")),
        ("doc/tree/a", ("doc/tree", "a")),
        ("notebooks/a.ipynb", ("notebooks", "a.ipynb")),
        ("nbclassic/notebooks/a", ("nbclassic/notebooks", "a")),
        ("tree", ("tree", "")),
        ("tree/", ("tree", "")),
        ("trees/a", None),
        ("lab", None),
        ("terminals/1", None),
        ("", None),
    ],
)
def test_a_page_on_a_file_is_split(path: str, expected: tuple[str, str] | None) -> None:
    assert jupyter_urls.split_page(path) == expected
