"""Converts the settings into what the pools, the core and the backends take. ``app`` passes the rest on."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import NamedTuple

from tmppool.backends import BackendKind
from tmppool.backends.base import DEFAULT_COMMAND, Spec
from tmppool.config import Settings
from tmppool.errors import ConfigError
from tmppool.policy import Limits
from tmppool.pool_settings import PoolSettings
from tmppool.proxy import forwarded, target
from tmppool.proxy.forwarded import is_loopback

_LEAST_TOKEN = 16  # characters
_HTTP_PORT = 80
_SHORTEST_PREFIX = {4: 8, 6: 7}  # bits, of the largest private networks: 10.0.0.0/8 and fc00::/7
_LAUNCH = re.compile(r"/spawn(?=[/?]|$)")  # begins a launch link, as / does
_LOCAL_DOMAIN = re.compile(r"(?:^|\.)localhost(?::\d+)?$")  # always loopback (RFC 6761 section 6.3)


class Exposure(NamedTuple):
    """A setting that admits others than this machine's user; ``allowed``: the advice on its value."""

    option: str
    value: str
    allowed: str


def public_ip(settings: Settings, kind: BackendKind) -> str | None:
    """Return the address of the public listener, None for all. Raises ConfigError like ``check_processes``."""
    if not kind.is_local_only:
        return settings.ip
    check_processes(settings)
    return settings.ip or "127.0.0.1"


def exposures(settings: Settings) -> Iterator[Exposure]:
    """Yield each setting that admits others than this machine's user."""
    if settings.ip is not None and not is_loopback(settings.ip):
        yield Exposure("--ip", settings.ip, "it must be a loopback address such as 127.0.0.1")
    if not is_loopback(settings.admin_ip):
        yield Exposure("--admin-ip", settings.admin_ip, "it must be a loopback address such as 127.0.0.1")
    if settings.public_url is not None:
        yield Exposure("--public-url", settings.public_url, "it must be left out")
    if settings.trusted_proxies:
        yield Exposure("--trusted-proxies", ",".join(settings.trusted_proxies), "it must be left out")
    domain = settings.domain_per_notebook
    if domain is not None and not _LOCAL_DOMAIN.search(domain):
        yield Exposure("--domain-per-notebook", domain, "it must be below localhost, as in nb.localhost:8000")
    elif domain is not None and _port_of(domain) != settings.port:
        # The URL with the secret would lead to whoever listens at the other port.
        advice = f"it must have the service's own port, as in nb.localhost:{settings.port}"
        yield Exposure("--domain-per-notebook", domain, advice)


def check_processes(settings: Settings) -> None:
    """Raise ConfigError for a setting that would let others reach notebooks that are processes."""
    for option, value, allowed in exposures(settings):
        raise ConfigError(
            f"{option}: {value!r} is not allowed: notebooks here are processes without isolation, for this machine's"
            f" own user only, so {allowed}; start a Docker Engine to serve other people"
        )
    if settings.api_auth_token is not None and len(settings.api_auth_token.get_secret_value()) < _LEAST_TOKEN:
        raise ConfigError(
            f"API_AUTH_TOKEN: it has fewer than {_LEAST_TOKEN} characters, which is not allowed when notebooks are"
            " processes: it is all that keeps out other users of this machine"
        )


def on_exit(settings: Settings, kind: BackendKind) -> str:
    """Return what happens to notebooks when the service ends: stop or keep."""
    return settings.on_exit or ("stop" if kind.ends_with_service else "keep")


def check_admin(settings: Settings) -> None:
    """Raise ConfigError for an admin listener that others can reach without a long token."""
    if is_loopback(settings.admin_ip):
        return
    if settings.admin_auth_token is None:
        raise ConfigError(
            f"--admin-ip: {settings.admin_ip!r} is not allowed without a token: set ADMIN_AUTH_TOKEN, or use 127.0.0.1"
        )
    if len(settings.admin_auth_token.get_secret_value()) < _LEAST_TOKEN:
        raise ConfigError(
            f"ADMIN_AUTH_TOKEN: it has fewer than {_LEAST_TOKEN} characters, which is not allowed when others can reach"
            f" the admin listener (--admin-ip {settings.admin_ip}); use a longer one, or 127.0.0.1"
        )


def check_landings(settings: Settings) -> None:
    """Raise ConfigError for a path that ``/`` should open and that would be refused when a browser asks for it."""
    for name, pool in wanted_pools(settings).items():
        if pool.redirect_uri is not None:
            option = "--redirect-uri" if name == settings.pool_name else f"redirect_uri of pool {name}"
            check_landing(option, pool.redirect_uri)


def check_landing(option: str, path: str) -> None:
    """Raise ConfigError, in which ``option`` is named, for a path that would be refused when it is asked for."""
    raw = path.encode(errors="surrogatepass")
    if _LAUNCH.match(path):
        raise ConfigError(
            f"{option}: {path!r} is not allowed: /spawn is the service's own, so it must be a path in a notebook, as in"
            f" /{_LAUNCH.sub('', path, count=1).lstrip('/') or 'lab'}"
        )
    if target.is_accepted(raw):
        return
    meant = target.correct(raw)
    example = "as in /lab/tree/a%20b.ipynb" if meant is None else f"as in {meant.decode()}"
    raise ConfigError(
        f"{option}: {path!r} is not allowed: it must be a path as browsers send it, percent-encoded, without # and"
        f" without . or .. as a segment, {example}"
    )


def check_knock(option: str, path: str | None) -> None:
    """Raise ConfigError, in which ``option`` is named, unless this is a path below a notebook's base path, or None."""
    raw = b"/" + (path or "").encode(errors="surrogatepass")
    if "://" in (path or "").partition("?")[0] or not target.is_accepted(raw):
        raise ConfigError(
            f"{option}: {path!r} is not allowed: it must be a path below the base path, percent-encoded, without # and"
            " without . or .. as a segment, as in /healthz"
        )


def boundless_proxies(settings: Settings) -> Iterator[str]:
    """Yield each network of trusted proxies that visitors from the internet are in too, neighbouring ones as one."""
    for version in (4, 6):
        networks = [network for network in forwarded.networks(settings.trusted_proxies) if network.version == version]
        for network in ipaddress.collapse_addresses(networks):  # type: ignore[type-var]  # all of one version
            if network.prefixlen < _SHORTEST_PREFIX[version]:
                yield str(network)


def check_uids(settings: Settings) -> None:
    """Raise ConfigError for a UID range that is too small for all the pools that share it."""
    unique = {name: pool for name, pool in wanted_pools(settings).items() if pool.container_user is None}
    for name, pool in unique.items():
        option = "--container-uids" if name == settings.pool_name else f"container_uids of pool {name}"
        needed = sum(other.pool_size for other in unique.values() if _overlap(pool.uids, other.uids))
        if needed > len(pool.uids):
            raise ConfigError(
                f"{option}: {pool.container_uids!r} is not allowed: it has {len(pool.uids)} UIDs for the"
                f" {needed} notebooks of the pools that share it"
            )


def _overlap(one: range, other: range) -> bool:
    return one[0] <= other[-1] and other[0] <= one[-1]


def wanted_pools(settings: Settings) -> dict[str, PoolSettings]:
    """Return the settings of every pool by its name, the default pool first."""
    return {settings.pool_name: settings, **settings.pools}


def limits(wanted: PoolSettings) -> Limits:
    """Return the limits of a pool: how many notebooks, and for how long."""
    return Limits(
        capacity=wanted.pool_size,
        warm=wanted.warm_target,
        idle=wanted.cull_timeout,
        lifetime=wanted.cull_max,
        parallel_starts=wanted.parallel_starts,
        unopened=wanted.open_timeout,
    )


def notebooks_per_address(settings: Settings, kind: BackendKind) -> int | None:
    """Return how many notebooks of a pool one client address may hold: 0 for any number, None for a share of the pool.

    Without the setting there is no limit where an address says nothing about a visitor: behind the lock there is only
    one, and an operator who lifts the limit on starts says that many come from one address.
    """
    if settings.notebooks_per_address is None and (kind.is_local_only or not settings.starts_per_hour):
        return 0
    return settings.notebooks_per_address


SETTING_OF = {
    "port": "container_port",
    "user": "container_user",
    "memory": "mem_limit",
    "pids": "pids_limit",
    "nofile": "nofile_limit",
    "memlock": "memlock_limit",
    "sigpending": "sigpending_limit",
    "binds": "host_directories",
}
"""The setting of each field of Spec with another name: the settings keep the names of tmpnb and Docker."""


def spec(service_name: str, pool_name: str, wanted: PoolSettings) -> Spec:
    """Return the spec of one pool's notebooks: every field of Spec is a setting of the pool."""
    names = [field.name for field in fields(Spec) if field.name not in ("service", "pool", "command")]
    given = {name: getattr(wanted, SETTING_OF.get(name, name)) for name in names}
    return Spec(service=service_name, pool=pool_name, command=wanted.command or DEFAULT_COMMAND, **given)


def default_spec(pool_name: str) -> Spec:
    """Return the spec of a pool with default settings, without a service."""
    return spec("", pool_name, PoolSettings())


def cors(settings: Settings) -> dict[str, str]:
    """Return the headers that let pages of other origins read answers (Fetch Standard, CORS protocol)."""
    names = {
        "Origin": settings.allow_origin,
        "Credentials": settings.allow_credentials,
        "Methods": settings.allow_methods,
        "Headers": settings.allow_headers,
    }
    headers = {f"Access-Control-Allow-{name}": value for name, value in names.items() if value}
    if settings.expose_headers:
        headers["Access-Control-Expose-Headers"] = settings.expose_headers
    if settings.max_age is not None:
        headers["Access-Control-Max-Age"] = str(settings.max_age)
    return headers


def url(settings: Settings, kind: BackendKind, ip: str | None) -> str:
    """Return the URL of the launch pages, without a trailing slash."""
    if kind.is_local_only and settings.domain_per_notebook is not None:
        return f"http://{settings.domain_per_notebook}"  # as in links from notebooks: cookies are per host
    return settings.public_url or f"http://{'127.0.0.1' if ip is None else bracketed(ip)}:{settings.port}"


def _port_of(domain: str) -> int:
    """Return the port in a domain that was validated; that of http if there is none."""
    port = domain.rpartition(":")[2]
    return int(port) if port.isdigit() else _HTTP_PORT


def bracketed(ip: str) -> str:
    """Return an address for a URL, an IPv6 one in brackets (RFC 3986 section 3.2.2)."""
    return f"[{ip}]" if ":" in ip else ip
