"""The settings of one pool: the image, the number and lifetime of notebooks, and every limit of a notebook.

Flags and ``TMPPOOL_*`` variables set these for the default pool, ``[pools.NAME]`` in the TOML file for others. Beside
them are the settings of the repositories whose links lead to a pool.
"""

import os
import re
import string
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from tmppool.providers import PROVIDERS

_SIZE = re.compile(r"^(\d+)([bkmg]?)b?$", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_UIDS = re.compile(r"^(\d{1,10})-(\d{1,10})$")
_MAX_UID = 2**31 - 1  # of the engine's runtime, opencontainers/runc libcontainer/user
_REPOSITORY = re.compile(rf"(?:{'|'.join(PROVIDERS)})/[^\s/]\S{{0,199}}")
_MOST_DIRECTORY = 1000  # characters
_PATHS = {"base_path", "prefix"}  # with a slash at its end, and without
_PLACEHOLDERS = ("base_path", "prefix", "port", "ip", "token")

DEFAULT_IMAGE = "tmppool/debian:latest"


def parse_size(value: object) -> int:
    """Return bytes from Docker's notation: a whole number with the suffix b, k, m or g, powers of 1024."""
    found = _SIZE.match(str(value).strip())
    if found is None:
        raise ValueError("a size is a whole number followed by b, k, m or g, as in 512m or 1g")
    return int(found[1]) * _UNITS[found[2].lower()]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(parse_size)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def option(default: Any, text: str, *, common: bool = False, **more: Any) -> Any:
    """Declare a setting; ``--help`` lists the common ones, ``--help-all`` all of them."""
    return Field(default, description=text, json_schema_extra={"common": common}, **more)


def _in_braces(command: str) -> Iterator[str]:
    """Yield what stands in single braces. Raises ValueError where one has no partner."""
    for _, name, form, conversion in string.Formatter().parse(command):
        if name is not None:
            yield name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")


class PoolSettings(BaseModel):
    """The settings of one pool in the TOML file, as ``[pools.NAME]``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, validate_default=True)

    image: str = option(
        DEFAULT_IMAGE,
        "image that notebooks run; `tmppool build-image debian` builds the default",
        common=True,
        validation_alias=AliasChoices("TMPPOOL_IMAGE", "DOCKER_NOTEBOOK_IMAGE"),
    )
    command: str | None = option(
        None,
        "start command, run by a shell; {base_path}, {prefix} (the same without the slash at its end), {port}, {ip} and"
        " {token} are substituted, a literal brace is doubled; options alone are for the image's entrypoint",
        common=True,
    )
    pool_size: int = option(10, "capacity: maximum number of notebooks, assigned ones included", common=True, ge=1)
    warm: int | None = option(
        None, "how many warm notebooks to keep (default: as many as capacity allows)", common=True, ge=1
    )
    cull_timeout: float = option(
        3600.0, "seconds without activity after which a session is reaped; 0: never", common=True, ge=0
    )
    cull_max: float = option(
        14400.0, "seconds after assignment at which a session is reaped, active or not; 0: never", common=True, ge=0
    )
    open_timeout: float = option(
        300.0, "seconds after assignment within which somebody must open a notebook, or it is reaped; 0: never", ge=0
    )
    mem_limit: Size = option("1g", "memory limit per notebook, without swap", common=True, ge=1 << 20)
    cpu_quota: int | None = option(
        100_000, "CFS quota in microseconds per 100 ms: 100000 is one core, 50000 half of one", common=True, ge=1000
    )
    cpu_shares: int | None = option(
        64, "CPU shares, relative to other processes on the host (Docker's default: 1024)", ge=2
    )
    pids_limit: int = option(256, "processes and threads per notebook", ge=32)
    nofile_limit: int = option(4096, "open files per process (RLIMIT_NOFILE)", ge=256)
    memlock_limit: Size = option("64k", "locked memory per process (RLIMIT_MEMLOCK)", ge=0)
    sigpending_limit: int = option(4096, "pending signals per UID (RLIMIT_SIGPENDING)", ge=64)
    home_size: Size = option("256m", "size of the home directory, a tmpfs", ge=4096)
    home_inodes: int = option(32_768, "inodes (files and directories) in the home directory", ge=256)
    tmp_size: Size = option("128m", "size of /tmp, a tmpfs", ge=4096)
    tmp_inodes: int = option(16_384, "inodes (files and directories) in /tmp", ge=64)
    shm_size: Size = option("64m", "size of /dev/shm, a tmpfs", ge=4096)
    log_size: Size = option("1m", "size of the container log that the engine keeps per notebook", ge=4096)
    oom_score: int = option(
        500, "oom_score_adj of notebooks: the higher, the earlier the OOM killer picks them", ge=0, le=1000
    )
    seccomp: str = option(
        "tmppool", "seccomp profile: tmppool (ours), engine (the engine's default) or the path of a profile"
    )
    runtime: str | None = option(None, "OCI runtime for notebooks, such as runsc or kata (default: the engine's)")
    network: Literal["none", "isolated", "bridge"] = option(
        "none", "none; isolated: internal bridge, no egress; bridge: visitors reach the internet", common=True
    )
    container_uids: str = option("20000-29999", "UID range, as FIRST-LAST; every notebook gets its own UID")
    container_user: str | None = option(None, "one UID:GID for all notebooks, instead of --container-uids")
    container_port: int = option(8888, "port that the notebook server listens on inside its container", ge=1, le=65535)
    host_directories: Words = option(
        (),
        "bind mounts in every notebook, as /host/path:/path:ro, comma-separated; in the home only directly in it",
    )
    extra_hosts: Words = option((), "/etc/hosts entries in every notebook, as name:address, comma-separated")
    redirect_uri: str | None = option(
        None, "path that / opens (default: the image's tmppool.landing label, or /tree)", common=True
    )
    start_timeout: float = option(60.0, "seconds that a notebook may take to answer before its start has failed", gt=0)
    parallel_starts: int = option(
        max(2, os.cpu_count() or 2), "how many notebooks may be starting at the same time", ge=1
    )

    @field_validator("command")
    @classmethod
    def _check_command(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            names = set(_in_braces(value))
        except ValueError as error:
            raise ValueError(f"a literal brace is written {{{{ or }}}} ({error})") from error
        unknown = names - {*_PLACEHOLDERS}
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
            raise ValueError(
                f"placeholders are {known}, not {{{min(unknown)}}}; a literal brace is written {{{{ or }}}}"
            )
        if not names & _PATHS:
            raise ValueError(
                "it must contain {base_path}, the path that each notebook is served at, or {prefix}, the same without"
                " the slash at its end"
            )
        return value

    @field_validator("redirect_uri")
    @classmethod
    def _check_redirect(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith("/") or value.startswith("//")):
            raise ValueError("it must be a path that starts with exactly one slash, as in /lab")
        return value

    @field_validator("container_uids")
    @classmethod
    def _check_uids(cls, value: str) -> str:
        found = _UIDS.match(value)
        if found is None or not 0 < int(found[1]) <= int(found[2]) <= _MAX_UID:
            raise ValueError(f"it must be FIRST-LAST, two UIDs from 1 to {_MAX_UID}, as in 20000-29999")
        return value

    @property
    def uids(self) -> range:
        first, _, last = self.container_uids.partition("-")
        return range(int(first), int(last) + 1)

    @property
    def warm_target(self) -> int:
        return self.pool_size if self.warm is None else min(self.warm, self.pool_size)


class RepositorySettings(BaseModel):
    """One ``[[repositories]]`` of the TOML file: where links to some Git repositories lead.

    ``web.repositories.Row`` says what its fields mean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pool: str | None = None
    directory: str = ""
    prefix: str = ""

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _REPOSITORY.fullmatch(value) or not value.isprintable():
            raise ValueError(
                f"it must be a provider ({', '.join(PROVIDERS)}), a slash, and the repository in up to 200 characters"
                " without blanks, as gh/org/repo or gh/org/*"
            )
        if value.startswith("git/") and not value.startswith(("git/https://", "git/*")):
            raise ValueError(
                "it must be git/ and the URL with https, whichever URL a link has, as git/https://git.example/org/repo"
            )
        return value.rstrip("/").removesuffix(".git")

    @field_validator("directory", "prefix")
    @classmethod
    def _check_directory(cls, value: str) -> str:
        path = value.removesuffix("/")
        is_plain = all(part not in ("", ".", "..") for part in path.split("/")) and path.isprintable()
        if len(path) > _MOST_DIRECTORY or (path and not is_plain) or value == "/":
            raise ValueError(
                "it must be a path without a slash at its start, . or .., control characters, and of up to"
                f" {_MOST_DIRECTORY} characters, as in work/book; without it, all is meant"
            )
        return path
