"""Variables of the environment: ours, misspelled, and other programs'."""

import pytest

from tmppool import environment
from tmppool.config import VARIABLES, load
from tmppool.errors import ConfigError

LINKS = {
    "TMPPOOL_SERVICE_HOST": "10.0.0.1",
    "TMPPOOL_SERVICE_PORT": "8000",
    "TMPPOOL_SERVICE_PORT_HTTP": "8000",
    "TMPPOOL_PORT": "tcp://10.0.0.1:8000",
    "TMPPOOL_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "TMPPOOL_PORT_8000_TCP_PROTO": "tcp",
    "TMPPOOL_PORT_8000_TCP_PORT": "8000",
    "TMPPOOL_PORT_8000_TCP_ADDR": "10.0.0.1",
    "TMPPOOL_ADMIN_SERVICE_HOST": "10.0.0.2",
    "TMPPOOL_ADMIN_SERVICE_PORT": "10000",
    "TMPPOOL_ADMIN_PORT": "tcp://10.0.0.2:10000",
    "TMPPOOL_ADMIN_PORT_10000_TCP": "tcp://10.0.0.2:10000",
    "TMPPOOL_DNS_PORT": "udp://10.0.0.3:53",
    "TMPPOOL_NAME": "/front/tmppool",
    "TMPPOOL_ENV_POOL_SIZE": "3",
}
"""What Kubernetes and Docker's links set where a service or a container is called tmppool or tmppool-admin."""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TMPPOOL_POOLSIZE", "TMPPOOL_POOL_SIZE"),
        ("TMPPOOL_POOL_SISE", "TMPPOOL_POOL_SIZE"),
        ("tmppool_culltimeout", "TMPPOOL_CULL_TIMEOUT"),
        ("TMPPOOL_TRUSTED_PROXY", "TMPPOOL_TRUSTED_PROXIES"),
        ("TMPPOOL_STARTS_PER_HUOR", "TMPPOOL_STARTS_PER_HOUR"),
        ("TMPPOOL_ACCEPT_RISKS", "TMPPOOL_ACCEPT_RISK"),
        ("TMPPOOL_PORTS", "TMPPOOL_PORT"),
        ("TMPOOL_POOL_SIZE", "TMPPOOL_POOL_SIZE"),
        ("TMPPOL_PORT", "TMPPOOL_PORT"),
        ("TMP_POOL_PORT", "TMPPOOL_PORT"),
        ("TMPPOOLPORT", "TMPPOOL_PORT"),
        ("Tmp_PoolPoolSize", "TMPPOOL_POOL_SIZE"),
        ("TMPPOOL_ADMIN_AUTH_TOKEN", "ADMIN_AUTH_TOKEN"),
        ("TMPPOOL_API_AUTH_TOKEN", "API_AUTH_TOKEN"),
        ("TMPPOOL_ADMIN_TOKEN", "ADMIN_AUTH_TOKEN"),
    ],
)
def test_a_misspelled_variable_ends_the_start_with_a_hint(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError) as error:
        load({})
    assert str(error.value) == f"{name} is not a setting; did you mean {meant}?"


@pytest.mark.parametrize("name", ["TMP_POOL_SIZE", "TMP_POOL", "TMPNB_PORT", "TMPOOL_HOME", "TMPFILES_PORT"])
def test_a_variable_of_another_program_is_none_of_ours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TMPPOOL2_PORT", "tcp://10.0.0.1:80")  # of a service called tmppool2
    monkeypatch.setenv("TMP_POOL_PORT", "tcp://10.0.0.2:80")  # of one called tmp-pool
    assert load({}).port == 8000


def test_variables_of_service_links_are_no_settings_and_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)
    assert (load({}).port, load({}).admin_port) == (8000, 10000)
    assert list(environment.strangers(LINKS, VARIABLES)) == []


def test_a_port_is_a_port_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (LINKS | {"TMPPOOL_PORT": "8001"}).items():
        monkeypatch.setenv(name, value)
    assert load({}).port == 8001


def test_what_is_like_no_setting_is_somebody_elses_and_named() -> None:
    found = {"TMPPOOL_HOME": "/srv", "TMPPOOL_VERSION": "1", "TMPPOOL_": "", "TMPPOOL_PORT": "8001", "PATH": "/bin"}
    assert list(environment.mistakes(found, VARIABLES)) == []
    assert list(environment.strangers(found, VARIABLES)) == ["TMPPOOL_", "TMPPOOL_HOME", "TMPPOOL_VERSION"]


def test_every_setting_is_known() -> None:
    found = {f"TMPPOOL_{name.upper()}": "1" for name in VARIABLES}
    assert list(environment.mistakes(found, VARIABLES)) == []
    assert list(environment.strangers(found, VARIABLES)) == []
