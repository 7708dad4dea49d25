"""The checks before the service starts: the limits must fit the machine, and the probes in a container must pass.

``--accept-risk`` names failed checks that do not prevent the start; each is logged at every start.
"""

import asyncio
import difflib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from tmppool.audit import canary, expectations, machine, machine_sums
from tmppool.audit.canary import Canary
from tmppool.audit.machine_sums import Planned
from tmppool.backends import image_home
from tmppool.backends.auditable import Auditable
from tmppool.backends.base import Spec
from tmppool.errors import ConfigError
from tmppool.pools import Pools

_DETAILS = 4  # failed probes that are reported with details; the others are only named

_log = structlog.get_logger("tmppool.audit")


@dataclass(frozen=True, slots=True)
class PoolInForce:
    """A pool whose backend is open, so that its spec has the network mode in use."""

    name: str
    capacity: int
    backend: Auditable

    @property
    def planned(self) -> Planned:
        return Planned(self.name, self.capacity, self.backend.spec)


def check_risks(accepted: Iterable[str]) -> None:
    """Raise ConfigError for a name that is neither a probe nor one of RISKS."""
    known = sorted({*expectations.names(), *machine_sums.RISKS})
    for name in accepted:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else "`tmppool audit --json` lists them"
            raise ConfigError(f"--accept-risk: {name!r} is not a start-up probe; {hint}")


async def prove(pools: Pools, accepted: Sequence[str], ports: Sequence[int]) -> None:
    """Raise ConfigError unless the limits fit the machine and every probe passes, or the risk is accepted.

    ``pools`` are open; pools without containers are not checked. ``ports``: the service's own, which no notebook may
    reach. Raises BackendError if the engine does not answer.
    """
    in_force = [
        PoolInForce(pool.name, pool.limits.capacity, pool.backend)
        for pool in pools
        if isinstance(pool.backend, Auditable)
    ]
    if not in_force:
        return
    began = time.monotonic()
    facts = await machine.look(in_force[0].backend.docker)
    await canary.sweep(in_force[0].backend.docker, in_force[0].backend.spec.service)
    for pool in in_force:
        await image_home.sweep(pool.backend.docker, pool.backend.spec, (pool.backend.image.volume,))
    _check_sums([pool.planned for pool in in_force], facts.sums, accepted)
    await _check_probes(in_force, accepted, ports)
    _log.info("probes.finished", seconds=round(time.monotonic() - began, 2))


def _check_sums(planned: Sequence[Planned], has: machine_sums.Machine, accepted: Sequence[str]) -> None:
    found = {
        machine_sums.PIDS: machine_sums.pids(planned, has),
        machine_sums.MEMORY: machine_sums.memory_of_one(planned, has),
    }
    _refuse(
        {name: said for name, said in found.items() if said},
        accepted,
        "the limits add up to more than this machine has",
    )
    if over := machine_sums.memory_of_all(planned, has):
        _log.warning("memory.overcommitted", message=over)


async def _check_probes(pools: Sequence[PoolInForce], accepted: Sequence[str], ports: Sequence[int]) -> None:
    failed: dict[str, str] = {}
    for spec, seen in await canaries(pools, ports):
        for result in seen.results:
            if result.held:
                continue
            if expectations.is_choice(spec, result.name):
                _log.warning("probe.waived", probe=result.name, seen=result.seen, message="allowed by the settings")
            else:
                failed.setdefault(result.name, result.seen)
    _refuse(failed, accepted, "start-up probes inside a container failed")


async def canaries(pools: Sequence[PoolInForce], ports: Sequence[int]) -> list[tuple[Spec, Canary]]:
    """Run one canary per distinct image and limits; pools with the same ones share it."""
    distinct = {canary.probed_part(pool.backend.spec): pool.backend for pool in pools}
    return list(
        zip(distinct, await asyncio.gather(*(canary.run(backend, ports) for backend in distinct.values())), strict=True)
    )


def _refuse(failed: dict[str, str], accepted: Sequence[str], what: str) -> None:
    """Raise one ConfigError for all failures that are not accepted; log those that are."""
    for name in sorted(set(accepted) & set(failed)):
        _log.warning("risk.accepted", risk=name, seen=failed[name])
    left = {name: seen for name, seen in failed.items() if name not in accepted}
    if not left:
        return
    told = [f"{name} ({seen})" for name, seen in list(left.items())[:_DETAILS]]
    named = ", ".join([*told, *list(left)[_DETAILS:]])
    raise ConfigError(
        f"{what}: {named}; run `tmppool audit` for details, or start anyway with --accept-risk={','.join(left)}"
    )
