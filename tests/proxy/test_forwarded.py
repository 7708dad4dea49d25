"""Who a request comes from: only a trusted peer is believed, and only as far as it can know."""

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from tmppool.proxy.forwarded import Client, Habits, identify, networks
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
    "a visitor's long list before it": (["10.1.1.1," * 1000 + "203.0.113.7"], "203.0.113.7"),
    "more hops than are read": (["203.0.113.7", *["10.1.1.1, 10.1.1.2"] * 20], "10.1.1.1"),
    "IPv6": (["2001:db8::7"], "2001:db8::7"),
    "IPv6 through ours": (["2001:db8::7, fd00::1"], "2001:db8::7"),
    "a mapped address of ours": (["203.0.113.7, ::ffff:10.9.9.9"], "203.0.113.7"),
    "empty": ([""], PROXY),
    "None": (["None"], PROXY),
    "unknown": (["unknown"], PROXY),
    "no address behind ours": (["203.0.113.7, rubbish, 10.9.9.9"], "10.9.9.9"),
    "no address last": (["203.0.113.7, rubbish"], PROXY),
    "an empty last entry": (["203.0.113.7,"], PROXY),
    "with a port": (["203.0.113.7:4711"], "203.0.113.7"),
    "in brackets": (["[2001:db8::7]"], "2001:db8::7"),
    "in brackets, with a port": (["[2001:db8::5]:443"], "2001:db8::5"),
    "spelled at length": (["[2001:DB8:0:0::0005]:443"], "2001:db8::5"),
    "with ports, through ours": (["6.6.6.6:1, 203.0.113.7:4711, 10.9.9.9:80, [fd00::1]:81"], "203.0.113.7"),
    "hidden": (["203.0.113.7, _hidden, 10.9.9.9"], "10.9.9.9"),
    "half a bracket": (["[2001:db8::7"], PROXY),
    "a port too many": (["203.0.113.7:1:2"], PROXY),
    "a long port": (["203.0.113.7:123456"], PROXY),
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
    "said",
    ["", "\udcff", "h\u00e9.example", "a b", "<b>, b.example", ", b.example", "evil.example/x?", "x@y", "<b>", "h:x"],
)
def test_what_is_no_host_is_not_taken_for_one(said: str) -> None:
    assert client(PROXY, ("X-Forwarded-Host", said)).host == "nb.example"


FORWARDED = {
    "one hop": (["for=203.0.113.7"], "203.0.113.7"),
    "quoted, with a port": (['for="203.0.113.7:4711"'], "203.0.113.7"),
    "IPv6": (['For="[2001:db8::5]:443"'], "2001:db8::5"),
    "not quoted": (["for=[2001:db8::5]:443"], "2001:db8::5"),
    "through two of ours": (['for=6.6.6.6, for=203.0.113.7;proto=https, for="10.9.9.9:80"'], "203.0.113.7"),
    "in two fields": (["for=6.6.6.6, for=203.0.113.7", "for=10.9.9.9"], "203.0.113.7"),
    "with blanks": (["  for=6.6.6.6 ,\tfor=203.0.113.7 ; by=10.0.0.1  "], "203.0.113.7"),
    "hidden": (["for=203.0.113.7, for=_hidden"], PROXY),
    "hidden behind ours": (["for=203.0.113.7, for=_hidden, for=10.9.9.9"], "10.9.9.9"),
    "unknown": (["for=unknown"], PROXY),
    "a hidden port": (['for="203.0.113.7:_port"'], "203.0.113.7"),
    "escaped": (['for="203.0.113.\\7"'], "203.0.113.7"),
    "no address": (["proto=https;host=a"], PROXY),
    "no address in the last": (["for=203.0.113.7, proto=https"], PROXY),
    "an address twice": (["for=203.0.113.7;for=203.0.113.8"], PROXY),
    "an open quote": (['for="203.0.113.7'], PROXY),
    "an open quote of the visitor's": (['for="6.6.6.6, for=203.0.113.7'], PROXY),
    "an open quote of the visitor's, on a line of its own": (['for="6.6.6.6', "for=203.0.113.7"], "203.0.113.7"),
    "a comma in quotes": (['by="a, for=6.6.6.6";for=203.0.113.7'], "203.0.113.7"),
    "rubbish before it": (["<>;;x y, for=203.0.113.7"], "203.0.113.7"),
    "a visitor's long one before it": (["for=10.1.1.1," * 2000 + "for=203.0.113.7"], "203.0.113.7"),
    "a visitor's long quotes before it": (['a="' + "x, " * 3000 + '", for=203.0.113.7'], PROXY),
    "more hops than are read": (["for=203.0.113.7" + ", for=10.1.1.1" * 10, *["for=10.1.1.2"] * 20], "10.1.1.2"),
    "rubbish": (["\udcff=<>"], PROXY),
    "an empty last element": (["for=203.0.113.7,"], PROXY),
    "empty": ([""], PROXY),
}


@pytest.mark.parametrize(("values", "address"), FORWARDED.values(), ids=FORWARDED.keys())
def test_the_standard_field_is_read_as_the_others_are(values: list[str], address: str) -> None:
    said = [("Forwarded", value) for value in values]
    assert client(PROXY, *said).address == address
    assert client("203.0.113.9", *said) == Client("203.0.113.9", "http", "nb.example")


def test_where_two_fields_tell_of_different_addresses_one_is_believed() -> None:
    """A proxy sets one of them, and passes on the other as the visitor sent it: most set X-Forwarded-For."""
    true, forged = "203.0.113.7", "6.6.6.6"
    for x_field, field in ((true, forged), (true, "unknown"), ("unknown", forged), (true, '"')):
        said = [("X-Forwarded-For", x_field), ("Forwarded", f"for={field}")]
        assert client(PROXY, *said).address == (PROXY if x_field == "unknown" else true)
    assert client(PROXY, ("X-Forwarded-For", f"{forged}, {true}"), ("Forwarded", f'for="{true}:1"')).address == true
    assert client(PROXY, ("X-Forwarded-For", true), ("Forwarded", "proto=https")).address == true


X, STANDARD, BOTH, NEITHER = ("1.1.1.1", ""), ("", "2.2.2.2"), ("1.1.1.1", "2.2.2.2"), ("", "")


@pytest.mark.parametrize(
    ("earlier", "told", "chosen"),
    [
        pytest.param([], BOTH, "1.1.1.1", id="nothing is known yet"),
        pytest.param([NEITHER, BOTH, ("3.3.3.3", "3.3.3.3")], BOTH, "1.1.1.1", id="nothing was learnt"),
        pytest.param([X], BOTH, "1.1.1.1", id="it writes X-Forwarded-For"),
        pytest.param([STANDARD, BOTH], BOTH, "2.2.2.2", id="it writes Forwarded"),
        pytest.param([X, STANDARD], BOTH, "1.1.1.1", id="it lost X-Forwarded-For once"),
        pytest.param([STANDARD, X], BOTH, "1.1.1.1", id="it lost X-Forwarded-For first"),
        pytest.param([X], STANDARD, "", id="it loses X-Forwarded-For, and a visitor sent the other"),
        pytest.param([STANDARD], STANDARD, "2.2.2.2", id="only Forwarded"),
        pytest.param([STANDARD], X, "1.1.1.1", id="only X-Forwarded-For"),
    ],
)
def test_of_two_fields_the_one_counts_that_the_proxy_writes_itself(
    earlier: list[tuple[str, str]], told: tuple[str, str], chosen: str
) -> None:
    habits = Habits()
    for each in earlier:
        assert habits.choose("10.0.0.1", each) in ("", *each)
    assert habits.choose("10.0.0.1", told) == chosen
    assert habits.choose("10.0.0.2", BOTH) == "1.1.1.1"


CAME = {
    "the first proxy's word": ([("X-Forwarded-Proto", "https, http"), ("X-Forwarded-Host", "nb.org, inner:8000")], "https", "nb.org"),
    "in two lines": ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")], "https", "nb.example"),
    "at the client's place": (
        [("X-Forwarded-For", "6.6.6.6, 203.0.113.7"), ("X-Forwarded-Proto", "ftp, https"), ("X-Forwarded-Host", "evil.example, nb.org")],
        "https", "nb.org",
    ),
    "at the client's place, behind two": (
        [("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.9.9.9"), ("X-Forwarded-Proto", "http, https, http"), ("X-Forwarded-Host", "evil.example, nb.org, inner")],
        "https", "nb.org",
    ),
    "a WebSocket as Traefik says it": ([("X-Forwarded-Proto", "wss")], "https", "nb.example"),
    "a WebSocket without TLS": ([("X-Forwarded-Proto", "ws")], "http", "nb.example"),
    "a host with a port": ([("X-Forwarded-Host", "nb.org:8443")], "http", "nb.org:8443"),
    "the port apart": ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "8443")], "https", "nb.example:8443"),
    "ports": ([("X-Forwarded-Port", "8443, 80")], "http", "nb.example:8443"),
    "the port apart from an address": ([("X-Forwarded-Host", "[2001:db8::5]"), ("X-Forwarded-Port", "8443")], "http", "[2001:db8::5]:8443"),
    "the port twice": ([("X-Forwarded-Host", "nb.org:8443"), ("X-Forwarded-Port", "9000")], "http", "nb.org:8443"),
    "a default port": ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443")], "https", "nb.example"),
    "the port behind TLS": ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "80")], "https", "nb.example"),
    "no port": ([("X-Forwarded-Port", "x1")], "http", "nb.example"),
    "the standard field": ([("Forwarded", 'for=203.0.113.7;proto=HTTPS;host="nb.org:8443"')], "https", "nb.org:8443"),
    "the standard field of the first proxy": ([("Forwarded", "for=6.6.6.6;host=evil.example, for=203.0.113.7;proto=https;host=nb.org, for=10.9.9.9;proto=http;host=inner")], "https", "nb.org"),
    "the standard field without an address": ([("Forwarded", "proto=https;host=nb.org")], "https", "nb.org"),
    "the standard field and no host": ([("Forwarded", "proto=gopher;host=<b>")], "http", "nb.example"),
    "both": ([("Forwarded", "proto=http;host=other.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "nb.org")], "https", "nb.org"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "scheme", "host"), CAME.values(), ids=CAME.keys())
def test_how_a_visitor_came_is_what_the_first_proxy_saw(said: list[tuple[str, str]], scheme: str, host: str) -> None:
    found = client(PROXY, *said)
    assert (found.scheme, found.host) == (scheme, host)
    assert client("203.0.113.9", *said) == Client("203.0.113.9", "http", "nb.example")


def test_a_field_of_any_length_is_read_in_one_go() -> None:
    started = time.perf_counter()
    for text in (
        'for="' * 4000,
        " " * 16_000,
        ";" * 16_000,
        "a=" + "\\" * 16_000,
        'a="' + "\\" * 16_001,
        "for=1.1.1.1 " * 1000,
    ):
        assert client(PROXY, ("Forwarded", text)).scheme == "http"
    assert time.perf_counter() - started < 1


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
    assert client(PROXY, ("Forwarded", ", ".join(f'for="{entry}"' for entry in entries))).scheme == "http"
    ipaddress.ip_address(found.address)
    said = identity(found, b"t")
    assert all(0x20 <= byte < 0x7F for line in said.split(b"\r\n") for byte in line)
    assert b" " not in said.split(b"\r\n")[1].removeprefix(b"X-Forwarded-For: ")


def test_networks_are_read_with_and_without_host_bits() -> None:
    assert [str(network) for network in networks(["10.1.2.3/8", "fd00::1", "192.0.2.1"])] == [
        "10.0.0.0/8",
        "fd00::1/128",
        "192.0.2.1/32",
    ]


@pytest.mark.parametrize("word", ["127.0.0.1", "127.0.0.0/8", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1"])
def test_one_address_of_loopback_stands_for_all_of_it(word: str, peer: str) -> None:
    said = CIMultiDict({"X-Forwarded-For": "203.0.113.7"})
    for words in ([word], ["10.0.0.0/8", word]):
        assert identify(peer, said, networks(words)).address == "203.0.113.7"


def test_loopback_is_trusted_only_where_an_address_of_it_is_named() -> None:
    for words in ([], ["10.0.0.0/8"], ["::/0"]):
        assert identify("127.0.0.1", CIMultiDict({"X-Forwarded-For": "203.0.113.7"}), networks(words)).address == (
            "127.0.0.1"
        )


@pytest.mark.parametrize(
    ("word", "network"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:0:0/95", "::fffe:0:0/95"),
        ("::/0", "::/0"),
    ],
)
def test_a_mapped_network_is_the_ipv4_network_that_it_maps(word: str, network: str) -> None:
    assert [str(found) for found in networks([word])] == [network]
