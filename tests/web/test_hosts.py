"""Which host is a notebook's own, and which is this machine's."""

import pytest

from tmppool.web.hosts import host_of, is_here, label_of


@pytest.mark.parametrize(
    ("host", "base", "label"),
    [
        ("abc.nb.example", "nb.example", "abc"),
        ("ABC.NB.Example", "nb.example", "abc"),
        ("abc.nb.example:8443", "nb.example", "abc"),
        ("a.b.nb.example", "nb.example", "a.b"),
        (".nb.example", "nb.example", ""),
        ("abc.nb.localhost:8000", "nb.localhost:8000", "abc"),
        ("abc.nb.localhost:8001", "nb.localhost:8000", None),
        ("abc.nb.localhost", "nb.localhost:8000", None),
        ("nb.example", "nb.example", None),
        ("xnb.example", "nb.example", None),
        ("abc.nb.example.evil", "nb.example", None),
        ("abc.nb.example.", "nb.example", None),
        ("[::1]:8000", "nb.example", None),
        ("", "nb.example", None),
    ],
)
def test_what_stands_before_the_domain_is_a_notebooks_id(host: str, base: str, label: str | None) -> None:
    assert label_of(host, base) == label


def test_a_host_that_is_made_is_read_again() -> None:
    assert label_of(host_of("0a1b2c3d4e", "nb.example:81"), "nb.example:81") == "0a1b2c3d4e"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        *((host, True) for host in ("localhost", "LOCALHOST:8000", "a.localhost", "a.b.LocalHost:1", "127.0.0.1", "127.9.8.7:65535", "[::1]", "[::1]:80", "[::ffff:127.0.0.1]:8000")),
        *((host, False) for host in ("", ":8000", "localhost.", "localhost:", "localhost:123456", "alocalhost", "localhost.example", "127.0.0.1.example", "127.1", "0.0.0.0", "[::]", "::1", "[::1", "[localhost]x", "192.0.2.1", "evil@localhost", "evil#localhost", "evil/.localhost/", "a b", "\xff")),
    ],
)  # fmt: skip
def test_what_names_this_machine(host: str, is_ours: bool) -> None:  # noqa: FBT001
    assert is_here(host) is is_ours


@pytest.mark.parametrize(("host", "ip", "is_ours"), [("192.0.2.1:80", "192.0.2.1", True), ("192.0.2.2", "192.0.2.1", False), ("[2001:DB8::1]", "2001:db8::1", True), ("", "", False)])  # fmt: skip
def test_the_address_that_is_listened_on_names_it_too(host: str, ip: str, is_ours: bool) -> None:  # noqa: FBT001
    assert is_here(host, ip) is is_ours
