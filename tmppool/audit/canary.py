"""The canary: a container configured like a notebook's that runs the probes instead of Jupyter, and is removed.

It has the service's label but no pool's, so it is never listed as a notebook. The targets that it must not reach are
real listeners: a socket on every address of this machine, and another container on its network.
"""

import asyncio
import contextlib
import importlib.resources
import ipaddress
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import psutil

from tmppool.audit import expectations
from tmppool.audit.expectations import CANARY, Target
from tmppool.backends import engine
from tmppool.backends.auditable import Auditable
from tmppool.backends.base import Spec
from tmppool.backends.container import CANARY_LABEL, SERVICE_LABEL, network_name
from tmppool.errors import BackendError
from tmppool.tasks import completed

RUN_TIMEOUT = 30.0  # seconds for all probes, which usually take one

_QUOTED = 200  # characters of what an image said that a result quotes
_NEIGHBOUR_PORT = 8888
_NEIGHBOUR_WAIT = 10.0  # seconds for the neighbour to listen
_NEIGHBOUR_PAUSE = 0.02  # seconds between two attempts
_ENGINE_PORTS = (22, 2375, 2376)
_ROOMS = ("outcome", "privileges", "calls", "files", "limits", "network", "run")
_PACKAGE = "tmppool.audit.inside"
# Creates the package from its sources, as its files are not in the container.
_LOADER = """
import json, sys, types
for name, text in json.loads(sys.argv[1]):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    exec(compile(text, name, "exec"), module.__dict__)
module.main(json.loads(sys.argv[2]))
"""
_LISTEN = """
import socket, sys
with socket.create_server(("", int(sys.argv[1]))) as server:
    while True:
        server.accept()[0].close()
"""


Start = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one probe: ``held`` is True if it passed; ``seen`` is the observation."""

    name: str
    held: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Canary:
    """The probes' results, and the engine's answer to ContainerInspect."""

    results: tuple[Result, ...]
    shown: dict[str, Any]


def probed_part(spec: Spec) -> Spec:
    """Return the part of a spec that affects the probes. Pools with the same part share a canary."""
    return replace(spec, pool="", command="", start_timeout=0.0)


async def sweep(docker: engine.Client, service: str) -> None:
    """Remove the canaries of a service that was killed. Raises BackendError."""
    for container in await engine.containers(docker, [f"{SERVICE_LABEL}={service}", CANARY_LABEL]):
        await engine.remove(docker, container.id)


async def run(backend: Auditable, ports: Iterable[int] = ()) -> Canary:
    """Run the probes in a container of this open backend. A failure of engine or image is a result, not an exception.

    ``ports``: the service's own ports, which a notebook must not reach either.
    """
    try:
        # The removal of the containers has its own timeout.
        async with _containers(backend) as start, asyncio.timeout(RUN_TIMEOUT), _beacon() as beacon:
            targets = await _targets(start, backend, (beacon, *ports))
            return await _probe(start, backend, targets)
    except TimeoutError:
        return _failed(f"the probes did not finish within {RUN_TIMEOUT:.0f} s")
    except BackendError as error:
        return _failed(error.said if isinstance(error, engine.RefusedError) else str(error))


def _failed(seen: str, *others: Result, shown: dict[str, Any] | None = None) -> Canary:
    return Canary((*others, Result(CANARY, False, engine.one_line(seen))), shown or {})


async def _probe(start: Start, backend: Auditable, targets: dict[str, tuple[Target, ...]]) -> Canary:
    facts = json.dumps(expectations.facts(backend.spec, backend.image.home_at, targets))
    container = await start(_LOADER, await asyncio.to_thread(_sources), facts)
    await engine.wait(backend.docker, container)
    results, other = parse(await engine.log(container))
    shown = await engine.inspect(backend.docker, container.id)
    if any(result.name == CANARY for result in results):
        return Canary(results, shown)
    with engine.reading("inspect a container"):
        code = shown["State"]["ExitCode"]
    quoted = engine.one_line(other, _QUOTED) or "no output"
    return _failed(f"python3 in the image exited with code {code} ({quoted})", *results, shown=shown)


def parse(log: str) -> tuple[tuple[Result, ...], str]:
    """Return the results in a canary's log, and the last line that is not a result."""
    results, other = [], ""
    for line in log.splitlines():
        try:
            said = json.loads(line)
            results.append(Result(str(said["name"]), said["held"] is True, engine.one_line(said["detail"])))
        except (ValueError, KeyError, TypeError):
            other = line
    return tuple(results), other


@contextlib.asynccontextmanager
async def _containers(backend: Auditable) -> AsyncIterator[Start]:
    """Yield a function that starts a notebook's container with ``python3 -c`` as its command; remove all at the end."""
    spec, names = backend.spec, list[str]()

    async def start(*words: str) -> Any:
        name = f"tmppool-{spec.service}-{CANARY}-{secrets.token_hex(4)}"
        # Ignores the image's variables and packages: faster, and uses only the standard library.
        config = backend.trial_config(name, ["python3", "-ISBc", *words])
        names.append(name)
        container = await engine.create(backend.docker, name, config)
        await engine.start(container)
        return container

    try:
        yield start
    finally:
        removals = [engine.remove(backend.docker, name) for name in names]
        await completed(_all(removals), "remove canaries")


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*work)


@cache
def _sources() -> str:
    folder = importlib.resources.files(_PACKAGE)
    modules = [(f"{_PACKAGE}.{room}", folder.joinpath(f"{room}.py").read_text(encoding="utf-8")) for room in _ROOMS]
    return json.dumps([*((name, "") for name in ("tmppool", "tmppool.audit", _PACKAGE)), *modules])


# Targets that it must not reach


@contextlib.asynccontextmanager
async def _beacon() -> AsyncIterator[int]:
    """Listen on every address of this machine during the block; yield the port."""
    sock = (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        if socket.has_dualstack_ipv6()
        else socket.create_server(("", 0))
    )
    server = await asyncio.start_server(_hang_up, sock=sock)
    try:
        yield int(sock.getsockname()[1])
    finally:
        server.close()


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _targets(start: Start, backend: Auditable, ports: tuple[int, ...]) -> dict[str, tuple[Target, ...]]:
    found = {"metadata": expectations.METADATA, "outside": expectations.OUTSIDE}
    gateways: set[str] = set()
    if backend.spec.network != "none":
        gateways = await _gateways(backend)
        found["gateway"] = tuple((address, port) for address in gateways for port in (*ports, *_ENGINE_PORTS))
        found["neighbour"] = (await _neighbour(start, backend),)
    hosts = await asyncio.to_thread(_addresses)
    found["host"] = tuple((address, port) for address in hosts - gateways for port in ports)
    return {name: found[name] for name in expectations.TARGETS[backend.spec.network]}


def _addresses() -> set[str]:
    """Return this machine's reachable addresses; not link-local ones, which need an interface name."""
    found = (each for interface in psutil.net_if_addrs().values() for each in interface)
    every = (each.address for each in found if each.family in (socket.AF_INET, socket.AF_INET6))
    parsed = (ipaddress.ip_address(address) for address in every if "%" not in address)
    return {str(address) for address in parsed if not address.is_loopback and not address.is_link_local}


async def _gateways(backend: Auditable) -> set[str]:
    name = network_name(backend.spec)
    shown = await engine.network(backend.docker, name)
    found = set()
    with engine.reading("inspect a network"):
        for config in shown["IPAM"]["Config"] or ():
            first = str(next(ipaddress.ip_network(config["Subnet"]).hosts()))
            found.add(config.get("Gateway", first).partition("/")[0])
    return found


async def _neighbour(start: Start, backend: Auditable) -> Target:
    """Start another container on the network; return its address once this machine has connected to it."""
    network = network_name(backend.spec)
    container = await start(_LISTEN, str(_NEIGHBOUR_PORT))
    shown = await engine.inspect(backend.docker, container.id)
    with engine.reading("inspect a container"):
        address = str(shown["NetworkSettings"]["Networks"][network]["IPAddress"])
    try:
        async with asyncio.timeout(_NEIGHBOUR_WAIT):
            while not await _accepts(address, _NEIGHBOUR_PORT):
                await asyncio.sleep(_NEIGHBOUR_PAUSE)
    except TimeoutError as error:
        raise BackendError(f"a container at {address} on network {network} did not answer") from error
    return address, _NEIGHBOUR_PORT


async def _accepts(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True
