"""What a setting means to each module."""

import pytest

from tests.specs import spec_of
from tmppool import from_settings
from tmppool.backends import BACKENDS
from tmppool.backends.base import DEFAULT_COMMAND
from tmppool.config import PoolSettings, Settings, load
from tmppool.errors import ConfigError
from tmppool.policy import Limits


def test_the_limits_of_a_pool() -> None:
    given = {"pool_size": "30", "cull_timeout": "60", "cull_max": "0", "parallel_starts": "3", "open_timeout": "9"}
    wanted = load(given)

    assert from_settings.limits(wanted) == Limits(30, 30, 60.0, 0.0, parallel_starts=3, unopened=9.0)


@pytest.mark.parametrize(
    ("given", "kind", "most"),
    [
        ({}, "docker", None),
        ({}, "process", 0),
        ({"starts_per_hour": "0"}, "docker", 0),
        ({"starts_per_hour": "0", "notebooks_per_address": "2"}, "docker", 2),
        ({"notebooks_per_address": "2"}, "process", 2),
        ({"notebooks_per_address": "0"}, "docker", 0),
    ],
)
def test_an_address_is_limited_unless_it_says_nothing_about_a_visitor(
    given: dict[str, str], kind: str, most: int | None
) -> None:
    assert from_settings.notebooks_per_address(load(given), BACKENDS[kind]) == most


@pytest.mark.parametrize(("warm", "target"), [("1", 1), ("4", 4), ("99", 10)])
def test_no_more_are_warm_than_there_is_room_for(warm: str, target: int) -> None:
    assert from_settings.limits(load({"warm": warm})).warm == target


def test_the_spec_of_a_pool() -> None:
    wanted = load({"image": "x", "mem_limit": "2g", "cpu_quota": "50000", "home_size": "1m", "network": "bridge"})
    spec = from_settings.spec("service", "pool", wanted)

    assert spec == spec_of(
        "service", "pool", image="x", command=DEFAULT_COMMAND, network="bridge",
        memory=2 << 30, cpu_quota=50_000, home_size=1 << 20,
    )  # fmt: skip


def test_the_default_pool_comes_first() -> None:
    settings = Settings(pools={"other": PoolSettings(pool_size=2)})

    assert list(from_settings.wanted_pools(settings)) == ["tmppool", "other"]


@pytest.mark.parametrize("kind", ["docker", "fake"])
@pytest.mark.parametrize("ip", [None, "0.0.0.0", "127.0.0.1"])
def test_with_isolation_any_address_may_be_listened_on(kind: str, ip: str | None) -> None:
    assert from_settings.public_ip(Settings(ip=ip), BACKENDS[kind]) == ip


@pytest.mark.parametrize(("ip", "used"), [(None, "127.0.0.1"), ("::1", "::1"), ("localhost", "localhost")])
def test_without_isolation_only_loopback(ip: str | None, used: str) -> None:
    assert from_settings.public_ip(Settings(ip=ip), BACKENDS["process"]) == used


def test_without_isolation_no_public_address() -> None:
    with pytest.raises(ConfigError, match=r"^--ip: '192.0.2.1' is not allowed"):
        from_settings.public_ip(Settings(ip="192.0.2.1"), BACKENDS["process"])


@pytest.mark.parametrize(
    ("chosen", "kind", "becomes"),
    [
        (None, "docker", "keep"), (None, "fake", "keep"), (None, "process", "stop"),
        ("keep", "process", "keep"), ("stop", "process", "stop"), ("stop", "docker", "stop"), ("keep", "docker", "keep"),
    ],
)  # fmt: skip
def test_processes_end_with_the_service_unless_somebody_says_otherwise(
    chosen: str | None, kind: str, becomes: str
) -> None:
    assert from_settings.on_exit(Settings(on_exit=chosen), BACKENDS[kind]) == becomes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "kind", "ip", "url"),
    [
        ({}, "docker", None, "http://127.0.0.1:8000"),
        ({}, "process", "127.0.0.1", "http://127.0.0.1:8000"),
        ({"ip": "::1", "port": 81}, "process", "::1", "http://[::1]:81"),
        ({"public_url": "https://nb.example"}, "docker", None, "https://nb.example"),
        ({"domain_per_notebook": "nb.example"}, "docker", None, "http://127.0.0.1:8000"),
        ({"domain_per_notebook": "nb.localhost:8000"}, "process", "127.0.0.1", "http://nb.localhost:8000"),
    ],
)
def test_the_url_of_the_launch_pages(settings: dict[str, object], kind: str, ip: str | None, url: str) -> None:
    assert from_settings.url(Settings(**settings), BACKENDS[kind], ip) == url  # type: ignore[arg-type]


PUBLIC = ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "host.example", "localhost.example", "127.0.0.1.example", "127.1", "", "1", "fe80::1%lo"]  # fmt: skip


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "0:0::1", "::ffff:127.0.0.1", "localhost", "LocalHost"])  # fmt: skip
def test_on_loopback_the_admin_listener_needs_no_token(ip: str) -> None:
    from_settings.check_admin(Settings(admin_ip=ip))
    assert from_settings.public_ip(Settings(ip=ip), BACKENDS["process"]) == ip


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_admin_listener_needs_a_token(ip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^--admin-ip: .* is not allowed without a token: set ADMIN_AUTH_TOKEN"):
        from_settings.check_admin(Settings(admin_ip=ip))
    with pytest.raises(ConfigError, match=r"^--ip: "):
        from_settings.public_ip(Settings(ip=ip), BACKENDS["process"])
    monkeypatch.setenv("ADMIN_AUTH_TOKEN", "x" * 16)
    from_settings.check_admin(Settings(admin_ip=ip))


def test_a_public_admin_listener_needs_a_token_that_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_AUTH_TOKEN", "hunter2-hunter2")
    with pytest.raises(ConfigError, match=r"^ADMIN_AUTH_TOKEN: it has fewer than 16 characters") as caught:
        from_settings.check_admin(Settings(admin_ip="0.0.0.0"))
    assert "hunter2" not in str(caught.value)
    from_settings.check_admin(Settings(admin_ip="127.0.0.1"))


@pytest.mark.parametrize(
    ("given", "boundless"),
    [
        ("", []),
        ("127.0.0.1,10.0.0.0/8,172.16.0.0/12,fc00::/7,::1", []),
        ("0.0.0.0/0", ["0.0.0.0/0"]),
        ("::/0", ["::/0"]),
        ("10.0.0.1,::/0,0.0.0.0/0", ["0.0.0.0/0", "::/0"]),
        ("0.0.0.0/1,128.0.0.0/1", ["0.0.0.0/0"]),
        ("1.2.3.4/0", ["0.0.0.0/0"]),
        ("2000::/3", ["2000::/3"]),
        ("128.0.0.0/2", ["128.0.0.0/2"]),
    ],
)
def test_proxies_that_may_be_anybody_are_known(given: str, boundless: list[str]) -> None:
    assert list(from_settings.boundless_proxies(load({"trusted_proxies": given}))) == boundless


@pytest.mark.parametrize("path", ["/", "/lab", "/lab?reset", "/lab/tree/a%20b%5Cc%23.ipynb?x=%", "/tree/caf%C3%A9/"])
def test_a_landing_that_a_browser_can_ask_for_is_taken(path: str) -> None:
    from_settings.check_landings(Settings(redirect_uri=path, pools={"r": PoolSettings(redirect_uri=path)}))


@pytest.mark.parametrize(
    ("path", "example"),
    [
        ("/lab/tree/a b.ipynb", "as in /lab/tree/a%20b.ipynb"),
        ("/lab/tree/100%.ipynb", "as in /lab/tree/100%25.ipynb"),
        ("/lab/tree/caf\xe9.ipynb", "as in /lab/tree/caf%C3%A9.ipynb"),
        ("/lab#cell-id=1", "without #"),
        ("/lab/../tree", "without . or .. as a segment"),
        ("/lab%2f..%5Ctree", "without . or .. as a segment"),
        ("/\\evil.example", "percent-encoded"),
        ("/a\\b", "percent-encoded"),
        ("/%00", "percent-encoded"),
        ("/lab\r\nSet-Cookie: a=b", "percent-encoded"),
        ("/lab?\udcff", "percent-encoded"),
        ("/" + "x" * 9000, "percent-encoded"),
    ],
)
def test_a_landing_that_would_be_refused_is_refused_at_the_start(path: str, example: str) -> None:
    with pytest.raises(ConfigError, match=r"^--redirect-uri: .* is not allowed: it must be a path") as caught:
        from_settings.check_landings(Settings(redirect_uri=path))
    assert example in str(caught.value)
    with pytest.raises(ConfigError, match=r"^redirect_uri of pool r: "):
        from_settings.check_landings(Settings(pools={"r": PoolSettings(redirect_uri=path)}))


@pytest.mark.parametrize(
    ("path", "example"), [("/spawn/lab", "/lab"), ("/spawn", "/lab"), ("/spawn/", "/lab"), ("/spawn?x", "/?x")]
)
def test_a_launch_link_is_no_landing(path: str, example: str) -> None:
    with pytest.raises(ConfigError, match=r"^--redirect-uri: .* is not allowed: /spawn is the service's own") as caught:
        from_settings.check_landings(Settings(redirect_uri=path))
    assert str(caught.value).endswith(f" as in {example}")
    from_settings.check_landings(Settings(redirect_uri="/spawner/lab"))


@pytest.mark.parametrize("path", [None, "", "healthz", "up/now?deep=http://x", "a%20b"])
def test_a_path_to_knock_at_is_taken(path: str | None) -> None:
    from_settings.check_knock("the label", path)


@pytest.mark.parametrize(
    "path",
    ["../x", "a/%2e%2e/x", "http://localhost:8888/x", "a b", "a#b", "caf\xe9", "100%", "{base_path}/x\n", "x" * 9000],
)
def test_a_path_that_cannot_be_knocked_at_is_refused_at_the_start(path: str) -> None:
    with pytest.raises(ConfigError, match=r"^the label: .* is not allowed: it must be a path below the base path"):
        from_settings.check_knock("the label", path)


def test_the_headers_of_the_api() -> None:
    given = {
        "allow_origin": "*",
        "allow_credentials": "true",
        "allow_methods": "GET",
        "allow_headers": "a",
        "expose_headers": "b",
        "max_age": "9",
    }

    assert from_settings.cors(load(given)) == {
        "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "a",
        "Access-Control-Expose-Headers": "b", "Access-Control-Max-Age": "9",
    }  # fmt: skip
    assert from_settings.cors(Settings()) == {}


@pytest.mark.parametrize(("ip", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_an_address_in_a_url(ip: str, shown: str) -> None:
    assert from_settings.bracketed(ip) == shown


def pools(**ranges: tuple[str, int]) -> Settings:
    """Settings with these ranges of user numbers and sizes; the pool ``main`` is the default one."""
    more = {name: PoolSettings(container_uids=uids, pool_size=size) for name, (uids, size) in ranges.items()}
    first = more.pop("main")
    return Settings(pool_name="main", container_uids=first.container_uids, pool_size=first.pool_size, pools=more)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(Settings(), id="the default"),
        pytest.param(pools(main=("5-14", 10)), id="just enough"),
        pytest.param(pools(main=("5-14", 5), other=("5-14", 5)), id="shared, just enough"),
        pytest.param(pools(main=("5-14", 10), other=("15-24", 10)), id="side by side"),
        pytest.param(Settings(container_uids="5-5", container_user="1000:100"), id="one user for all"),
        pytest.param(pools(main=("2147483638-2147483647", 10)), id="the last ones"),
    ],
)
def test_ranges_of_user_numbers_that_suffice(settings: Settings) -> None:
    from_settings.check_uids(settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param(
            pools(main=("5-13", 10)),
            "--container-uids: '5-13' is not allowed: it has 9 UIDs for the 10 notebooks of the pools that share it",
            id="too few",
        ),
        pytest.param(
            pools(main=("5-14", 6), other=("5-14", 5)),
            "--container-uids: '5-14' is not allowed: it has 10 UIDs for the 11 notebooks of the pools that share it",
            id="too few for two",
        ),
        pytest.param(
            pools(main=("5-99", 6), other=("99-103", 5)),
            "container_uids of pool other: '99-103' is not allowed: it has 5 UIDs for the 11 notebooks of the pools"
            " that share it",
            id="what another pool may take away",
        ),
    ],
)
def test_ranges_of_user_numbers_that_do_not_suffice_are_told_in_one_sentence(settings: Settings, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_settings.check_uids(settings)
    assert str(caught.value) == sentence
