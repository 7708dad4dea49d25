"""Defines every setting once: name, type, default, help. Flags, variables, TOML keys and the README follow from it.

Precedence: flag, ``TMPPOOL_*`` variable, TOML file, default. An invalid value raises ConfigError with one sentence:
the option, the value, what is allowed. tmpnb's option names keep their meaning, also with ``_`` for ``-``.
"""

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, SecretStr, ValidationError, field_validator
from pydantic import model_validator as validate_model
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tmppool import environment
from tmppool.errors import ConfigError
from tmppool.pool_settings import PoolSettings, RepositorySettings, Size, Words, option

_NAME = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,39}$")
_HOST = re.compile(r"^(?=.{1,200}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:\d{1,5})?$")
_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?")
_PATTERN = re.compile(
    r"\*|https?://(?:(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?"
)
_MAX_PORT = 65535
_NUMERIC = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)(:\d+)?$")  # parsed as an IPv4 address (URL Standard, host parsing)
_TABLES = ("pools", "repositories")  # of the file
_MIN_KEY = 22  # characters of URL-safe base64 that hold 128 bits

RETIRED = {
    "use-tokens": "every notebook has its own token, which the proxy adds",
    "max-dock-workers": "use --parallel-starts",
    "docker-version": "the API version is negotiated with the engine",
    "static-files": "notebooks serve their own files",
    "host-network": "use --network",
    "docker-network": "use --network",
    "assert-hostname": "set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for an engine with TLS",
    "container-ip": "notebooks are reached through their own network namespace",
}
"""tmpnb's options without a meaning today, and their replacements: accepted with a warning."""


class Settings(PoolSettings, BaseSettings):
    """Settings of the service; those of PoolSettings configure the default pool."""

    model_config = SettingsConfigDict(env_prefix="TMPPOOL_", extra="forbid", frozen=True, populate_by_name=True)

    backend: Literal["auto", "docker", "process", "fake"] = option(
        "auto", "docker, process (no isolation) or fake; auto: docker if an engine answers", common=True
    )
    ip: str | None = option(
        None, "address of the public listener (default: all interfaces; loopback with processes)", common=True
    )
    port: int = option(8000, "port of the public listener", common=True, ge=1, le=65535)
    admin_ip: str = option("127.0.0.1", "address of the admin listener")
    admin_port: int = option(10000, "port of the admin listener", ge=1, le=65535)
    public_url: str | None = option(None, "URL at which visitors reach the service, if behind a reverse proxy")
    trusted_proxies: Words = option(
        (), "proxies whose X-Forwarded-* and Forwarded headers are trusted: addresses or networks, comma-separated"
    )
    domain_per_notebook: str | None = option(
        None, "parent domain, with a port if needed: every notebook gets a host name below it"
    )
    workshop_code: str | None = option(
        None,
        "code with which a class behind one address is exempt from --starts-per-hour and --notebooks-per-address",
    )
    starts_per_hour: int = option(60, "notebooks that one client address may start per hour; 0: no limit", ge=0)
    notebooks_per_address: int | None = option(
        None,
        "notebooks of one pool that one client address may hold at a time; 0: no limit (default: half of the pool,"
        " rounded up; no limit with --starts-per-hour=0, or where notebooks are processes)",
        ge=0,
    )
    connections_per_address: int = option(512, "open connections per client address; 0: no limit", ge=0)
    upload_limit: Size = option("2g", "size of one request body sent to a notebook; 0: no limit", ge=0)
    embed_origins: Words = option(
        (),
        "origins whose pages may embed notebooks and start them by scripts, comma-separated, as https://docs.example or"
        " https://*.example; *: every page on the web",
    )
    accept_risk: Words = option(
        (), "start-up probes that may fail, comma-separated; `tmppool audit --json` lists their names"
    )
    pool_name: str = option(
        "tmppool", "name of the default pool; services that share an engine need different ones", common=True
    )
    pools: dict[str, PoolSettings] = option({}, "more pools, by name; in the TOML file only")
    repositories: tuple[RepositorySettings, ...] = option(
        (), "where links to Git repositories, as Binder's, lead; in the TOML file only"
    )
    unknown_repositories: Literal["default", "refuse"] = option(
        "default", "links to repositories in no [[repositories]] lead to the default pool, or are refused"
    )
    cull_period: float = option(10.0, "seconds between two ticks (checks for what to start and what to reap)", gt=0)
    user_length: int = option(
        _MIN_KEY, "length of a notebook's key in characters; less than 22 (128 bits) counts as 22", ge=1, le=86
    )
    on_exit: Literal["keep", "stop"] | None = option(
        None, "keep or stop notebooks when the service ends (default: keep; stop with processes)", common=True
    )
    allow_root: bool = option(False, "allow notebooks to run as root where they are processes")
    state_dir: Path | None = option(None, "directory of the ledger (default: the user's state directory)")
    config: Path | None = option(None, "TOML file with these settings")
    allow_origin: str | None = option(
        None,
        "origin whose pages may call the API by scripts, and embed nothing, or *: every page on the web;"
        " Access-Control-Allow-Origin of API responses",
    )
    allow_credentials: str | None = option(None, "Access-Control-Allow-Credentials of API responses")
    allow_methods: str | None = option(None, "Access-Control-Allow-Methods of API responses")
    allow_headers: str | None = option(None, "Access-Control-Allow-Headers of API responses")
    expose_headers: str | None = option(None, "Access-Control-Expose-Headers of API responses")
    max_age: int | None = option(None, "Access-Control-Max-Age of API responses, in seconds")
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", "lowest level that is logged: debug, info, warning or error"
    )
    log_format: Literal["auto", "json", "console"] = option(
        "auto", "json or console; auto: console on a terminal, json elsewhere"
    )
    api_auth_token: SecretStr | None = option(
        None,
        "variable API_AUTH_TOKEN: token that /api/spawn requires; turns off the pages",
        validation_alias=AliasChoices("API_AUTH_TOKEN"),
    )
    admin_auth_token: SecretStr | None = option(
        None,
        "variable ADMIN_AUTH_TOKEN: token that the admin listener requires (default: one made in the state directory)",
        validation_alias=AliasChoices("ADMIN_AUTH_TOKEN"),
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        given = init_settings()
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = environment.without_links(env_settings.env_vars)
        path = given.get("config") or os.environ.get("TMPPOOL_CONFIG")
        file = InitSettingsSource(settings_cls, init_kwargs=_read_toml(Path(path)) if path else {})
        return init_settings, env_settings, file

    @field_validator("api_auth_token", "admin_auth_token")
    @classmethod
    def _no_empty_token(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value() else None

    @field_validator("pool_name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ValueError("a name has 1 to 40 characters from a-z 0-9 _ . - and starts with a letter or digit")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            network = ipaddress.ip_network(word, strict=False)
            if "%" in word:  # the zone of a connection is not known, and any text
                raise ValueError(f"it must be an address without a zone, as in {word.partition('%')[0]}")
            if network.is_unspecified or network.is_multicast:
                raise ValueError(f"it must be an address or a network that a proxy connects from, and {word} is none")
        return value

    @field_validator("embed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            found = _PATTERN.fullmatch(word)
            is_below_address = "*." in word and _NUMERIC.search(word) is not None
            if found is None or int(found[1] or 0) > _MAX_PORT or is_below_address:
                raise ValueError(
                    f"it must be *, or origins as https://docs.example or https://*.example; {word} is none"
                )
        return value

    @field_validator("allow_origin")
    @classmethod
    def _check_origin(cls, value: str | None) -> str | None:
        if value and ("//*." in value or not _PATTERN.fullmatch(value)):
            raise ValueError(f"it must be *, or one origin as https://docs.example; {value} is none")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None and not _URL.fullmatch(value):
            raise ValueError("it must be http:// or https:// and a host, without a path, as in https://nb.example:8443")
        return value.rstrip("/") if value else value

    @field_validator("domain_per_notebook")
    @classmethod
    def _check_domain(cls, value: str | None) -> str | None:
        if value is not None and not _HOST.match(value):
            raise ValueError("it must be a lower-case host name, as in nb.example or nb.example:8443")
        if value is not None and _NUMERIC.search(value):
            raise ValueError("it must be a host name, as in nb.example: an IP address has no subdomains")
        return value

    @validate_model(mode="after")
    def _check_pools(self) -> Self:
        for name in self.pools:
            if not _NAME.match(name) or name == self.pool_name:
                raise ValueError(f"pools.{name}: a pool needs a unique name of 1 to 40 characters from a-z 0-9 _ . -")
        for row in self.repositories:
            if row.pool is not None and row.pool not in {self.pool_name, *self.pools}:
                raise ValueError(f"repositories: {row.name!r} names the pool {row.pool!r}, which is not configured")
        return self

    @property
    def key_bytes(self) -> int:
        """The number of random bytes in a key of ``user_length`` characters, at least 16."""
        return -(-max(self.user_length, _MIN_KEY) * 6 // 8) if self.user_length > _MIN_KEY else 16


VARIABLES = frozenset(name for name in Settings.model_fields if not name.endswith("_auth_token")) | {
    name.replace("-", "_") for name in RETIRED
}
"""Names of the variables behind their prefix, in lower case; the tokens have none."""


def load(given: dict[str, str]) -> Settings:
    """Return the settings, with those ``given`` on the command line by field name. Raises ConfigError."""
    for mistake in environment.mistakes(os.environ, VARIABLES):
        raise ConfigError(mistake)
    try:
        return Settings(**given)  # type: ignore[arg-type]  # strings, which pydantic turns into the fields' types
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from error
    except SettingsError as error:
        raise ConfigError(f"a TMPPOOL_ variable cannot be read: {error}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return _underscored(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"--config: {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config: {path} is not TOML: {error}") from error


def _underscored(table: dict[str, Any]) -> dict[str, Any]:
    """Replace ``-`` by ``_`` in setting names, but not in pool names."""
    tidy = {name.replace("-", "_"): value for name, value in table.items()}
    if isinstance(tidy.get("pools"), dict):
        tidy["pools"] = {
            name: _underscored(pool) if isinstance(pool, dict) else pool for name, pool in tidy["pools"].items()
        }
    return tidy


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    name = where[0].lower().removeprefix("tmppool_").replace("_", "-") if where else ""
    if name.endswith("auth-token"):
        return f"{where[0]} cannot be used: {first['msg']}"
    label = f"--{name}" if len(where) <= 1 or name not in _TABLES else ".".join(where).replace("_", "-")
    if first["type"] == "extra_forbidden":
        return f"{label.lstrip('-')} is not a setting; --help-all lists them"
    message = str(first["msg"]).removeprefix("Value error, ")
    value = first["input"] if where else ""
    return f"{label}: {str(value)!r} is not allowed: {message[0].lower()}{message[1:]}" if where else message
