"""What is added to a page's own policy, and what is not."""

import pytest

from tmppool.proxy.page_policy import admit, is_out_of_reach, without_ancestors

HOST, PATH = b"nb.example", b"/api/session/k"
SESSION = "nb.example/api/session/k nb.example/api/session/k/"

POLICIES = {
    "frame-ancestors 'self'; report-uri /x": "frame-ancestors 'self'; report-uri /x",
    "default-src 'self'": f"default-src 'self'; script-src-elem 'self' nb.example/static/; connect-src 'self' {SESSION}",
    "default-src 'none'": f"default-src 'none'; script-src-elem nb.example/static/; connect-src {SESSION}",
    "script-src 'self' 'unsafe-inline'": "script-src 'self' 'unsafe-inline'; "
    "script-src-elem 'self' 'unsafe-inline' nb.example/static/",
    "SCRIPT-SRC-ELEM 'NONE'; connect-src https:": f"script-src-elem nb.example/static/; connect-src https: {SESSION}",
    "script-src 'nonce-YWJj' 'strict-dynamic'": "script-src 'nonce-YWJj' 'strict-dynamic'",
    "script-src a; script-src b": "script-src a; script-src-elem a nb.example/static/",
    "  ;; img-src * ;": "img-src *",
    "": None,
}


@pytest.mark.parametrize(("policy", "admitted"), POLICIES.items(), ids=POLICIES.keys())
def test_what_is_added_to_a_policy(policy: str, admitted: str | None) -> None:
    found, _nonce = admit([policy.encode()], HOST, PATH)
    assert found == ([] if admitted is None else [admitted.encode()])


def test_the_pages_own_nonce_is_used() -> None:
    assert admit([b"script-src 'nonce-YWJj=='"], HOST, PATH)[1] == b"YWJj=="
    assert admit([b"script-src 'self'"], HOST, PATH)[1] == b""
    assert admit([b"script-src 'nonce-a\"><b>'"], HOST, PATH)[1] == b""


def test_a_policy_that_trusts_no_host_gets_a_nonce_of_ours_that_nobody_guesses() -> None:
    (policy,), nonce = admit([b"script-src 'sha256-abc=' 'strict-dynamic'"], HOST, PATH)
    assert len(nonce) >= 20
    assert policy.endswith(b"script-src-elem 'sha256-abc=' 'strict-dynamic' 'nonce-%b'" % nonce)
    assert admit([b"script-src 'strict-dynamic'"], HOST, PATH)[1] != nonce


def test_each_of_several_policies_admits_the_same_scripts() -> None:
    found, nonce = admit([b"script-src 'nonce-YWJj', script-src 'self'", b"default-src 'nonce-ZGVm'"], HOST, PATH)
    assert nonce == b"YWJj"
    assert found[0] == b"script-src 'nonce-YWJj'"
    assert found[1].endswith(b"script-src-elem 'self' nb.example/static/")
    assert b"script-src-elem 'nonce-ZGVm' 'nonce-YWJj'" in found[2]


@pytest.mark.parametrize("host", [b"", b"a b", b"a;b", b"evil/<b>", b"[::1]:8000"])
def test_a_name_that_a_policy_cannot_hold_is_not_added(host: bytes) -> None:
    assert admit([b"default-src 'self'"], host, PATH) == ([b"default-src 'self'"], b"")


@pytest.mark.parametrize(
    ("policy", "is_one"),
    [
        (b"sandbox", True),
        (b"default-src *; sandbox allow-scripts", True),
        (b"sandbox allow-same-origin", True),
        (b"sandbox allow-scripts allow-same-origin", False),
        (b"frame-ancestors 'self', SANDBOX allow-forms", True),
        (b"default-src 'none'", False),
        (b"", False),
        (b"a" + b",a" * 15, False),
        (b"a" + b",a" * 16, True),
        (b"script-src" + b" a" * 511, False),
        (b"script-src" + b" a" * 512, True),
        (b"a;" * 512, True),
        (b"default-src " + b"x" * (16 << 10), True),
    ],
)
def test_which_policies_put_a_page_where_it_reaches_nothing(policy: bytes, is_one: bool) -> None:  # noqa: FBT001
    assert is_out_of_reach([policy]) is is_one


def test_what_a_policy_says_of_frames_is_taken_out_of_it_and_nothing_else() -> None:
    assert without_ancestors([b"a b;FRAME-ancestors x , frame-ancestors y", b"c"]) == [b"a b", b"c"]
    for untouched in ([b" a;  b "], [b"frame-ancestors x; a " + b"x" * (16 << 10)], []):
        assert without_ancestors(untouched) == untouched
