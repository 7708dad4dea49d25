"""Every setting once: name, type, default, help. Flags, environment, the TOML file and the README come from it.

Order of precedence: flag, ``TMPPOOL_*`` variable, TOML file, default. A bad value raises ConfigError with one
sentence: the option, the value, what is allowed. tmpnb's option names and meanings are kept, ``_`` for ``-`` too.
"""

import ipaddress
import os
import re
import string
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic import model_validator as validate_model
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tmppool.errors import ConfigError

_SIZE = re.compile(r"^(\d+)([bkmg]?)b?$", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_NAME = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,39}$")
_PLACEHOLDERS = {"base_path", "port", "ip", "token"}
_MIN_KEY = 22  # characters of URL-safe base64 that hold 128 bits

DEFAULT_IMAGE = "tmppool/debian:latest"

RETIRED = {
    "use-tokens": "every notebook has a token of its own, which the proxy holds",
    "max-dock-workers": "use --parallel-starts",
    "docker-version": "the API version is negotiated with the engine",
    "static-files": "files are served by the notebooks themselves",
    "host-network": "use --network",
    "docker-network": "use --network",
    "assert-hostname": "set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for an engine behind TLS",
    "container-ip": "notebooks are reached inside their own network namespace",
}
"""tmpnb's options that no longer mean anything, and what to use: accepted with a warning."""


def parse_size(value: object) -> int:
    """Return bytes for Docker's notation: a whole number with b, k, m or g behind it, powers of 1024."""
    found = _SIZE.match(str(value).strip())
    if found is None:
        raise ValueError("a size is a whole number with b, k, m or g behind it, as in 512m or 1g")
    return int(found[1]) * _UNITS[found[2].lower()]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(parse_size)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def option(default: Any, text: str, *, common: bool = False, **more: Any) -> Any:
    """Declare a setting; the common ones stand in ``--help``, all in ``--help-all``."""
    return Field(default, description=text, json_schema_extra={"common": common}, **more)


class PoolSettings(BaseModel):
    """What one pool may have of its own in the TOML file, as ``[pools.NAME]``."""

    model_config = SettingsConfigDict(extra="forbid", populate_by_name=True, validate_default=True)

    image: str = option(
        DEFAULT_IMAGE,
        "image to run; `tmppool build-image debian` makes the default",
        common=True,
        validation_alias=AliasChoices("TMPPOOL_IMAGE", "DOCKER_NOTEBOOK_IMAGE"),
    )
    command: str | None = option(
        None, "shell command in the container; {base_path} {port} {ip} {token} are filled in", common=True
    )
    pool_size: int = option(10, "capacity: how many notebooks there may be, sessions included", common=True, ge=1)
    warm: int | None = option(None, "how many to keep started and unassigned (all that have room)", common=True, ge=1)
    cull_timeout: float = option(3600.0, "seconds without interaction until a session is reaped", common=True, ge=0)
    cull_max: float = option(14400.0, "seconds after assignment until a session is reaped", common=True, ge=0)
    mem_limit: Size = option("1g", "memory of a notebook, without swap", common=True, ge=1 << 20)
    cpu_quota: int | None = option(100_000, "CPU microseconds per 100000: 50000 is half a core", common=True, ge=1000)
    cpu_shares: int | None = option(64, "weight against other work on the host (default elsewhere: 1024)", ge=2)
    pids_limit: int = option(256, "processes and threads of a notebook", ge=32)
    home_size: Size = option("256m", "size of the home, which lives in memory", ge=4096)
    tmp_size: Size = option("128m", "size of /tmp, which lives in memory", ge=4096)
    network: Literal["none", "isolated", "bridge"] = option(
        "none", "none; isolated: a bridge without a way out; bridge: visitors reach the internet", common=True
    )
    container_user: str = option("1000:100", "user and group that a notebook runs as")
    container_port: int = option(8888, "port of the notebook inside its container", ge=1, le=65535)
    host_directories: Words = option((), "comma list of /host/path:/path:ro to mount in every notebook")
    extra_hosts: Words = option((), "comma list of name:address for /etc/hosts in every notebook")
    redirect_uri: str | None = option(None, "where a click on / leads (what the image says, else /tree)", common=True)
    start_timeout: float = option(60.0, "seconds for a notebook to answer before its start has failed", gt=0)
    parallel_starts: int = option(max(2, os.cpu_count() or 2), "how many notebooks start at once", ge=1)

    @field_validator("command")
    @classmethod
    def _check_command(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            names = {name for _, name, _, _ in string.Formatter().parse(value) if name is not None}
        except ValueError as error:
            raise ValueError(f"braces must be doubled unless they name a placeholder ({error})") from error
        if names - _PLACEHOLDERS:
            raise ValueError(
                f"the placeholders are {{base_path}} {{port}} {{ip}} {{token}}, not {{{min(names - _PLACEHOLDERS)}}}"
            )
        if "base_path" not in names:
            raise ValueError("it must hold {base_path}, or no notebook can be told from another")
        return value

    @field_validator("redirect_uri")
    @classmethod
    def _check_redirect(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith("/") or value.startswith("//")):
            raise ValueError("it must be a path that begins with one slash, as in /lab")
        return value

    @property
    def warm_target(self) -> int:
        return self.pool_size if self.warm is None else min(self.warm, self.pool_size)


class Settings(PoolSettings, BaseSettings):
    """Settings of the service; those of PoolSettings configure the default pool."""

    model_config = SettingsConfigDict(env_prefix="TMPPOOL_", extra="forbid", frozen=True, populate_by_name=True)

    backend: Literal["auto", "docker", "process", "fake"] = option(
        "auto", "docker, process (no isolation) or fake; auto: docker where an engine answers", common=True
    )
    ip: str | None = option(None, "address of the public listener (all; loopback for processes)", common=True)
    port: int = option(8000, "port of the public listener", common=True, ge=1, le=65535)
    admin_ip: str = option("127.0.0.1", "address of the admin listener")
    admin_port: int = option(10000, "port of the admin listener", ge=1, le=65535)
    public_url: str | None = option(None, "how visitors reach the service, when a proxy in front hides it")
    trusted_proxies: Words = option((), "comma list of addresses or networks whose X-Forwarded-* are believed")
    pool_name: str = option("tmppool", "name of this service's pool: two services on one engine need two", common=True)
    pools: dict[str, PoolSettings] = option({}, "more pools, by name; in the TOML file only")
    cull_period: float = option(10.0, "seconds between two looks at what is due", gt=0)
    user_length: int = option(_MIN_KEY, "characters of a notebook's key; fewer than 22 become 22", ge=1, le=86)
    on_exit: Literal["keep", "stop"] = option("keep", "what becomes of notebooks when the service ends", common=True)
    state_dir: Path | None = option(None, "directory of the ledger (the user's state directory)")
    config: Path | None = option(None, "TOML file with these settings")
    allow_origin: str | None = option(None, "Access-Control-Allow-Origin of the API")
    allow_credentials: str | None = option(None, "Access-Control-Allow-Credentials of the API")
    allow_methods: str | None = option(None, "Access-Control-Allow-Methods of the API")
    allow_headers: str | None = option(None, "Access-Control-Allow-Headers of the API")
    expose_headers: str | None = option(None, "Access-Control-Expose-Headers of the API")
    max_age: int | None = option(None, "Access-Control-Max-Age of the API, in seconds")
    log_level: Literal["debug", "info", "warning", "error"] = option("info", "least level that is logged")
    log_format: Literal["auto", "json", "console"] = option("auto", "auto: json unless standard error is a terminal")
    api_auth_token: SecretStr | None = option(
        None,
        "variable API_AUTH_TOKEN: /api/spawn asks for it and the pages are off",
        validation_alias=AliasChoices("API_AUTH_TOKEN"),
    )
    admin_auth_token: SecretStr | None = option(
        None,
        "variable ADMIN_AUTH_TOKEN: the admin listener asks for it",
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
            raise ValueError("a name is 1 to 40 of a-z 0-9 _ . - and begins with a letter or digit")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network, strict=False)
        return value

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^https?://[^/?#]+/?$", value):
            raise ValueError("it must be http:// or https:// with a host and nothing behind it")
        return value.rstrip("/") if value else value

    @validate_model(mode="after")
    def _check_pools(self) -> Self:
        for name in self.pools:
            if not _NAME.match(name) or name == self.pool_name:
                raise ValueError(f"pools.{name}: a pool needs a name of its own, 1 to 40 of a-z 0-9 _ . -")
        return self

    @property
    def key_bytes(self) -> int:
        return -(-max(self.user_length, _MIN_KEY) * 6 // 8) if self.user_length > _MIN_KEY else 16


def load(given: dict[str, str]) -> Settings:
    """Return the settings for what was ``given`` on the command line (field names). Raises ConfigError."""
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
    """Setting names with ``_``; the names of pools stay as they are."""
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
    label = f"--{name}" if len(where) <= 1 or name != "pools" else ".".join(where).replace("_", "-")
    if first["type"] == "extra_forbidden":
        return f"{label.lstrip('-')} is not a setting; `./start-tmpnb --help-all` lists them"
    message = str(first["msg"]).removeprefix("Value error, ")
    value = first["input"] if where else ""
    return f"{label}: {str(value)!r} is not allowed: {message[0].lower()}{message[1:]}" if where else message
