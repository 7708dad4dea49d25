"""Every setting by flag, environment and file; every bad value in one sentence."""

import json
import os
from pathlib import Path

import pytest

from tmppool.__main__ import parse_options
from tmppool.config import RETIRED, Settings, load
from tmppool.errors import ConfigError
from tmppool.pool_settings import DEFAULT_IMAGE, PoolSettings, parse_size

SECRETS = {"api_auth_token", "admin_auth_token"}

# name: (as text, as the setting)
SAMPLES: dict[str, tuple[str, object]] = {
    "image": ("jupyter/minimal-notebook", "jupyter/minimal-notebook"),
    "command": ("jupyter lab {base_path}", "jupyter lab {base_path}"),
    "pool_size": ("7", 7),
    "warm": ("3", 3),
    "cull_timeout": ("600", 600.0),
    "cull_max": ("0", 0.0),
    "open_timeout": ("60", 60.0),
    "mem_limit": ("512m", 512 << 20),
    "cpu_quota": ("50000", 50_000),
    "cpu_shares": ("128", 128),
    "pids_limit": ("100", 100),
    "home_size": ("1g", 1 << 30),
    "tmp_size": ("64k", 64 << 10),
    "network": ("bridge", "bridge"),
    "nofile_limit": ("1024", 1024),
    "memlock_limit": ("1m", 1 << 20),
    "sigpending_limit": ("128", 128),
    "home_inodes": ("1000", 1000),
    "tmp_inodes": ("1000", 1000),
    "shm_size": ("1m", 1 << 20),
    "log_size": ("64k", 64 << 10),
    "oom_score": ("900", 900),
    "seccomp": ("engine", "engine"),
    "runtime": ("runsc", "runsc"),
    "container_uids": ("5000-5999", "5000-5999"),
    "container_user": ("jovyan", "jovyan"),
    "container_port": ("9999", 9999),
    "host_directories": ("/data:/data:ro, /talks:/talks", ("/data:/data:ro", "/talks:/talks")),
    "extra_hosts": ("db:10.0.0.5", ("db:10.0.0.5",)),
    "redirect_uri": ("/lab", "/lab"),
    "start_timeout": ("12.5", 12.5),
    "parallel_starts": ("5", 5),
    "backend": ("process", "process"),
    "ip": ("::1", "::1"),
    "port": ("8001", 8001),
    "admin_ip": ("::1", "::1"),
    "admin_port": ("10001", 10_001),
    "public_url": ("https://try.example.org/", "https://try.example.org"),
    "trusted_proxies": ("10.0.0.0/8,192.168.1.1", ("10.0.0.0/8", "192.168.1.1")),
    "domain_per_notebook": ("nb.example:8443", "nb.example:8443"),
    "workshop_code": ("monday", "monday"),
    "starts_per_hour": ("5", 5),
    "notebooks_per_address": ("3", 3),
    "connections_per_address": ("10", 10),
    "upload_limit": ("10m", 10 << 20),
    "embed_origins": ("https://docs.example, https://*.edu.example", ("https://docs.example", "https://*.edu.example")),
    "unknown_repositories": ("refuse", "refuse"),
    "accept_risk": ("neighbour, gateway", ("neighbour", "gateway")),
    "pool_name": ("workshop-1", "workshop-1"),
    "cull_period": ("2.5", 2.5),
    "user_length": ("32", 32),
    "on_exit": ("stop", "stop"),
    "allow_root": ("true", True),
    "state_dir": ("/var/lib/tmppool", Path("/var/lib/tmppool")),
    "allow_origin": ("*", "*"),
    "allow_credentials": ("true", "true"),
    "allow_methods": ("GET, POST", "GET, POST"),
    "allow_headers": ("X-A", "X-A"),
    "expose_headers": ("X-B", "X-B"),
    "max_age": ("60", 60),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TMPPOOL_") or name.endswith("_AUTH_TOKEN") or name == "DOCKER_NOTEBOOK_IMAGE":
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "tmppool.toml"


def from_flags(*words: str) -> Settings:
    return load(parse_options(list(words)))


@pytest.mark.parametrize(
    "host", ["a.b:99999", "a.b:0", "-", "a-", "*.1.2.3", "*.1.2.3:80", "*.0x1", "*", "a.b/", "a:b"]
)
def test_an_origin_that_no_page_has_prevents_the_start(host: str) -> None:
    with pytest.raises(ConfigError, match=r"it must be \*, or origins as https://docs.example"):
        from_flags(f"--embed-origins=https://{host}")


@pytest.mark.parametrize("host", ["a.b:65535", "1.2.3.4", "*.a_b.example:1", "x", "[::1]:80"])
def test_an_origin_that_a_page_may_have_is_taken(host: str) -> None:
    assert from_flags(f"--embed-origins=https://{host}").embed_origins == (f"https://{host}",)


def from_file(path: Path, text: str, *words: str) -> Settings:
    path.write_text(text)
    return from_flags(f"--config={path}", *words)


def test_the_samples_name_every_setting() -> None:
    assert set(Settings.model_fields) == set(SAMPLES) | SECRETS | {"pools", "repositories", "config"}


def test_every_sample_differs_from_the_default() -> None:
    defaults = load({})
    assert [name for name, (_, value) in SAMPLES.items() if getattr(defaults, name) == value] == []


@pytest.mark.parametrize(
    ("words", "is_allowed"),
    [
        ([], False),
        (["--allow-root"], True),
        (["--allow_root"], True),
        (["--allow-root", "--port=8001"], True),
        (["--allow-root=true"], True),
        (["--allow-root=1"], True),
        (["--allow-root=false"], False),
    ],
)
def test_a_switch_needs_no_value(words: list[str], is_allowed: bool) -> None:  # noqa: FBT001
    assert from_flags(*words).allow_root is is_allowed


@pytest.mark.parametrize(("text", "is_allowed"), [("1", True), ("true", True), ("0", False), ("no", False)])
def test_a_switch_by_variable(text: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    monkeypatch.setenv("TMPPOOL_ALLOW_ROOT", text)
    assert from_flags().allow_root is is_allowed


def test_a_switch_by_file(toml: Path) -> None:
    assert from_file(toml, "allow-root = true").allow_root
    assert not from_file(toml, "allow-root = true", "--allow-root=no").allow_root


# The three ways


@pytest.mark.parametrize("name", SAMPLES)
def test_a_setting_by_flag(name: str) -> None:
    text, value = SAMPLES[name]
    assert getattr(from_flags(f"--{name.replace('_', '-')}={text}"), name) == value


@pytest.mark.parametrize("name", SAMPLES)
def test_a_setting_by_flag_as_tmpnb_wrote_it(name: str) -> None:
    text, value = SAMPLES[name]
    assert getattr(from_flags(f"--{name}={text}"), name) == value


@pytest.mark.parametrize("name", SAMPLES)
def test_a_setting_by_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = SAMPLES[name]
    monkeypatch.setenv(f"TMPPOOL_{name.upper()}", text)
    assert getattr(from_flags(), name) == value


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("sign", ["-", "_"])
def test_a_setting_by_file(name: str, sign: str, toml: Path) -> None:
    text, value = SAMPLES[name]
    assert getattr(from_file(toml, f"{name.replace('_', sign)} = '{text}'"), name) == value


def test_numbers_and_lists_may_be_written_as_such_in_the_file(toml: Path) -> None:
    found = from_file(toml, "port = 8001\ncull-timeout = 60\nmem-limit = 1048576\ntrusted-proxies = ['10.0.0.0/8']")
    assert (found.port, found.cull_timeout, found.mem_limit) == (8001, 60.0, 1 << 20)
    assert found.trusted_proxies == ("10.0.0.0/8",)


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(f"{name} = 1001" for name in ("port", "admin-port", "container-port"))
    monkeypatch.setenv("TMPPOOL_PORT", "1002")
    monkeypatch.setenv("TMPPOOL_ADMIN_PORT", "1002")
    found = from_file(toml, text, "--port=1003")
    assert (found.port, found.admin_port, found.container_port, found.pool_size) == (1003, 1002, 1001, 10)


@pytest.mark.parametrize(
    ("environment", "words", "image"),
    [
        ({}, [], DEFAULT_IMAGE),
        ({"DOCKER_NOTEBOOK_IMAGE": "a"}, [], "a"),
        ({"DOCKER_NOTEBOOK_IMAGE": "a", "TMPPOOL_IMAGE": "b"}, [], "b"),
        ({"DOCKER_NOTEBOOK_IMAGE": "a", "TMPPOOL_IMAGE": "b"}, ["--image=c"], "c"),
        pytest.param({"IMAGE": "another programs'"}, [], DEFAULT_IMAGE, id="a variable of others"),
    ],
)
def test_the_image_may_come_from_the_variable_that_jupyter_uses(
    environment: dict[str, str], words: list[str], image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert from_flags(*words).image == image


@pytest.mark.parametrize("variable", ["TMPPOOL_IMAGE", "DOCKER_NOTEBOOK_IMAGE"])
def test_an_image_variable_beats_the_file(variable: str, toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "from-the-variable")
    assert from_file(toml, "image = 'from-the-file'").image == "from-the-variable"


def test_the_file_may_be_named_by_a_variable(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml.write_text("port = 8001")
    monkeypatch.setenv("TMPPOOL_CONFIG", str(toml))
    assert from_flags().port == 8001


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_token_comes_by_its_own_variable_and_is_never_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name.upper(), "very-secret")
    found = from_flags()
    assert getattr(found, name).get_secret_value() == "very-secret"
    assert "very-secret" not in repr(found)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_token_is_no_flag(name: str) -> None:
    with pytest.raises(ConfigError, match="is not an option"):
        from_flags(f"--{name.replace('_', '-')}=x")


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_an_empty_token_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``ADMIN_AUTH_TOKEN=`` must not open the admin listener to everyone."""
    monkeypatch.setenv(name.upper(), "")
    assert getattr(from_flags(), name) is None


# Several pools


def test_a_pool_of_its_own_has_its_settings_and_the_defaults_of_all(toml: Path) -> None:
    found = from_file(toml, "image = 'one'\n[pools.r-lab]\nimage = 'two'\npool-size = 3\nmem-limit = '2g'")
    assert list(found.pools) == ["r-lab"]
    pool = found.pools["r-lab"]
    assert (found.image, pool.image, pool.pool_size, pool.mem_limit) == ("one", "two", 3, 2 << 30)


def test_the_defaults_of_a_pool_are_those_of_the_default_pool(toml: Path) -> None:
    pool = from_file(toml, "[pools.r-lab]").pools["r-lab"]
    default = load({})
    assert {name: getattr(pool, name) for name in PoolSettings.model_fields} == {
        name: getattr(default, name) for name in PoolSettings.model_fields
    }


@pytest.mark.parametrize(("words", "warm"), [([], 10), (["--warm=3"], 3), (["--warm=1"], 1), (["--warm=99"], 10)])
def test_all_of_the_pool_is_kept_warm_unless_fewer_are_wanted(words: list[str], warm: int) -> None:
    assert from_flags(*words).warm_target == warm


# Bad values: the option, the value, what is allowed


NO_UIDS = "it must be FIRST-LAST, two UIDs from 1 to 2147483647, as in 20000-29999"
NO_ADDRESS = "it must be a host name, as in nb.example: an IP address has no subdomains"


NO_URL = "it must be http:// or https:// and a host, without a path, as in https://nb.example:8443"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("--bogus=1", "--bogus is not an option; --help-all lists them"),
        ("--pool-sise=3", "--pool-sise is not an option; did you mean --pool-size? --help-all lists them"),
        ("--pool_sise=3", "--pool-sise is not an option; did you mean --pool-size? --help-all lists them"),
        ("stray", "'stray' is unexpected; options are written as --name=value"),
        (
            "--mem-limit=1x",
            "--mem-limit: '1x' is not allowed: a size is a whole number followed by b, k, m or g, as in 512m or 1g",
        ),
        (
            "--home-size=1.5g",
            "--home-size: '1.5g' is not allowed: a size is a whole number followed by b, k, m or g, as in 512m or 1g",
        ),
        (
            "--tmp-size=",
            "--tmp-size: '' is not allowed: a size is a whole number followed by b, k, m or g, as in 512m or 1g",
        ),
        (
            "--mem-limit=-1g",
            "--mem-limit: '-1g' is not allowed: a size is a whole number followed by b, k, m or g, as in 512m or 1g",
        ),
        (
            "--command=jupyter lab",
            "--command: 'jupyter lab' is not allowed: it must contain {base_path}, the path that each notebook is served at, or {prefix}, the same without the slash at its end",
        ),
        (
            "--command={base_path} {prot}",
            "--command: '{base_path} {prot}' is not allowed: placeholders are {base_path}, {prefix}, {port}, {ip}, {token}, not {prot}; a literal brace is written {{ or }}",
        ),
        (
            "--command={base_path} {}",
            "--command: '{base_path} {}' is not allowed: placeholders are {base_path}, {prefix}, {port}, {ip}, {token}, not {}; a literal brace is written {{ or }}",
        ),
        (
            "--command={base_path[0]}",
            "--command: '{base_path[0]}' is not allowed: placeholders are {base_path}, {prefix}, {port}, {ip}, {token}, not {base_path[0]}; a literal brace is written {{ or }}",
        ),
        (
            "--command=B={base_path}; x ${B%/}",
            "--command: 'B={base_path}; x ${B%/}' is not allowed: placeholders are {base_path}, {prefix}, {port}, {ip}, {token}, not {B%/}; a literal brace is written {{ or }}",
        ),
        (
            "--command={base_path} ${port:-80}",
            "--command: '{base_path} ${port:-80}' is not allowed: placeholders are {base_path}, {prefix}, {port}, {ip}, {token}, not {port:-80}; a literal brace is written {{ or }}",
        ),
        (
            "--command={base_path!r}",
            "--command: '{base_path!r}' is not allowed: placeholders are {base_path}, {prefix}, {port}, {ip}, {token}, not {base_path!r}; a literal brace is written {{ or }}",
        ),
        (
            "--command={base_path} {",
            "--command: '{base_path} {' is not allowed: a literal brace is written {{ or }} (Single '{' encountered in format string)",
        ),
        ("--port=0", "--port: '0' is not allowed: input should be greater than or equal to 1"),
        ("--port=65536", "--port: '65536' is not allowed: input should be less than or equal to 65535"),
        (
            "--port=http",
            "--port: 'http' is not allowed: input should be a valid integer, unable to parse string as an integer",
        ),
        ("--admin-port=0", "--admin-port: '0' is not allowed: input should be greater than or equal to 1"),
        ("--pool-size=-1", "--pool-size: '-1' is not allowed: input should be greater than or equal to 1"),
        (
            "--pool-size=many",
            "--pool-size: 'many' is not allowed: input should be a valid integer, unable to parse string as an integer",
        ),
        ("--warm=0", "--warm: '0' is not allowed: input should be greater than or equal to 1"),
        ("--cpu-quota=0", "--cpu-quota: '0' is not allowed: input should be greater than or equal to 1000"),
        (
            "--cpu-quota=half",
            "--cpu-quota: 'half' is not allowed: input should be a valid integer, unable to parse string as an integer",
        ),
        ("--cull-timeout=-1", "--cull-timeout: '-1' is not allowed: input should be greater than or equal to 0"),
        ("--cull-timeout=nan", "--cull-timeout: 'nan' is not allowed: input should be greater than or equal to 0"),
        ("--cull-period=0", "--cull-period: '0' is not allowed: input should be greater than 0"),
        (
            "--backend=podman",
            "--backend: 'podman' is not allowed: input should be 'auto', 'docker', 'process' or 'fake'",
        ),
        ("--network=host", "--network: 'host' is not allowed: input should be 'none', 'isolated' or 'bridge'"),
        ("--on-exit=explode", "--on-exit: 'explode' is not allowed: input should be 'keep' or 'stop'"),
        (
            "--pool-name=Bad Name",
            "--pool-name: 'Bad Name' is not allowed: a name has 1 to 40 characters from a-z 0-9 _ . - and starts with a letter or digit",
        ),
        (
            "--redirect-uri=//evil.example",
            "--redirect-uri: '//evil.example' is not allowed: it must be a path that starts with exactly one slash, as in /lab",
        ),
        (
            "--public-url=try.example.org",
            f"--public-url: 'try.example.org' is not allowed: {NO_URL}",
        ),
        *(
            (
                f"--allow-origin={origin}",
                f"--allow-origin: {origin!r} is not allowed: it must be *, or one origin as https://docs.example; {origin} is none",
            )
            for origin in (
                "docs.example",
                "https://docs.example/",
                "https://a.example, https://b.example",
                "https://*.example",
                "https://a.example; sandbox",
                "https://a.example\n",
                "null",
            )
        ),
        *(
            (f"--public-url={url}", f"--public-url: {url!r} is not allowed: {NO_URL}")
            for url in (
                "https://nb.example/lab",
                "https://u:p@nb.example",
                "https://nb example",
                "https://b\xfccher.example",
                "https://nb.example:x",
                "https://nb.example:123456",
                "https://2001:db8::5",
                "https://nb.example\n",
                "wss://nb.example",
                "https://",
            )
        ),
        (
            "--trusted-proxies=10.0.0.0/33",
            "--trusted-proxies: '10.0.0.0/33' is not allowed: '10.0.0.0/33' does not appear to be an IPv4 or IPv6 network",
        ),
        *(
            (
                f"--trusted-proxies=10.0.0.1,{address}",
                f"--trusted-proxies: '10.0.0.1,{address}' is not allowed: it must be an address without a zone, as in fe80::1",
            )
            for address in ("fe80::1%eth0", "fe80::1%2/64")
        ),
        *(
            (
                f"--trusted-proxies={address}",
                f"--trusted-proxies: '{address}' is not allowed: it must be an address or a network that a proxy connects from, and {address} is none",
            )
            for address in ("0.0.0.0", "::", "224.0.0.1", "ff02::/16")
        ),
        *(
            (
                f"--domain-per-notebook={address}",
                f"--domain-per-notebook: '{address}' is not allowed: {NO_ADDRESS}",
            )
            for address in ("127.0.0.1:8000", "127.0.0.1", "10.1", "nb.0x7f")
        ),
        *(
            (
                f"--container-uids={uids}",
                f"--container-uids: '{uids}' is not allowed: {NO_UIDS}",
            )
            for uids in ("0-9", "9-8", "1-2147483648", "5")
        ),
        ("--config=/nowhere/at.all", "--config: /nowhere/at.all cannot be read: No such file or directory"),
    ],
)
def test_a_bad_flag_is_told_in_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_flags(word)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bogus = 1", "bogus is not a setting; --help-all lists them"),
        ("port = 0", "--port: '0' is not allowed: input should be greater than or equal to 1"),
        ("pools = 3", "--pools: '3' is not allowed: input should be a valid dictionary"),
        ("[pools.r]\nbogus = 1", "pools.r.bogus is not a setting; --help-all lists them"),
        ("[pools.r]\nport = 8001", "pools.r.port is not a setting; --help-all lists them"),
        (
            "[pools.r]\npool-size = 0",
            "pools.r.pool-size: '0' is not allowed: input should be greater than or equal to 1",
        ),
        ("[pools.tmppool]", "pools.tmppool: a pool needs a unique name of 1 to 40 characters from a-z 0-9 _ . -"),
        ("[pools.'Bad Name']", "pools.Bad Name: a pool needs a unique name of 1 to 40 characters from a-z 0-9 _ . -"),
    ],
)
def test_a_bad_line_of_the_file_is_told_in_one_sentence(toml: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(toml, text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("content", [b"port ==", b"\xff\xfe", b"port = 1\nport = 2"])
def test_a_file_that_is_no_toml_is_told_in_one_sentence(toml: Path, content: bytes) -> None:
    toml.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        from_flags(f"--config={toml}")
    assert str(caught.value).startswith(f"--config: {toml} is not TOML: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("TMPPOOL_PORT", "0"), ("TMPPOOL_TRUSTED_PROXIES", "nonsense"), ("TMPPOOL_POOLS", "nonsense")]
)
def test_a_bad_variable_is_told_in_one_sentence(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        from_flags()
    assert name.removeprefix("TMPPOOL_").lower().replace("_", "-") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_is_not_repeated_in_a_complaint(toml: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(toml, "admin-auth-token = ['very-secret']")
    assert "very-secret" not in str(caught.value)


# Sizes and keys


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("12", 12),
        ("12b", 12),
        ("3k", 3072),
        ("3K", 3072),
        ("3kb", 3072),
        ("512m", 512 << 20),
        ("1g", 1 << 30),
        ("2GB", 2 << 30),
        (" 1g ", 1 << 30),
        (77, 77),
    ],
)
def test_a_size_in_dockers_notation(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "g", "1x", "1.5g", "-1", "1 g", "1gg", "0x10", "1e3", None])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="a size is a whole number"):
        parse_size(text)


@pytest.mark.parametrize(("length", "key_bytes"), [(1, 16), (12, 16), (22, 16), (23, 18), (32, 24), (86, 65)])
def test_a_key_never_has_less_than_128_bits(length: int, key_bytes: int) -> None:
    assert from_flags(f"--user-length={length}").key_bytes == key_bytes


# What tmpnb's operators type


def test_the_line_that_iqss_ran_in_production() -> None:
    command = (
        'start-notebook.sh "--NotebookApp.base_url={base_path} --ip=0.0.0.0 --port={port}'
        ' --NotebookApp.token=\\"\\" --NotebookApp.trust_xheaders=True"'
    )
    found = from_flags("--image=NAME", "--pool-size=30", "--cpu-quota=50000", "--mem-limit=1g", f"--command={command}")
    assert (found.image, found.pool_size, found.cpu_quota, found.mem_limit) == ("NAME", 30, 50_000, 1 << 30)
    assert found.command == command
    assert found.command.format(base_path="/user/x/", port=8888) == (
        'start-notebook.sh "--NotebookApp.base_url=/user/x/ --ip=0.0.0.0 --port=8888'
        ' --NotebookApp.token=\\"\\" --NotebookApp.trust_xheaders=True"'
    )


def test_options_may_be_written_with_a_space() -> None:
    found = from_flags("--pool_size", "5", "--image", "NAME")
    assert (found.pool_size, found.image) == (5, "NAME")


@pytest.mark.parametrize("name", RETIRED)
@pytest.mark.parametrize("form", ["--{0}=x", "--{0}"])
def test_a_retired_option_is_taken_with_a_warning(name: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = from_flags(form.format(name.replace("-", "_")), "--port=8001")
    assert found == load({"port": "8001"})
    assert capsys.readouterr().err == f"tmppool: --{name} has no effect any more: {RETIRED[name]}\n"


TMPNB_OPTIONS = [
    "admin_ip",
    "admin_port",
    "allow_credentials",
    "allow_headers",
    "allow_methods",
    "allow_origin",
    "assert_hostname",
    "command",
    "container_ip",
    "container_port",
    "container_user",
    "cpu_quota",
    "cpu_shares",
    "cull_max",
    "cull_period",
    "cull_timeout",
    "docker_network",
    "docker_version",
    "expose_headers",
    "extra_hosts",
    "host_directories",
    "host_network",
    "image",
    "ip",
    "max_age",
    "max_dock_workers",
    "mem_limit",
    "pool_name",
    "pool_size",
    "port",
    "redirect_uri",
    "static_files",
    "use_tokens",
    "user_length",
]


@pytest.mark.parametrize("name", TMPNB_OPTIONS)
def test_every_option_of_tmpnb_is_known(name: str) -> None:
    assert name in Settings.model_fields or name.replace("_", "-") in RETIRED


def test_no_setting_is_retired() -> None:
    assert [name for name in RETIRED if name.replace("-", "_") in Settings.model_fields] == []


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load({}).port = 1


# Repositories


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", name) for name in ("foo/a", "gh", "gh/", "*", "gh/a b", "gh//a", "gh/a\x7fb", "git/http://g.example/a/b", "git/git@g.example:a/b", "git/a/b", "https://github.com/a/b", "gh/" + "a" * 201)),
        *(
            (field, value)
            for field in ("directory", "prefix")
            for value in ("../../etc", "..", ".", "a/./b", "a/../b", "/home", "/", "a//b", "a\nb", "a\0b", "x" * 1001)
        ),
    ],
)  # fmt: skip
def test_a_row_of_repositories_that_makes_no_sense_prevents_the_start(field: str, value: str, toml: Path) -> None:
    row = {"name": "gh/org/repo", field: value}
    text = "".join(f"{name} = {json.dumps(text)}\n" for name, text in row.items())
    with pytest.raises(ConfigError) as refused:
        from_file(toml, f"[[repositories]]\n{text}".replace("\x7f", "\\u007f"))
    assert str(refused.value).startswith(f"repositories.0.{field}: {value!r} is not allowed: it must be ")


def test_a_row_of_repositories_in_its_proper_spelling(toml: Path) -> None:
    found = from_file(toml, "[[repositories]]\nname = 'gh/org/repo.git'\ndirectory = 'a dir/b/'\nprefix = 'docs'\n")
    (row,) = found.repositories
    assert (row.name, row.directory, row.prefix) == ("gh/org/repo", "a dir/b", "docs")
