"""Who a request comes from: only a trusted peer is believed, and only as far as it can know."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from tmppool.proxy.forwarded import Client, identify, networks
from tmppool.proxy.headers import identity

TRUSTED = networks(["10.0.0.0/8", "192.0.2.1", "fd00::/8"])
PROXY = "10.0.0.1"


def client(peer: str, *pairs: tuple[str, str], scheme: str = "http") -> Client:
    return identify(peer, CIMultiDict([("Host", "nb.example"), *pairs]), TRUSTED, scheme)


ADDRESSES = {
    "nothing said": ([], PROXY),
    "one hop": (["203.0.113.7"], "203.0.113.7"),
    "spoofed by the visitor": (["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
    "through two of ours": (["6.6.6.6, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
    "in two fields": (["6.6.6.6, 203.0.113.7", "10.9.9.9"], "203.0.113.7"),
    "only ours": (["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    "spaces": (["  203.0.113.7  ,\t10.9.9.9 "], "203.0.113.7"),
    "IPv6": (["2001:db8::7"], "2001:db8::7"),
    "IPv6 through ours": (["2001:db8::7, fd00::1"], "2001:db8::7"),
    "a mapped address of ours": (["203.0.113.7, ::ffff:10.9.9.9"], "203.0.113.7"),
    "empty": ([""], PROXY),
    "None": (["None"], PROXY),
    "unknown": (["unknown"], PROXY),
    "no address behind ours": (["203.0.113.7, rubbish, 10.9.9.9"], "10.9.9.9"),
    "no address last": (["203.0.113.7, rubbish"], PROXY),
    "an empty last entry": (["203.0.113.7,"], PROXY),
    "with a port": (["203.0.113.7:4711"], PROXY),
    "in brackets": (["[2001:db8::7]"], PROXY),
    "leading zeros": (["203.0.113.007"], PROXY),
    "a network": (["203.0.113.0/24"], PROXY),
    "Arabic digits": (["\u0661.1.1.1"], PROXY),
    "a number": (["3405803783"], PROXY),
}


@pytest.mark.parametrize(("values", "address"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_the_client_is_the_last_address_that_is_not_ours(values: list[str], address: str) -> None:
    assert client(PROXY, *(("X-Forwarded-For", value) for value in values)).address == address


@pytest.mark.parametrize("peer", ["203.0.113.9", "11.0.0.1", "192.0.2.2", "2001:db8::1", "::ffff:203.0.113.9"])
def test_who_is_not_trusted_is_not_believed(peer: str) -> None:
    said = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("X-Scheme", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Real-IP", "6.6.6.6"),
    ]
    assert client(peer, *said) == Client(peer.removeprefix("::ffff:"), "http", "nb.example")


def test_nobody_is_trusted_unless_told() -> None:
    said = CIMultiDict({"X-Forwarded-For": "6.6.6.6", "Host": "h"})
    assert identify("127.0.0.1", said, ()) == Client("127.0.0.1", "http", "h")


@pytest.mark.parametrize("peer", [PROXY, "192.0.2.1", "fd00::5", "::ffff:10.0.0.1"])
def test_a_trusted_peer_is_believed_in_any_spelling(peer: str) -> None:
    found = client(
        peer, ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "www.example")
    )
    assert found == Client("203.0.113.7", "https", "www.example")


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ([("X-Forwarded-Proto", "https")], "https"),
        ([("X-Scheme", "https")], "https"),
        ([("X-Forwarded-Proto", "http"), ("X-Scheme", "https")], "http"),
        ([("X-Forwarded-Proto", "ftp")], "http"),
        ([("X-Forwarded-Proto", "https\tX: y")], "http"),
        ([], "http"),
    ],
)
def test_the_scheme_is_http_or_https_and_nothing_else(said: list[tuple[str, str]], scheme: str) -> None:
    assert client(PROXY, *said).scheme == scheme


@pytest.mark.parametrize(
    "said", ["", "\udcff", "h\u00e9.example", "a b", "a.example, b.example", "evil.example/x?", "x@y", "<b>", "h:x"]
)
def test_what_is_no_host_is_not_taken_for_one(said: str) -> None:
    assert client(PROXY, ("X-Forwarded-Host", said)).host == "nb.example"


def test_a_peer_that_is_no_address_is_kept_as_it_is() -> None:
    assert identify("", CIMultiDict(), TRUSTED) == Client("", "http", "")
    assert identify("unix", CIMultiDict({"X-Forwarded-For": "1.1.1.1"}), TRUSTED).address == "unix"


@given(
    st.lists(
        st.text(max_size=30)
        | st.sampled_from(["10.1.1.1", "203.0.113.7", "fe80::1%eth0", "fe80::1%\udcff", "fe80::1%a b"]),
        max_size=4,
    )
)
def test_whatever_is_said_the_address_is_one_and_can_be_passed_on(entries: list[str]) -> None:
    found = client(PROXY, ("X-Forwarded-For", ", ".join(entries)))
    ipaddress.ip_address(found.address)
    said = identity(found, b"t")
    assert all(0x20 <= byte < 0x7F for line in said.split(b"\r\n") for byte in line)
    assert b" " not in said.split(b"\r\n")[1].removeprefix(b"X-Forwarded-For: ")


def test_networks_are_read_with_and_without_host_bits() -> None:
    assert [str(network) for network in networks(["10.1.2.3/8", "::1", "192.0.2.1"])] == [
        "10.0.0.0/8",
        "::1/128",
        "192.0.2.1/32",
    ]
