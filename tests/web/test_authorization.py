"""A token in ``Authorization`` is that token or none."""

import pytest

from tmppool.web.authorization import bearer_token, is_same, secrets_in

TOKEN = b"right-token"


@pytest.mark.parametrize("scheme", [b"token", b"Token", b"TOKEN", b"bearer", b"Bearer"])
def test_the_token_may_come_under_either_scheme(scheme: bytes) -> None:
    for field in (scheme + b" " + TOKEN, scheme + b"  " + TOKEN + b" "):
        assert bearer_token(field) == TOKEN


@pytest.mark.parametrize("field", [b"", b"token", TOKEN, b"Basic " + TOKEN, b"token\t" + TOKEN, b"tokens " + TOKEN])
def test_anything_else_says_none(field: bytes) -> None:
    assert bearer_token(field) == b""


@pytest.mark.parametrize(
    ("field", "secrets"),
    [
        (b"token x", [b"x"]),
        (b"Digest a=b", [b"a=b"]),
        (b"Basic YTpiOmM=", [b"a", b"b:c"]),
        (b"basic  YTpi ", [b"a", b"b"]),
        (b"Basic YQ==", [b"a", b""]),
        (b"Basic Y", []),
        (b"", [b""]),
        (
            b'Digest username="a", uri="/x?a=1&token=T%2B&b", nonce="n"',
            [b'username="a", uri="/x?a=1&token=T%2B&b", nonce="n"', b"T+"],
        ),
        (b'Digest uri="/x?token=T"', [b'uri="/x?token=T"', b"T"]),
    ],
)
def test_what_may_be_a_secret_is_found(field: bytes, secrets: list[bytes]) -> None:
    assert secrets_in(field) == secrets


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("", "a"), ("a", "aa"), ("?", "\udcff"), ("é", "e")])
def test_two_secrets_are_the_same_only_when_they_are(one: str, other: str) -> None:
    assert is_same(one, one)
    assert is_same(one.encode(errors="surrogateescape"), one)
    assert not is_same(one, other)
