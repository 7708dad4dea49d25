"""Each request has one verdict: tables of requests, without a socket, a clock or a notebook that runs."""

import base64
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.notebooks import notebook_of
from tests.specs import spec_of
from tests.web.heads import HOST, visit
from tmppool.backends.fake import FakeBackend
from tmppool.notebook import Notebook, Reason, State
from tmppool.policy import Limits
from tmppool.pool import Pool
from tmppool.pools import Ended
from tmppool.proxy.faults import Fault
from tmppool.proxy.wire import BadMessageError
from tmppool.web import tokens
from tmppool.web.embedding import Embedding
from tmppool.web.judge import Rules, judge, judge_admin
from tmppool.web.kinds import Kind
from tmppool.web.lock import Lock
from tmppool.web.own_cookies import notebook_name, visitor_id
from tmppool.web.tokens import Role
from tmppool.web.verdict import Answer, Enter, HandOff, Pass, Redeem, Redirect, Serve, Unlock, Verdict
from tmppool.web.visit import PublicAddress

KEY, DEAD, NONE = "live" * 5, "dead" * 5, "none" * 5
OWNER = "o" * 22
"""The cookie of the visitor who owns the notebook of KEY."""


@dataclass
class Table:
    """One notebook of the default pool that lives, and one of another pool that has ended."""

    notebook: Notebook
    default: Pool = field(default_factory=lambda: Pool("main", FakeBackend(spec_of()), [], Limits(1, 1, 0, 0, 1)))

    def find(self, key: str) -> tuple[Pool, Notebook] | None:
        return (self.default, self.notebook) if key == self.notebook.key else None

    def ended(self, key: str) -> Ended | None:
        return Ended(Reason.IDLE, 0.0, "gpu") if key == DEAD else None

    def has(self, notebook_id: str) -> bool:
        return notebook_id == self.notebook.id


def live(*, visitor: str | None = visitor_id(OWNER), shared: str | None = "1") -> Notebook:
    made = notebook_of(KEY, token="jupyters", secret="outside")
    made.state, made.visitor, made.shared = State.ASSIGNED, visitor, shared
    return made


NOTEBOOK = live()
OWNS, SHARES = tokens.session_token(NOTEBOOK), tokens.share_token(NOTEBOOK)
COOKIE = {"Cookie": f"{notebook_name(KEY, is_secure=False)}={OWNS}"}
GUEST = {"Cookie": f"{notebook_name(KEY, is_secure=False)}={SHARES}"}
TOKEN = {"Authorization": f"token {OWNS}"}
VISITOR = {"Cookie": f"tmppool={OWNER}"}
BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}
ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
IN = f"/user/{KEY}"


def judged(
    method: str,
    target: str,
    fields: dict[str, str],
    rules: Rules | None = None,
    notebook: Notebook = NOTEBOOK,
    **names: Any,
) -> Verdict:
    made = visit(target, fields, method=method, public=PublicAddress(**names))
    return judge(made, Table(notebook), rules or Rules())


def kind(verdict: Verdict) -> Kind:
    assert isinstance(verdict, Answer), verdict
    return verdict.kind


# A notebook's address

REFUSED: dict[str, tuple[str, str, dict[str, str], Kind]] = {
    "no key": ("GET", "/user/short/x", {}, Kind.NOTHING),
    "one that ended": ("GET", f"/user/{DEAD}/lab", BROWSER, Kind.GONE),
    "one that never existed": ("GET", f"/user/{NONE}/lab", {}, Kind.UNKNOWN),
    "a WebSocket of one that ended": ("GET", f"/user/{DEAD}/api/kernels/1/channels", UPGRADE, Kind.GONE),
    "a program without a token": ("GET", f"{IN}/api", {}, Kind.FOREIGN),
    "a browser without a cookie": ("GET", f"{IN}/lab", BROWSER, Kind.FOREIGN),
    "a wrong token": ("GET", f"{IN}/lab?token=wrong", BROWSER, Kind.FOREIGN),
    "a form without a cookie": ("POST", f"{IN}/lab", BROWSER, Kind.FOREIGN),
    "the owner's TRACE": ("TRACE", f"{IN}/lab", COOKIE, Kind.METHOD),
    "the owner's browser at a page elsewhere": ("POST", f"{IN}/api/kernels", COOKIE | ELSEWHERE, Kind.CROSS_SITE),
    "a WebSocket of a page elsewhere": ("GET", f"{IN}/x", COOKIE | UPGRADE | ELSEWHERE, Kind.CROSS_SITE),
    "a form with the session token in its URL": ("POST", f"{IN}/myapp/page?token={OWNS}", BROWSER, Kind.EXPOSED),
    "a form of an old browser with it": ("POST", f"{IN}/x?token={OWNS}", {"Accept": "text/html", "Origin": "http://nb.example"}, Kind.EXPOSED),
    "a form with the share token in its URL": ("POST", f"{IN}/lab?token={SHARES}", COOKIE | BROWSER, Kind.EXPOSED),
    "a WebSocket without its Upgrade": ("GET", f"{IN}/x", COOKIE | {"Sec-WebSocket-Key": UPGRADE["Sec-WebSocket-Key"]}, Kind.NO_UPGRADE),
    "a WebSocket with another Upgrade": ("GET", f"{IN}/x", TOKEN | UPGRADE | {"Upgrade": "h2c"}, Kind.NO_UPGRADE),
    "a picture of a page elsewhere": ("GET", f"{IN}/x", COOKIE | {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, Kind.CROSS_SITE),
    "a prefetch of a shared link": ("GET", f"{IN}/lab?token={SHARES}", BROWSER | {"Sec-Purpose": "prefetch"}, Kind.PREFETCH),
    "a crawler at a shared link": ("GET", f"{IN}/lab?token={SHARES}", BROWSER | {"User-Agent": "Slackbot 1.0"}, Kind.PREFETCH),
}  # fmt: skip


@pytest.mark.parametrize(("method", "target", "fields", "wanted"), REFUSED.values(), ids=REFUSED.keys())
def test_who_may_not_use_a_notebook_is_answered(method: str, target: str, fields: dict[str, str], wanted: Kind) -> None:
    assert kind(judged(method, target, fields)) is wanted


PASSED: dict[str, tuple[str, str, dict[str, str], Role]] = {
    "the owner's page": ("GET", f"{IN}/lab", BROWSER | COOKIE, Role.OWNER),
    "the owner's program": ("PUT", f"{IN}/api/contents/a", TOKEN, Role.OWNER),
    "a program of another origin that says the token": ("POST", f"{IN}/api/kernels", TOKEN | ELSEWHERE, Role.OWNER),
    "the owner's WebSocket": ("GET", f"{IN}/api/kernels/1/channels", COOKIE | UPGRADE, Role.OWNER),
    "a guest": ("GET", f"{IN}/lab", BROWSER | GUEST, Role.GUEST),
    "the owner's page that a page elsewhere links to": ("GET", f"{IN}/lab", BROWSER | COOKIE | ELSEWHERE, Role.OWNER),
}


@pytest.mark.parametrize(("method", "target", "fields", "_role"), PASSED.values(), ids=PASSED.keys())
def test_who_may_use_a_paused_notebook_is_told_that_it_is_paused(
    method: str, target: str, fields: dict[str, str], _role: Role
) -> None:
    paused = live()
    paused.is_paused = True
    verdict = judged(method, target, fields, notebook=paused)
    assert kind(verdict) is Kind.PAUSED
    assert isinstance(verdict, Answer)
    assert verdict.facts["retry_after"] > 0


@pytest.mark.parametrize(("method", "target", "fields", "wanted"), REFUSED.values(), ids=REFUSED.keys())
def test_who_may_not_use_a_notebook_does_not_learn_that_it_is_paused(
    method: str, target: str, fields: dict[str, str], wanted: Kind
) -> None:
    paused = live()
    paused.is_paused = True
    assert kind(judged(method, target, fields, notebook=paused)) is wanted


@pytest.mark.parametrize(("method", "target", "fields", "role"), PASSED.values(), ids=PASSED.keys())
def test_who_may_passes_and_the_target_stays_as_it_is(
    method: str, target: str, fields: dict[str, str], role: Role
) -> None:
    verdict = judged(method, target, fields)
    assert isinstance(verdict, Pass)
    assert (verdict.held.role, verdict.target) == (role, target)
    assert verdict.path == target.removeprefix(f"{IN}/")


@pytest.mark.parametrize("path", ["sw.js", "lab/sw.js", "files/sw.js"])
def test_no_service_worker_rules_jupyters_pages(path: str) -> None:
    with pytest.raises(BadMessageError) as caught:
        judged("GET", f"{IN}/{path}", COOKIE | {"Service-Worker": "script"})
    assert caught.value.fault is Fault.SERVICE_WORKER
    assert isinstance(judged("GET", f"{IN}/proxy/8080/sw.js", COOKIE | {"Service-Worker": "script"}), Pass)


@pytest.mark.parametrize(
    ("target", "fields", "to"),
    [
        (f"{IN}/lab?token={OWNS}&x", BROWSER, f"{IN}/lab?x"),
        (f"/session/{KEY}?token={OWNS}&path=lab", BROWSER, f"/session/{KEY}?path=lab"),
        (f"/session/{KEY}?token={OWNS}", VISITOR | BROWSER, f"/session/{KEY}"),
    ],
    ids=[
        "another browser with the link of an owned notebook",
        "another browser at the owner's page",
        "the owner there",
    ],
)
def test_no_page_of_ours_is_shown_at_a_url_with_the_token(target: str, fields: dict[str, str], to: str) -> None:
    verdict = judged("GET", target, fields)
    assert isinstance(verdict, Redirect)
    assert verdict.location == to


def test_a_token_in_the_query_is_kept_from_the_notebook() -> None:
    verdict = judged("GET", f"{IN}/api?a=1&token={OWNS}", {})
    assert isinstance(verdict, Pass)
    assert (verdict.target, verdict.held.is_explicit) == (f"{IN}/api?a=1", True)


APP_TOKENS: dict[str, tuple[str, str]] = {
    "an app's": ("proxy/8050/?token=theirs&x=1", "proxy/8050/?token=theirs&x=1"),
    "an app's, and ours": (f"proxy/8050/?token=theirs&token={OWNS}", "proxy/8050/?token=theirs"),
    "ours behind many": ("voila/x?" + "token=a&" * 20 + f"token={OWNS}", "voila/x?" + "token=a&" * 19 + "token=a"),
    "ours in another spelling": (f"x?token=%{ord(OWNS[0]):02x}{OWNS[1:]}", "x"),
    "a guest's": (f"x?token={SHARES}&y", "x?y"),
    "a secret of the service": ("x?token=of-the-operator&y", "x?y"),
    "an empty one": ("x?token=", "x?token="),
    "a wrong one for Jupyter": ("lab?token=old&x", "lab?x"),
    "a wrong one for Jupyter's API": ("api/kernels?token=old", "api/kernels"),
}


@pytest.mark.parametrize(("path", "sent"), APP_TOKENS.values(), ids=APP_TOKENS.keys())
def test_of_tokens_in_the_query_only_ours_are_taken(path: str, sent: str) -> None:
    verdict = judged("GET", f"{IN}/{path}", COOKIE, Rules(secrets=("of-the-operator",)))
    assert isinstance(verdict, Pass)
    assert verdict.target == f"{IN}/{sent}"


@pytest.mark.parametrize("path", ["proxy/8050/?token=theirs", "lab?token=old", "files/a.html?token=a"])
def test_a_token_that_is_not_ours_redirects_nobody(path: str) -> None:
    assert isinstance(judged("GET", f"{IN}/{path}", BROWSER | COOKIE), Pass)


BASIC = "Basic " + base64.b64encode(b"student:secret").decode()
AUTHORIZATIONS: dict[str, tuple[str, str, bytes | None]] = {
    "of an app": ("proxy/8050/", BASIC, BASIC.encode()),
    "another token for an app": ("proxy/8050/", "Bearer theirs", b"Bearer theirs"),
    "a scheme of an app's own": ("voila/", "Digest username=x", b"Digest username=x"),
    "ours": ("proxy/8050/", f"Bearer {OWNS}", None),
    "ours as a password": ("proxy/8050/", "Basic " + base64.b64encode(f":{OWNS}".encode()).decode(), None),
    "ours as a user": ("proxy/8050/", "Basic " + base64.b64encode(f"{SHARES}:x".encode()).decode(), None),
    "ours without a scheme that we know": ("proxy/8050/", f"Key {OWNS}", None),
    "a secret of the service": ("proxy/8050/", "token of-the-operator", None),
    "of an app, that Connection names": ("proxy/8050/", f"{BASIC}\r\nConnection: Authorization", None),
    "of an app, for Jupyter": ("api/kernels", BASIC, None),
}


@pytest.mark.parametrize(("path", "said", "passed"), AUTHORIZATIONS.values(), ids=AUTHORIZATIONS.keys())
def test_an_apps_authorization_passes_and_ours_never(path: str, said: str, passed: bytes | None) -> None:
    fields = COOKIE | {"Authorization": said}
    verdict = judged("GET", f"{IN}/{path}", fields, Rules(secrets=("of-the-operator",)))
    assert isinstance(verdict, Pass)
    assert verdict.authorization == passed


JUPYTERS_OWN = ["api/items", "login", "static/a.js", "files/x", "view/z", "custom/y", "metrics", "lab", "tree"]


@pytest.mark.parametrize("path", JUPYTERS_OWN)
def test_all_paths_of_another_web_application_are_its_own(path: str) -> None:
    notebook = live()
    for notebook.jupyter.is_jupyter in (None, True, False):
        is_app = notebook.jupyter.is_jupyter is False
        target = f"{IN}/{path}?token=theirs&token={OWNS}&token=of-the-operator&x=1"
        rules = Rules(secrets=("of-the-operator",))
        verdict = judged("GET", target, COOKIE | {"Authorization": BASIC}, rules, notebook)
        assert isinstance(verdict, Pass)
        assert verdict.is_app is is_app
        assert verdict.target == f"{IN}/{path}?{'token=theirs&' if is_app else ''}x=1"
        assert verdict.authorization == (BASIC.encode() if is_app else None)
        ours = judged("GET", f"{IN}/{path}", COOKIE | {"Authorization": f"Bearer {OWNS}"}, rules, notebook)
        assert isinstance(ours, Pass)
        assert ours.authorization is None


def test_of_another_web_application_too_no_worker_rules_what_could_be_jupyters() -> None:
    """What a notebook is found to be after a restart is its own word, which a guest may have put into its mouth."""
    notebook = live()
    notebook.jupyter.is_jupyter = False
    for path in ("sw.js", "lab/sw.js", "static/sw.js"):
        with pytest.raises(BadMessageError):
            judged("GET", f"{IN}/{path}", COOKIE | {"Service-Worker": "script"}, notebook=notebook)


def test_a_broken_handshake_is_no_request() -> None:
    with pytest.raises(BadMessageError):
        judged("GET", f"{IN}/x", COOKIE | UPGRADE | {"Sec-WebSocket-Version": "8"})


def test_the_slash_behind_the_key_is_added() -> None:
    assert judged("GET", f"{IN}?x=1", COOKIE) == Redirect(f"{IN}/?x=1", 302)


ENTERED: dict[str, tuple[str, dict[str, str], str | None]] = {
    "the owner with a token in the address": (f"lab?x=1&token={OWNS}", COOKIE, OWNS),
    "the owner whose cookie for it was lost": ("lab?x=1", VISITOR, OWNS),
    "a guest who comes again": (f"lab?x=1&token={SHARES}", GUEST, SHARES),
    "a guest": (f"lab?x=1&token={SHARES}", {}, SHARES),
}


@pytest.mark.parametrize(("path", "fields", "token"), ENTERED.values(), ids=ENTERED.keys())
def test_a_browser_enters_and_the_token_leaves_the_address(
    path: str, fields: dict[str, str], token: str | None
) -> None:
    verdict = judged("GET", f"{IN}/{path}", BROWSER | fields)
    assert isinstance(verdict, Enter)
    assert (verdict.path, verdict.token) == ("lab?x=1", token)


def test_the_first_browser_with_the_session_token_is_asked_to_claim_a_notebook_without_an_owner() -> None:
    unowned, to = live(visitor=None), f"/session/{KEY}/claim?token={OWNS}&to=lab%3Fx%3D1"
    target = f"{IN}/lab?x=1&token={OWNS}"
    for fields in ({}, GUEST):
        assert judged("GET", target, BROWSER | fields, notebook=unowned) == Redirect(to)
    assert at(target, AT_HOME | BROWSER, notebook=unowned) == Redirect(f"http://{HOST}{to}")
    assert isinstance(judged("GET", to, BROWSER, notebook=unowned), Serve)
    assert isinstance(judged("POST", to, BROWSER, notebook=unowned), Serve)
    assert kind(judged("POST", to, BROWSER | ELSEWHERE, notebook=unowned)) is Kind.CROSS_SITE_OWN
    assert kind(judged("GET", to.replace(OWNS, str(SHARES)), BROWSER, notebook=unowned)) is Kind.NOT_OWNER
    assert kind(judged("GET", to.replace(OWNS, "x"), BROWSER, notebook=unowned)) is Kind.LINK_LOST


def test_a_refusal_offers_the_same_document_in_the_same_pool() -> None:
    gone = judged("GET", f"/user/{DEAD}/lab/tree/a%20b.ipynb?x=1&token=t", {})
    assert isinstance(gone, Answer)
    assert gone.facts["fresh_url"] == "/lab/tree/a%20b.ipynb?x=1&pool=gpu"
    assert (gone.facts["document"], gone.facts["reason"]) == ("a b.ipynb", "idle")
    foreign = judged("GET", f"{IN}/lab/tree/a.ipynb", {})
    assert isinstance(foreign, Answer)
    assert foreign.facts == {"fresh_url": "/lab/tree/a.ipynb", "document": "a.ipynb"}


# A host name for each notebook

AT_HOME = {"Host": f"{NOTEBOOK.id}.{HOST}"}
AWAY = {"Host": f"0123456789.{HOST}"}


def at(
    target: str,
    fields: dict[str, str],
    method: str = "GET",
    notebook: Notebook = NOTEBOOK,
    rules: Rules | None = None,
) -> Verdict:
    return judged(method, target, fields, rules, domain=HOST, notebook=notebook)


def test_a_notebook_is_at_its_own_host_alone() -> None:
    assert isinstance(at(f"{IN}/api", AT_HOME | TOKEN), Pass)
    assert kind(at(f"{IN}/api", TOKEN)) is Kind.WRONG_HOST
    assert kind(at(f"{IN}/api", AWAY | TOKEN)) is Kind.UNKNOWN
    assert kind(at(f"/user/{DEAD}/api", AT_HOME)) is Kind.NOTHING


def test_the_owner_is_sent_on_from_the_main_host_and_proves_it_by_a_ticket() -> None:
    assert at(f"{IN}/lab?x=1", BROWSER | VISITOR) == HandOff(NOTEBOOK, "lab?x=1")
    rules = Rules(is_ticket=lambda ticket, key: (ticket, key) in (("t", KEY), ("u", KEY)))
    handed = at(f"{IN}/lab?token=t&token=x&token=u", AT_HOME | BROWSER, rules=rules)
    assert isinstance(handed, Redeem)
    assert (handed.tickets, handed.entry.token, handed.entry.path) == (("t", "u"), OWNS, "lab?token=x")
    again = at(f"{IN}/lab?token=t", AT_HOME | BROWSER | COOKIE, rules=rules)
    assert isinstance(again, Enter)
    assert again.path == "lab"
    assert kind(at(f"{IN}/lab?token=x", AT_HOME | BROWSER, rules=rules)) is Kind.FOREIGN
    assert handed.refusal.facts["fresh_url"] == f"http://{HOST}/lab"
    assert kind(at(f"{IN}/lab", BROWSER)) is Kind.WRONG_HOST


AT_ITS_HOST: dict[str, tuple[str, str, dict[str, str], Kind | None]] = {
    "what it is": ("GET", f"/api/session/{KEY}", COOKIE, None),
    "use": ("POST", f"/api/session/{KEY}/touch", COOKIE, None),
    "an end": ("DELETE", f"/api/session/{KEY}", COOKIE, Kind.NOT_INSIDE),
    "an end by a guest": ("DELETE", f"/api/session/{KEY}", GUEST, Kind.NOT_OWNER),
    "an end by a guest's token and the owner's cookie": (
        "DELETE",
        f"/api/session/{KEY}?token={SHARES}",
        {"Cookie": f"{COOKIE['Cookie']}; {VISITOR['Cookie']}"},
        Kind.NOT_OWNER,
    ),
    "an end by a program": ("DELETE", f"/api/session/{KEY}", TOKEN, None),
    "sharing": ("POST", f"/api/session/{KEY}/share", COOKIE, Kind.NOT_INSIDE),
    "no more sharing": ("DELETE", f"/api/session/{KEY}/share", COOKIE, Kind.NOT_INSIDE),
    "the button that shares": ("POST", f"/session/{KEY}/share", COOKIE, Kind.NOT_INSIDE),
    "the button that ends": ("POST", f"/session/{KEY}/end", COOKIE, Kind.NOT_INSIDE),
    "the button that ends, by a token": ("POST", f"/session/{KEY}/end", TOKEN, Kind.NOT_INSIDE),
    "the button that claims": ("POST", f"/session/{KEY}/claim", TOKEN, Kind.NOT_INSIDE),
}


@pytest.mark.parametrize(("method", "target", "fields", "wanted"), AT_ITS_HOST.values(), ids=AT_ITS_HOST.keys())
def test_at_a_notebooks_host_no_cookie_makes_an_owner(
    method: str, target: str, fields: dict[str, str], wanted: Kind | None
) -> None:
    """What a guest left running there can send whatever the owner's page can."""
    verdict = at(target, AT_HOME | {"Sec-Fetch-Site": "same-origin"} | fields, method)
    assert isinstance(verdict, Serve) if wanted is None else kind(verdict) is wanted


@pytest.mark.parametrize("cookie", [VISITOR, COOKIE], ids=["the visitor's", "the notebook's"])
def test_at_the_main_host_the_owner_ends_and_shares(cookie: dict[str, str]) -> None:
    mine = cookie | {"Sec-Fetch-Site": "same-origin"}
    for method, path in (("GET", ""), ("POST", "/share"), ("POST", "/end")):
        assert isinstance(at(f"/session/{KEY}{path}", mine, method), Serve)
    assert isinstance(at(f"/api/session/{KEY}", mine, "DELETE"), Serve)
    for site in ("same-site", "cross-site"):
        assert kind(at(f"/session/{KEY}/share", cookie | {"Sec-Fetch-Site": site}, "POST")) is Kind.CROSS_SITE_OWN
    both = mine | {"Sec-Fetch-Site": "same-site"}
    assert kind(at(f"/session/{KEY}/end?token={SHARES}", both, "POST")) is Kind.NOT_OWNER
    assert at(f"/session/{KEY}?path=lab", AT_HOME | cookie) == Redirect(f"http://{HOST}/session/{KEY}?path=lab")


def test_at_a_notebooks_host_there_is_nothing_of_the_services_own() -> None:
    assert at("/lab?x=1", AT_HOME) == Redirect(f"http://{HOST}/lab?x=1")
    for target, method in (("/health", "GET"), ("/api/stats", "GET"), ("/spawn", "POST"), ("/l%61bs", "GET")):
        assert kind(at(target, AT_HOME, method)) is Kind.NOTHING
    assert at("/static/style.css", AT_HOME) == at("/robots.txt", AT_HOME) == Serve()
    assert kind(at("/labs", AWAY)) is Kind.UNKNOWN
    assert at("/hub/home", AWAY) == at("/hub/home", AT_HOME) == Redirect(f"http://{HOST}/hub/home")


# Our own addresses

LET_IN: dict[str, tuple[str, str, dict[str, str], Kind | None]] = {
    "a page": ("GET", "/", ELSEWHERE, None),
    "the form": ("POST", "/spawn", {}, None),
    "the form from elsewhere": ("POST", "/spawn", ELSEWHERE, Kind.CROSS_SITE_OWN),
    "a prefetched form": ("POST", "/spawn", {"Sec-Purpose": "prefetch"}, Kind.PREFETCH),
    "the API": ("POST", "/api/spawn", {}, None),
    "the API from elsewhere": ("POST", "/api/spawn", ELSEWHERE, Kind.CROSS_SITE_OWN),
    "a preflight": ("OPTIONS", "/api/spawn", ELSEWHERE, None),
    "a session that ended": ("GET", f"/api/session/{DEAD}", {}, Kind.GONE),
    "somebody else's session": ("GET", f"/api/session/{KEY}", {}, Kind.FOREIGN),
    "a guest's session": ("GET", f"/api/session/{KEY}", GUEST, None),
    "a guest who extends": ("POST", f"/api/session/{KEY}/extend", GUEST, None),
    "a guest who ends": ("DELETE", f"/api/session/{KEY}", GUEST, Kind.NOT_OWNER),
    "a guest who shares": ("POST", f"/api/session/{KEY}/share", GUEST, Kind.NOT_OWNER),
    "a guest at the owner's page": ("GET", f"/session/{KEY}", GUEST, Kind.NOT_OWNER),
    "a guest in another spelling": ("GET", f"/sess%69on/{KEY}", GUEST, Kind.NOT_OWNER),
    "the owner's page": ("GET", f"/session/{KEY}", COOKIE, None),
    "a session that ended, by TRACE": ("TRACE", f"/api/session/{DEAD}", {}, None),
    "the owner's button elsewhere": ("POST", f"/session/{KEY}/end", COOKIE | ELSEWHERE, Kind.CROSS_SITE_OWN),
    "the owner's program elsewhere": ("DELETE", f"/api/session/{KEY}", TOKEN | ELSEWHERE, None),
    "a page elsewhere that reads the owner's session": ("GET", f"/api/session/{KEY}", COOKIE | ELSEWHERE | {"Sec-Fetch-Mode": "cors"}, Kind.CROSS_SITE_OWN),
    "a page elsewhere that frames the owner's page": ("GET", f"/session/{KEY}", COOKIE | ELSEWHERE | BROWSER | {"Sec-Fetch-Dest": "iframe"}, Kind.CROSS_SITE_OWN),
    "a link elsewhere to the owner's page": ("GET", f"/session/{KEY}", COOKIE | ELSEWHERE | BROWSER, None),
    "the owner's program that reads elsewhere": ("GET", f"/api/session/{KEY}", TOKEN | ELSEWHERE | {"Sec-Fetch-Mode": "cors"}, None),
}  # fmt: skip


@pytest.mark.parametrize(("method", "target", "fields", "wanted"), LET_IN.values(), ids=LET_IN.keys())
def test_our_own_addresses_are_answered_or_refused(
    method: str, target: str, fields: dict[str, str], wanted: Kind | None
) -> None:
    verdict = judged(method, target, fields)
    if wanted is not None:
        assert kind(verdict) is wanted
    else:
        assert isinstance(verdict, Serve)
        assert (verdict.held is not None) is (KEY in target)


@pytest.mark.parametrize(
    "page", ["/Lab/tree", "/nowhere", "/hub/home", "/user/short/", "/users/x", "/session/x", "/robots.txt"]
)
def test_a_link_that_went_astray_shows_no_page_at_a_url_with_a_secret(page: str) -> None:
    for secret in (f"token={OWNS}", "code=monday", "x=1&code=monday&token=x"):
        bare = f"{page}?x=1" if "x=1" in secret else page
        assert judged("GET", f"{page}?{secret}", BROWSER) == Redirect(bare)
        assert not isinstance(judged("GET", bare, BROWSER), Redirect)


def test_a_friend_may_use_the_api_and_nothing_else() -> None:
    friend = {"Origin": "https://a.example", "Sec-Fetch-Site": "cross-site"}
    assert judged("POST", "/api/spawn", friend, embedding=Embedding(["https://a.example"])) == Serve()
    assert kind(judged("POST", "/spawn", friend, embedding=Embedding(["*"]))) is Kind.CROSS_SITE_OWN
    assert kind(judged("POST", f"{IN}/api/kernels", COOKIE | friend, embedding=Embedding(["*"]))) is Kind.CROSS_SITE


@pytest.mark.parametrize("target", ["/api/spawn", "/api/spawn/", "/%61pi/sp%61wn", "/api/spawn?token=right-token"])
def test_programs_need_the_api_token_in_every_spelling(target: str) -> None:
    rules = Rules(api_token="right-token")
    assert kind(judged("POST", target, {}, rules)) is Kind.TOKEN
    assert kind(judged("POST", target, {"Authorization": "token wrong"}, rules)) is Kind.TOKEN
    assert judged("POST", target, {"Authorization": "Bearer right-token"}, rules) == Serve()


# Behind the lock

LOCK = Lock("the-printed-secret", 8000)
LOCKED = Rules(lock=LOCK)
HERE = {"Host": "localhost:8000"}


def locked(method: str, target: str, fields: dict[str, str]) -> Verdict:
    return judged(method, target, HERE | fields, LOCKED)


ADDRESSES = [
    "/",
    "/lab",
    "/spawn",
    "/api/spawn",
    "/api/stats",
    "/stats",
    "/openapi.json",
    "/nowhere",
    "/health/",
    "/user",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_everything_is_locked_but_what_tells_nothing(address: str) -> None:
    for method in ("GET", "POST"):
        assert kind(locked(method, address, {})) is Kind.LOCKED
    for target in ("/health", "/robots.txt", "/static/style.css", "/he%61lth"):
        assert locked("GET", target, {}) == Serve()


def test_the_secret_unlocks_and_leaves_the_address() -> None:
    assert locked("GET", f"/lab?x=1&token={LOCK.secret}", {}) == Unlock("/lab?x=1")
    assert locked("GET", f"/api/stats?token={LOCK.secret}", {}) == Serve()
    assert locked("POST", f"/api/spawn?token={LOCK.secret}", {}) == Serve()
    assert locked("GET", "/", {"Authorization": f"token {LOCK.secret}"}) == Serve()
    assert locked("GET", "/", {"Cookie": f"{LOCK.cookie}=wrong; {LOCK.cookie}={LOCK.value}"}) == Serve()
    assert kind(locked("GET", "/", {"Cookie": f"tmppool-8001={LOCK.value}"})) is Kind.LOCKED


def test_a_foreign_name_that_leads_here_is_not_answered() -> None:
    for target in ("/", "/health", f"{IN}/lab", f"/session/{KEY}"):
        assert kind(locked("GET", target, {"Host": "evil.example"} | COOKIE)) is Kind.NOT_THIS_MACHINE
    assert locked("GET", "/static/style.css", {"Host": "evil.example"}) == Serve()


# The operator's listener

OPERATOR = {"Authorization": f"token {'t' * 16}"}


@pytest.mark.parametrize(
    ("local_ip", "fields", "wanted"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:10000"}, Kind.TOKEN),
        ("127.0.0.1", {"Host": "127.0.0.1:10000"} | OPERATOR, None),
        ("127.0.0.1", {"Host": "evil.example"} | OPERATOR, Kind.OPERATOR_HOST),
        ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": "cross-site"} | OPERATOR, Kind.OPERATOR_ORIGIN),
        (
            "127.0.0.1",
            {"Host": "localhost", "Sec-Fetch-Site": "same-origin", "Origin": "http://e"} | OPERATOR,
            Kind.OPERATOR_ORIGIN,
        ),
        (None, {"Host": "evil.example"}, Kind.TOKEN),
        (None, {"Host": "evil.example"} | OPERATOR, None),
        (None, OPERATOR | {"Origin": "https://e"}, Kind.OPERATOR_ORIGIN),
    ],
)
def test_the_operators_listener_is_the_operators(
    local_ip: str | None, fields: dict[str, str], wanted: Kind | None
) -> None:
    verdict = judge_admin(visit("/metrics", fields), "t" * 16, local_ip)
    assert verdict == Serve() if wanted is None else kind(verdict) is wanted
