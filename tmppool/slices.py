"""From the settings to each room's own small slice: what a setting means is said here, once."""

from tmppool.backends.base import DEFAULT_COMMAND, Spec
from tmppool.config import Settings
from tmppool.errors import ConfigError
from tmppool.policy import Limits
from tmppool.pool_settings import PoolSettings
from tmppool.proxy.forwarded import is_loopback

_LEAST_TOKEN = 16  # characters
_MAX_UID = 2**31 - 1  # of the engine's runtime, opencontainers/runc libcontainer/user


def public_ip(settings: Settings, kind: str) -> str | None:
    if kind != "process":
        return settings.ip
    if settings.ip is not None and not is_loopback(settings.ip):
        raise ConfigError(
            f"--ip: {settings.ip!r} is not allowed: notebooks here are processes without isolation,"
            " which only this machine may reach (127.0.0.1); start a Docker Engine to serve others"
        )
    return settings.ip or "127.0.0.1"


def check_admin(settings: Settings) -> None:
    if is_loopback(settings.admin_ip):
        return
    if settings.admin_auth_token is None:
        raise ConfigError(
            f"--admin-ip: {settings.admin_ip!r} is not allowed without a token: set ADMIN_AUTH_TOKEN, or use 127.0.0.1"
        )
    if len(settings.admin_auth_token.get_secret_value()) < _LEAST_TOKEN:
        raise ConfigError(
            f"ADMIN_AUTH_TOKEN: it has fewer than {_LEAST_TOKEN} characters, which is not allowed where others reach"
            f" the admin listener (--admin-ip {settings.admin_ip}); use a longer one, or 127.0.0.1"
        )


def check_uids(settings: Settings) -> None:
    """Refuse a range of user numbers that is too small for all the pools that take theirs from it."""
    unique = {name: pool for name, pool in wanted_pools(settings).items() if pool.container_user is None}
    for name, pool in unique.items():
        option = "--container-uids" if name == settings.pool_name else f"container_uids of pool {name}"
        if pool.uids[-1] > _MAX_UID:
            raise ConfigError(
                f"{option}: {pool.container_uids!r} is not allowed: engines know numbers up to {_MAX_UID}"
            )
        needed = sum(other.pool_size for other in unique.values() if _overlap(pool.uids, other.uids))
        if needed > len(pool.uids):
            raise ConfigError(
                f"{option}: {pool.container_uids!r} is not allowed: there are {len(pool.uids)} numbers for the"
                f" {needed} notebooks that may take one of them"
            )


def _overlap(one: range, other: range) -> bool:
    return one[0] <= other[-1] and other[0] <= one[-1]


def wanted_pools(settings: Settings) -> dict[str, PoolSettings]:
    return {settings.pool_name: settings, **settings.pools}


def limits(wanted: PoolSettings) -> Limits:
    return Limits(
        capacity=wanted.pool_size,
        warm=wanted.warm_target,
        idle=wanted.cull_timeout,
        lifetime=wanted.cull_max,
        parallel_starts=wanted.parallel_starts,
    )


def spec(service_name: str, pool_name: str, wanted: PoolSettings) -> Spec:
    return Spec(
        service=service_name,
        pool=pool_name,
        image=wanted.image,
        command=wanted.command or DEFAULT_COMMAND,
        port=wanted.container_port,
        user=wanted.container_user,
        uids=wanted.uids,
        network=wanted.network,
        memory=wanted.mem_limit,
        cpu_quota=wanted.cpu_quota,
        cpu_shares=wanted.cpu_shares,
        pids=wanted.pids_limit,
        nofile=wanted.nofile_limit,
        memlock=wanted.memlock_limit,
        sigpending=wanted.sigpending_limit,
        home_size=wanted.home_size,
        home_inodes=wanted.home_inodes,
        tmp_size=wanted.tmp_size,
        tmp_inodes=wanted.tmp_inodes,
        shm_size=wanted.shm_size,
        log_size=wanted.log_size,
        oom_score=wanted.oom_score,
        seccomp=wanted.seccomp,
        runtime=wanted.runtime,
        start_timeout=wanted.start_timeout,
        binds=wanted.host_directories,
        extra_hosts=wanted.extra_hosts,
    )


def cors(settings: Settings) -> dict[str, str]:
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


def bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
