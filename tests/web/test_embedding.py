"""One list of origins decides who may embed."""

import pytest

from tmppool.web.embedding import Embedding


@pytest.mark.parametrize(
    ("patterns", "origin", "expected"),
    [
        ((), "https://a.example", False),
        (("*",), "https://a.example", True),
        (("*",), "null", True),
        (("https://a.example",), "https://a.example", True),
        (("https://a.example",), "https://A.example:443", True),
        (("HTTPS://A.EXAMPLE",), "https://a.example", True),
        (("https://a.example",), "http://a.example", False),
        (("http://a.example",), "https://a.example", False),
        (("https://a.example",), "https://a.example:8443", False),
        (("https://a.example:8443",), "https://a.example:8443", True),
        (("https://a.example",), "https://b.a.example", False),
        (("https://a.example",), "https://a.example.evil.example", False),
        (("https://*.a.example",), "https://b.a.example", True),
        (("https://*.a.example",), "https://c.b.a.example", True),
        (("https://*.a.example",), "https://a.example", False),
        (("https://*.a.example",), "https://evila.example", False),
        (("https://*.a.example",), "http://b.a.example", False),
        (("https://*.a.example:8443",), "https://b.a.example:8443", True),
        (("https://a.example",), "null", False),
        (("https://a.example",), "https://a.example/", False),
        (("https://*.a.example",), "https://evil.example/.a.example", False),
        (("http://[::1]:8000",), "http://[::1]:8000", True),
    ],
)
def test_an_origin_is_allowed(patterns: tuple[str, ...], origin: str, expected: bool) -> None:  # noqa: FBT001
    assert Embedding(patterns).allows(origin) is expected


def test_frames_are_allowed_to_the_same_origins() -> None:
    assert Embedding().ancestors == "'self'"
    assert (
        Embedding(["https://a.example", "https://*.b.example"]).ancestors
        == "'self' https://a.example https://*.b.example"
    )
    assert Embedding(["*"]).ancestors == "'self' *"
    assert Embedding(["https://A.example"]).origins == ("https://a.example",)


def test_the_patterns_that_cover_a_host_are_known() -> None:
    listed = [
        "*",
        "https://*.uni.example",
        "http://*.nb.uni.example",
        "https://docs.uni.example",
        "https://*.example:1",
    ]
    assert Embedding(listed).covering("id.nb.uni.example") == listed[1:3]
    assert Embedding(listed).covering("id.nb.uni.example:1") == listed[4:]
