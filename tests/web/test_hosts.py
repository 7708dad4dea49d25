"""Which host is a notebook's own."""

import pytest

from tmppool.web.hosts import host_of, label_of


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
