"""Links as Binder, JupyterHub, Colab and their tools write them, by what they name."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy import target
from tmppool.web.peer_links import PeerLink, PeerLinkError, Repository, parse, repository_at, repository_of

REPO = Repository("gh/o/r", "main")


@pytest.mark.parametrize(
    ("spec", "name", "ref"),
    [
        ("gh/Org/Repo/main", "gh/org/repo", "main"),
        ("gh/org/repo.git/main", "gh/org/repo", "main"),
        ("gh/org%2Frepo/main", "gh/org/repo", "main"),
        ("gh/org/repo", "gh/org/repo", None),
        ("gh/org/repo/", "gh/org/repo", None),
        ("gh/org/repo/HEAD", "gh/org/repo", None),
        ("gh/org/repo/undefined", "gh/org/repo", None),  # MyST, where an author names none
        ("gh/org/repo/feature/one", "gh/org/repo", "feature/one"),  # thebe-core
        ("gh/org/repo/feature%2Fone", "gh/org/repo", "feature/one"),  # MyST's button
        ("gl/org%2Frepo/main", "gl/org/repo", "main"),
        ("gl/org/repo/main", "gl/org/repo", "main"),
        ("gl/group%2Fsub%2Frepo/main", "gl/group/sub/repo", "main"),
        ("git/https%3A%2F%2Fhost.example%2Fa%2Fb.git/main", "git/https://host.example/a/b", "main"),
        ("git/https%3A//host.example/a/b/main", "git/https://host.example/a/b", "main"),  # sphinx-book-theme
        ("git/https%3A%2F%2Fgithub.com%2FOrg%2FRepo.git/HEAD", "gh/org/repo", None),
        ("gist/someone/0123abcd/master", "gist/someone/0123abcd", "master"),
        ("zenodo/10.5281/zenodo.3242074/", "zenodo/10.5281/zenodo.3242074", None),
        ("figshare/10.6084/m9.figshare.9782777.v3", "figshare/10.6084/m9.figshare.9782777.v3", None),
    ],
)
def test_a_spec_names_one_repository(spec: str, name: str, ref: str | None) -> None:
    provider, _, rest = spec.partition("/")
    assert repository_of(provider, rest) == Repository(name, ref)
    link = parse(f"/v2/{spec}")
    assert link == PeerLink(Repository(name, ref))


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("", ""),
        ("?urlpath=lab", "lab"),
        ("?urlpath=lab%2Ftree%2Fdocs%2Fa.ipynb", "lab/tree/docs/a.ipynb"),
        ("?urlpath=tree/docs/a.ipynb", "tree/docs/a.ipynb"),  # sphinx-book-theme
        ("?urlpath=%2Flab%2Ftree%2F%2Fa.ipynb", "lab/tree/a.ipynb"),  # MyST
        (
            "?urlpath=lab/tree/notebooks/auto_examples/plot_a%20b.ipynb",
            "lab/tree/notebooks/auto_examples/plot_a%20b.ipynb",
        ),
        ("?filepath=notebooks/auto_examples/plot_a.ipynb", "tree/notebooks/auto_examples/plot_a.ipynb"),
        ("?filepath=%2Fdoc%2Fa.ipynb", "tree/doc/a.ipynb"),
        ("?labpath=a%20b.ipynb", "doc/tree/a%20b.ipynb"),
        ("?labpath=a.ipynb&filepath=b.ipynb&urlpath=c", "doc/tree/a.ipynb"),
        ("?filepath=b.ipynb&urlpath=c", "tree/b.ipynb"),
        ("?labpath=&urlpath=lab", "lab"),
        ("?urlpath=final.ipynb", "tree/final.ipynb"),
        ("?urlpath=rstudio", "rstudio"),
        ("?urlpath=shiny%2Fapp%2F%3Fa%3D1%26b%3D2", "shiny/app/?a=1&b=2"),
        ("?amp;urlpath=lab", "lab"),
        ("?x=1&amp;urlpath=lab", "lab"),
        ("?urlpath=lab/tree/caf%C3%A9.ipynb", "lab/tree/caf%C3%A9.ipynb"),
        ("?urlpath=lab/tree/100%25.ipynb", "lab/tree/100%25.ipynb"),
        ("?urlpath=lab/tree/a%2520b.ipynb", "lab/tree/a%20b.ipynb"),
        ("?urlpath=lab/tree/a%5Cb.ipynb", "lab/tree/a%5Cb.ipynb"),
    ],
)
def test_a_link_of_binders_opens_one_path(query: str, path: str) -> None:
    assert parse(f"/v2/gh/o/r/main{query}") == PeerLink(REPO, path)


@pytest.mark.parametrize(
    ("raw", "path", "fragment"),
    [
        ("/v2/gh/o/r/main?urlpath=lab/tree/a.ipynb%23Sec-1", "lab/tree/a.ipynb", "#Sec-1"),
        ("/v2/gh/o/r/main?urlpath=lab%3Freset%23a%20b%0d%25", "lab?reset", "#a%20b%0D%25"),
        ("/v2/gh/o/r/main?labpath=a.ipynb%23Sec%23x", "doc/tree/a.ipynb", "#Sec%23x"),
        ("/v2/gh/o/r/main?urlpath=a.ipynb%23Sec", "tree/a.ipynb", "#Sec"),
        ("/v2/gh/o/r/main?urlpath=lab/tree/a%2523b.ipynb%23", "lab/tree/a%23b.ipynb", ""),
        (
            "/v2/gh/o/r/main?urlpath=git-pull%3Frepo=https://github.com/p/q%26urlpath=lab/tree/q/a.ipynb%2523Sec",
            "lab/tree/a.ipynb",
            "#Sec",
        ),
        ("/hub/user-redirect/git-pull?repo=https://github.com/o/r&urlpath=lab/tree/r%23Sec", "lab/tree/", "#Sec"),
        ("/hub/login?next=/lab/tree/a.ipynb%23Sec", "lab/tree/a.ipynb", "#Sec"),
        ("/hub/login?next=/v2/gh/o/r/main%3Furlpath=lab/tree/a.ipynb%2523Sec", "lab/tree/a.ipynb", "#Sec"),
        ("/hub/user-redirect/lab/tree/a%23b.ipynb", "lab/tree/a%23b.ipynb", ""),
        ("/github/o/r/blob/main/a%23b.ipynb", "tree/a%23b.ipynb", ""),
        ("/repo/o/r/notebooks/a%23b.ipynb", "notebooks/a%23b.ipynb", ""),
        ("/github/o/r/blob/main/why%3F.ipynb", "tree/why%3F.ipynb", ""),
        ("/github/o/r/blob/main/a%2541.ipynb", "tree/a%2541.ipynb", ""),
        ("/repo/o/r/notebooks/why%3F.ipynb?a=1", "notebooks/why%3F.ipynb?a=1", ""),
    ],
)
def test_a_path_in_a_parameter_may_have_a_fragment(raw: str, path: str, fragment: str) -> None:
    link = parse(raw)
    assert link is not None
    assert (link.path, link.fragment) == (path, fragment)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/hub/user-redirect/lab/tree/a.ipynb", "lab/tree/a.ipynb"),
        ("/user-redirect/lab/tree/a%20b.ipynb?reset", "lab/tree/a%20b.ipynb?reset"),
        ("/hub/user-redirect/", ""),
        ("/hub/user-redirect", ""),
    ],
)
def test_a_link_of_jupyterhubs_opens_its_path(raw: str, path: str) -> None:
    assert parse(raw) == PeerLink(None, path)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("repo=https%3A%2F%2Fgithub.com%2Fo%2Fr&urlpath=lab%2Ftree%2Fr%2Fa.ipynb&branch=main", "lab/tree/a.ipynb"),
        ("repo=https://github.com/o/r&urlpath=tree/r/docs/a.ipynb&branch=main", "tree/docs/a.ipynb"),  # book theme
        ("repo=https://github.com/o/r.git&branch=main&urlPath=lab/tree/r/", "lab/tree/"),
        ("repo=https://www.github.com/O/R&branch=main&subPath=a.ipynb&app=lab", "lab/tree/a.ipynb"),
        ("repo=https://github.com/o/r&branch=main&subPath=a.ipynb", "tree/a.ipynb"),
        ("repo=https://github.com/o/r&branch=main&targetpath=x/y&urlpath=lab/tree/x/y/a.ipynb", "lab/tree/a.ipynb"),
        (
            "repo=https://github.com/o/r&branch=main&targetpath=my%20x&urlpath=lab/tree/my%2520x/a%2520b.ipynb",
            "lab/tree/a%20b.ipynb",
        ),
        ("repo=https://github.com/o/r&branch=main&subPath=r/a.ipynb", "tree/r/a.ipynb"),  # below a folder called r
        ("repo=https://github.com/o/r.git&branch=main&urlpath=tree/r.git/a.ipynb", "tree/a.ipynb"),
        ("account=o&repo=r&branch=main&path=a.ipynb", "tree/a.ipynb"),
        ("repo=https://github.com/o/r&branch=main&urlpath=/lab/tree//R?reset", "lab/tree/?reset"),
        ("repo=https://github.com/o/r&branch=main&urlpath=shiny/r/app/", "shiny/app/"),
        ("repo=https://github.com/o/r&branch=main&urlpath=lab/tree/docs/r/a.ipynb", "lab/tree/docs/r/a.ipynb"),
        ("repo=https://github.com/o/r&branch=main&urlpath=lab/tree/rest/a.ipynb", "lab/tree/rest/a.ipynb"),
        ("repo=https://github.com/o/r&branch=main&urlpath=rstudio/", "rstudio/"),
        ("repo=https://github.com/o/r&branch=main", ""),
    ],
)
def test_a_link_of_nbgitpullers_names_the_content_and_how_to_fetch_it(query: str, path: str) -> None:
    assert parse(f"/hub/user-redirect/git-pull?{query}") == PeerLink(REPO, path, REPO, f"git-pull?{query}")


@pytest.mark.parametrize(
    ("name", "urlpath", "path"),
    [
        ("lab", "lab", "lab"),
        ("lab", "lab/tree/lab/x.ipynb", "lab/tree/x.ipynb"),
        ("lab", "lab/workspaces/w/tree/lab/x.ipynb", "lab/workspaces/w/tree/x.ipynb"),
        ("doc", "doc/tree/doc/x.ipynb", "doc/tree/x.ipynb"),
        ("tree", "lab/tree/tree/tree/x.ipynb", "lab/tree/tree/x.ipynb"),
        ("notebooks", "notebooks/notebooks/x.ipynb", "notebooks/x.ipynb"),
    ],
)
def test_a_repository_may_be_called_as_a_page_is(name: str, urlpath: str, path: str) -> None:
    found = parse(f"/hub/user-redirect/git-pull?repo=https://github.com/o/{name}&urlpath={urlpath}")
    assert found is not None
    assert found.path == path


def test_an_environment_may_be_another_repository_than_the_content() -> None:
    raw = "/v2/gh/e/nv/main?urlpath=git-pull%3Frepo%3Dhttps%253A%252F%252Fgithub.com%252Fo%252Fr%26urlpath%3Dlab%252Ftree%252Fr%252Fa.ipynb%26branch%3Dmain"
    found = parse(raw)
    assert found is not None
    assert (found.repository, found.content, found.path) == (Repository("gh/e/nv", "main"), REPO, "lab/tree/a.ipynb")
    assert found.pull == "git-pull?repo=https%3A%2F%2Fgithub.com%2Fo%2Fr&urlpath=lab%2Ftree%2Fr%2Fa.ipynb&branch=main"


@pytest.mark.parametrize(
    ("raw", "link"),
    [
        ("/github/o/r/blob/main/docs/a.ipynb", PeerLink(REPO, "tree/docs/a.ipynb")),
        ("/github/o/r/tree/main/docs", PeerLink(REPO, "tree/docs")),
        ("/github/o/r", PeerLink(Repository("gh/o/r"))),
        ("/repo/o/r/notebooks/a.ipynb", PeerLink(Repository("gh/o/r"), "notebooks/a.ipynb")),
        ("/repo/o/r", PeerLink(Repository("gh/o/r"))),
        ("/services/binder/v2/gh/o/r/main?urlpath=lab", PeerLink(REPO, "lab")),
        ("/binder/repo/o/r/notebooks/a.ipynb", PeerLink(Repository("gh/o/r"), "notebooks/a.ipynb")),
        ("/hub/lti/launch?next=/lab", PeerLink(None, "lab")),
        ("/hub/lti/launches?next=/lab", None),
        ("/hub/spawn", PeerLink(None)),
        ("/hub/spawn/someone/named?next=x", PeerLink(None)),
        ("/hub/login?next=%2Fhub%2F", PeerLink(None)),
        ("/hub/login?next=/hub//login?next=/lab", PeerLink(None)),
        ("/hub/login?next=https://nb.example/lab", PeerLink(None)),
        ("/hub/login" + "?next=/user/x/hub/login" * 9 + "?next=/lab", PeerLink(None)),
        ("/lab/tree/a.ipynb", None),
        ("/", None),
    ],
)
def test_other_forms(raw: str, link: PeerLink | None) -> None:
    assert parse(raw) == link


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("/v2/bb/o/r/main", "'bb' is no provider"),
        ("/v2/", "the link names no repository"),
        ("/v2/gh/o", "no repository after gh/"),
        ("/v2/gh//", "no repository after gh/"),
        ("/v2/git/main", "no repository after git/"),
        ("/github/o", "no repository after gh/"),
        ("/v2/gh/o/r/main?urlpath=../../etc", "leads out of the notebook's home"),
        ("/v2/gh/o/r/main?filepath=a/%2e%2e/b.ipynb", "leads out of the notebook's home"),
        ("/v2/gh/o/r/main?urlpath=a%2500b", "can be read in two ways"),
        ("/hub/user-redirect/git-pull?branch=main", "names no repository"),
        ("/hub/user-redirect/git-pull?repo=https://[", "cannot be read"),
        ("/hub/user-redirect/git-pull?repo=https://a.example:x/o/r", "cannot be read"),
    ],
)
def test_what_names_nothing_is_said(raw: str, words: str) -> None:
    with pytest.raises(PeerLinkError, match=words.replace("(", ".")):
        parse(raw)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/O/R", "gh/o/r"),
        ("github.com/o/r", "gh/o/r"),
        ("git@github.com:o/r.git", "gh/o/r"),
        ("ssh://git@github.com/o/r.git", "gh/o/r"),
        ("git@host.example:group/r", "git/https://host.example/group/r"),
        ("https://gitlab.com/group/sub/r.git", "gl/group/sub/r"),
        ("https://gist.github.com/someone/0123", "gist/someone/0123"),
        ("https://git.example/a/b/", "git/https://git.example/a/b"),
        ("http://git.example/a/b", "git/https://git.example/a/b"),
        ("https://someone:secret@git.example:443/a/b", "git/https://git.example/a/b"),
        ("ssh://git@git.example:22/a/b.git", "git/https://git.example/a/b"),
        ("https://git.example:3000/a/b", "git/https://git.example:3000/a/b"),
        ("git.example:3000/a/b", "git/https://git.example:3000/a/b"),
        ("http://[2001:DB8::1]:3000/a/b", "git/https://[2001:db8::1]:3000/a/b"),
        ("http://[2001:db8::1]:80/a/b", "git/https://[2001:db8::1]/a/b"),
        ("https://github.com:443/o/r", "gh/o/r"),
        ("https://github.com:8443/o/r", "git/https://github.com:8443/o/r"),
    ],
)
def test_a_url_is_named_as_its_provider_would(url: str, name: str) -> None:
    assert repository_at(url) == Repository(name)


@pytest.mark.parametrize("url", ["http://git.example:3000/A/b.git", "git@git.example:a/b", "git.example/a/b"])
def test_binders_links_and_nbgitpullers_call_a_repository_alike(url: str) -> None:
    assert repository_of("git", f"{quote(url, safe='')}/main") == repository_at(url, "main")


@given(st.text(st.sampled_from("/v2ghlitrepo%?&=.:~ \\#ü\x00ab25F"), max_size=60))
def test_whatever_is_asked_leads_to_a_path_that_the_proxy_takes_or_is_refused(text: str) -> None:
    for form in ("/v2/gh/o/r/main?urlpath=", "/v2/", "/hub/user-redirect/", "/github/o/r/blob/", "/repo/o/r/"):
        try:
            link = parse(form + text)
        except PeerLinkError:
            continue
        assert link is not None
        assert link.path == "" or target.is_accepted(f"/{link.path}".encode())
