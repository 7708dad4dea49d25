"""What is wrong with a link, by what the service has told."""

from typing import Any

import pytest

from tmppool.check_links.judge import Answer, Facts, Judge, Subject, question
from tmppool.check_links.text import Link, Use
from tmppool.image_documents import Document

NB = "https://nb.example"
KNOWN = tuple(Document(path) for path in ("intro.ipynb", "my file.ipynb", "d/größe.ipynb", "notes.md"))
FACTS = Facts({"tmppool": KNOWN, "r": (Document("r.ipynb"),), "open": None}, sites={"https://docs.example": True})


def link(target: str, **more: Any) -> Link:
    return Link("page", 1, 1, NB + target, NB, target, **more)


def judged(target: str, facts: Facts = FACTS, **more: Any) -> list[tuple[str, str]]:
    return [(found.subject, found.message) for found in Judge({NB: facts}).judge(link(target, **more))]


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/spawn",
        "/lab",
        "/?pool=r",
        "/notebooks/intro.ipynb",
        "/spawn/notebooks/intro.ipynb?x=1",
        "/lab/tree/my%20file.ipynb",
        "/lab/workspaces/auto-7/tree/intro.ipynb",
        "/doc/tree/d/gr%C3%B6%C3%9Fe.ipynb",
        "/doc/tree/d%2Fgr%C3%B6%C3%9Fe.ipynb",
        "/nbclassic/notebooks/intro.ipynb",
        "/lab/intro.ipynb?x=1",
        "/spawn/doc/intro.ipynb",
        "/edit/notes.md",
        "/files/notes.md",
        "/notebooks/r.ipynb?pool=r",
        "/lab/tree/folder",
        "/files/data.csv",
        "/lab/tree/.hidden/a.ipynb",
        "/spawn/dashboard?tool=1&spool=2&mode=3",
        "/lab?reset&code=monday",
        "/lab?a=1&amp;pool=r&amp;code=x",
        "/lab?pool=r&pools=3",
    ],
)
def test_what_the_service_opens_is_fine(target: str) -> None:
    assert judged(target) == []


@pytest.mark.parametrize(
    ("target", "subject", "words"),
    [
        ("/notebooks/intr.ipynb", "document", "there is no document 'intr.ipynb'; did you mean 'intro.ipynb'?"),
        ("/lab/tree/Intro.ipynb", "document", "did you mean 'intro.ipynb'?"),
        ("/edit/note.md", "document", "did you mean 'notes.md'?"),
        ("/lab/d/intro.ipynb?x=1", "document", "there is no document 'd/intro.ipynb'; did you mean 'intro.ipynb'?"),
        ("/files/zzz.qmd", "document", "there is no document 'zzz.qmd'"),
        (
            "/notebooks/intro.ipynb?pool=r",
            "document",
            "the pool 'r' has no document 'intro.ipynb', but the pool 'tmppool' has it",
        ),
        ("/notebooks/r.ipynb", "document", "there is no document 'r.ipynb', but the pool 'r' has it"),
        ("/lab?pool=tmpool", "pool", "the service has no pool 'tmpool'; did you mean 'tmppool'?"),
        ("/lab?pool=", "pool", "the service has no pool ''"),
        ("/notebooks/zzz.ipynb/", "document", "there is no document 'zzz.ipynb'"),
        ("/notebooks//zzz.ipynb", "document", "there is no document 'zzz.ipynb'"),
        ("/not%65books/zzz.ipynb", "document", "there is no document 'zzz.ipynb'"),
        ("/notebooks/%0Azzz.ipynb", "document", r"there is no document '\nzzz.ipynb'"),
        ("//notebooks/100%.ipynb", "document", "there is no document '100%.ipynb'"),
        ("/lab?spool=r", "parameter", "did you mean 'pool'?"),
        ("/spawn/lab?poool=r", "parameter", "did you mean 'pool'?"),
        ("/lab?poool=r", "parameter", "the parameter 'poool' has no effect; did you mean 'pool'?"),
        ("/lab?Pool=r", "parameter", "did you mean 'pool'?"),
        ("/git-pull?repo=x&amp;branch=a", "parameter", "gets 'amp;branch' for 'branch': write & for &amp; here"),
        ("/git-pull?repo=x&branchh=a", "parameter", "did you mean 'branch'?"),
        ("/user/AAAAAAAAAAAAAAAAAAAAAA/lab/tree/a.ipynb?x", "address", "one visitor's notebook"),
        ("/user/AAAAAAAAAAAAAAAAAAAAAA", "address", "use /"),
        ("/session/AAAAAAAAAAAAAAAAAAAAAA/share", "address", "one visitor's notebook"),
        ("/lab" + "x" * 8000, "address", "the link is longer than 8000 bytes"),
    ],
)
def test_what_is_wrong_is_said(target: str, subject: str, words: str) -> None:
    found = judged(target)
    assert [each for each, _ in found] == [subject], found
    assert words in found[0][1]


def test_a_link_with_a_password_is_wrong_beside_all_else() -> None:
    found = judged("/notebooks/intr.ipynb", has_user=True)
    assert [subject for subject, _ in found] == ["address", "document"]
    assert "name or password" in found[0][1]


def test_a_link_without_its_scheme_is_wrong() -> None:
    ((subject, message),) = judged("/lab", has_scheme=False)
    assert (subject, "does not begin with https://" in message) == ("address", True)


def test_a_query_behind_the_fragment_is_wrong() -> None:
    ((subject, message),) = judged("/lab", fragment="cell-id=1?pool=r")
    assert (subject, "behind #" in message) == ("parameter", True)
    assert judged("/lab", fragment="cell-id=1") == []


# Where only the service knows


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/lab/tree/a.ipynb", None),
        ("/", None),
        ("/user/k/lab", None),
        ("/v2/gh/o/r/main?urlpath=lab", "/v2/gh/o/r/main?urlpath=lab"),
        ("/build/gh/o/r/main", "/v2/gh/o/r/main"),  # a look that starts nothing
        ("/services/binder/build/gh/o/r/main", "/v2/gh/o/r/main"),
        ("/binder/v2/gh/o/r/main", "/v2/gh/o/r/main"),
        ("/binder/", None),
        ("/binder/nowhere", "/binder/nowhere"),
        ("/hub/user-redirect/lab", "/hub/user-redirect/lab"),
        ("/notebook/a.ipynb", "/notebook/a.ipynb"),
        ("/badge.svg", "/badge.svg"),
        ("//lab", None),  # to which a browser is redirected
        ("/lab/100%.ipynb", None),
        ("/lab/%00", "/lab/%00"),
        ("/v2/" + "x" * 8000, None),
    ],
)
def test_the_service_is_asked_for_what_it_alone_knows(target: str, asked: str | None) -> None:
    assert question(link(target)) == asked


def test_a_link_that_is_not_whole_is_not_asked_for() -> None:
    assert question(link("/v2/gh/", is_made=True)) is None
    assert question(link("/v2/gh/o/r", has_scheme=False)) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(303, "/lab/tree/intro.ipynb"), []),
        (Answer(303, "/doc/tree/x.ipynb?pool=r"), [("document", "the pool 'r' has no document 'x.ipynb'")]),
        (Answer(303, "/git-pull?repo=x&urlpath=lab/tree/x.ipynb"), []),
        (Answer(303, "https://evil.example/lab/tree/x.ipynb"), []),
        (Answer(200), []),
        (Answer(405, message="This URL does not accept this kind of request."), []),
        (Answer(404, message="This service has no …"), [("address", "the service says: This service has no …")]),
        (Answer(400), [("address", "the service says: 400")]),
        (Answer(503, message="later"), [("unjudged", "the service answered 503")]),
        (Answer(429), [("unjudged", "the service answered 429")]),
    ],
)
def test_the_services_answer_is_judged(answer: Answer, expected: list[tuple[str, str]]) -> None:
    target = "/v2/gh/o/r/main"
    assert judged(target, Facts(FACTS.documents, {target: answer})) == expected


def test_what_the_service_was_not_asked_for_is_not_judged() -> None:
    assert [subject for subject, _ in judged("/v2/gh/o/r/main")] == [Subject.UNJUDGED]


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("/v2/gh/o/r/main?url_path=lab", ["url_path"]),
        ("/v2/gh/o/r/main?urlPath=lab&labPath=x", ["urlPath", "labPath"]),
        ("/v2/gh/o/r/main?amp;urlpath=lab", []),  # which the service reads
        ("/v2/gh/o/r/main?urlpath=lab&pool=r", ["pool"]),
        ("/build/gh/o/r/main?pool=r", ["pool"]),
        ("/services/binder/v2/gh/o/r/main?url_path=lab&pool=r", ["url_path", "pool"]),
        ("/github/o/r/blob/main/a.ipynb?pool=r", ["pool"]),
        ("/hub/user-redirect/lab?poool=r", ["poool"]),
        ("/hub/user-redirect/lab?pool=r", []),
        ("/repo/o/r/a.ipynb?pool=r", ["pool"]),
        ("/hub/user-redirect/git-pull?repo=x&pool=r", ["pool"]),
        ("/user-redirect/interact?account=o&repo=r&pool=r", ["pool"]),
        ("/hub/user-redirect/git-pull?repo=x&urlPath=y&targetpth=z", ["targetpth"]),
        ("/oembed?urll=x&format=json", []),
    ],
)
def test_parameters_of_links_of_others(target: str, names: list[str]) -> None:
    asked = question(link(target))
    assert asked is not None
    found = judged(target, Facts(FACTS.documents, {asked: Answer(303, "/lab")}))
    assert [message.split("'")[1] for _, message in found] == names


# What cannot be judged, and what may not be embedded


def test_a_pool_whose_documents_are_not_known_is_not_judged() -> None:
    assert [subject for subject, _ in judged("/notebooks/a.ipynb?pool=open")] == [Subject.UNJUDGED]
    assert judged("/lab?pool=open") == []


def test_a_link_that_a_template_makes_is_not_judged() -> None:
    ((subject, message),) = judged("/notebooks/", is_made=True)
    assert (subject, "template" in message) == (Subject.UNJUDGED, True)


@pytest.mark.parametrize("use", [Use.FRAME, Use.SCRIPT])
def test_pages_of_unlisted_sites_may_not_embed(use: Use) -> None:
    sites = {"https://docs.example": True, "https://other.example": False}
    ((subject, message),) = judged("/lab", Facts(FACTS.documents, sites=sites), use=use)
    assert (subject, "https://other.example" in message) == ("embedding", True)
    assert judged("/lab", Facts(FACTS.documents, sites=sites)) == []


def test_what_a_template_makes_is_not_embedded_either() -> None:
    facts = Facts(FACTS.documents, sites={"https://other.example": False})
    assert [subject for subject, _ in judged("/lab", facts, use=Use.FRAME, is_made=True)] == ["embedding", "unjudged"]


def test_without_a_site_embedding_is_not_judged() -> None:
    ((subject, message),) = judged("/lab", Facts(FACTS.documents), use=Use.FRAME)
    assert (subject, "--site" in message) == (Subject.UNJUDGED, True)


@pytest.mark.parametrize(
    ("service", "site", "is_refused"),
    [
        ("http://nb.example", "https://docs.example", True),
        ("http://nb.example", "http://docs.example", False),
        ("http://127.0.0.1:8000", "https://docs.example", False),
        ("http://localhost:8000", "https://docs.example", False),
    ],
)
def test_a_page_by_https_embeds_nothing_by_http(service: str, site: str, is_refused: bool) -> None:  # noqa: FBT001
    embedded = Link("page", 1, 1, f"{service}/lab", service, "/lab", use=Use.FRAME)
    found = list(Judge({service: Facts(FACTS.documents, sites={site: True})}).judge(embedded))
    assert bool(found) is is_refused


def test_a_service_for_programs_has_no_launch_pages() -> None:
    ((subject, message),) = judged("/lab", Facts(FACTS.documents, has_pages=False))
    assert (subject, "API_AUTH_TOKEN" in message) == ("address", True)


def test_near_names_are_looked_for_a_bounded_number_of_times() -> None:
    judge = Judge({NB: FACTS})
    found = [next(judge.judge(link(f"/notebooks/intro{number}.ipynb"))) for number in range(600)]
    assert found[0].near == ("intro.ipynb",)
    assert found[-1].near == ()
    assert next(judge.judge(link("/notebooks/intro0.ipynb"))).near == ("intro.ipynb",)
