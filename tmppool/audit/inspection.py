"""``tmppool audit``: run every rule and every probe for the configured pools."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from tmppool.audit import cis, engine_rules, expectations, machine, settings_rules, startup
from tmppool.audit.canary import Canary
from tmppool.audit.cis import Containers
from tmppool.audit.expectations import CANARY
from tmppool.audit.machine_sums import RISKS, Planned
from tmppool.audit.rule import Check, Severity, Status
from tmppool.audit.settings_rules import Deployment
from tmppool.audit.startup import PoolInForce
from tmppool.backends import container_dial, container_limits, engine, image_home
from tmppool.backends.auditable import Auditable
from tmppool.backends.base import Spec
from tmppool.backends.container import KEY_LABEL, labels
from tmppool.backends.docker import DockerBackend

_REMEDY = "Assign no notebook until this holds, or accept it with --accept-risk."
_FIREWALL = "Let the host's firewall drop what the bridge sends, or serve as root with --network=none."
_REMEDIES = {
    "reach-gateway": _FIREWALL,
    "reach-host": _FIREWALL,
    "host-socket": "Take it out of --host-directories.",
    CANARY: "Build the image with python3 in its PATH, and see that the engine is well.",
}
_BY_CHOICE = "It is allowed by the settings: change --network or --seccomp."


async def inspect(
    pools: Sequence[Planned], accepted: Sequence[str], ports: Sequence[int], admin_ip: str
) -> list[Check]:
    """Return every check. ``ports``: the service's own.

    Raises ImageError for a missing image, BackendError when the engine fails or refuses the settings.
    """
    if not await engine.answers():
        return _without_engine(pools, admin_ip)
    async with contextlib.AsyncExitStack() as stack:
        await _leave_no_volumes(stack, pools[0].spec.service)
        in_force = [PoolInForce(pool.name, pool.capacity, await _open(stack, pool.spec)) for pool in pools]
        docker = in_force[0].backend.docker
        facts = await machine.look(docker, dict.fromkeys(pool.spec.image for pool in pools))
        live = await _live(docker, pools)
        canaries = await startup.canaries(in_force, ports)
    shown = live or {f"canary of {spec.image}": canary.shown for spec, canary in canaries if canary.shown}
    current = frozenset(str(image.get("Id", "")) for image in facts.images.values())
    homes = {pool.backend.spec.image: pool.backend.image for pool in in_force}
    deployment = Deployment(tuple(pool.planned for pool in in_force), facts, admin_ip, homes)
    checks = [
        Check("engine-answers", "engine", Status.PASS, Severity.HIGH, facts.engine_at, ""),
        *(rule.check(facts) for rule in engine_rules.RULES),
        *(rule.check(deployment) for rule in settings_rules.RULES),
        *(rule.check(Containers(shown, current, facts.info)) for rule in cis.RULES),
        *probe_checks(canaries),
    ]
    return [_waived(check) if check.id in accepted else check for check in checks]


def _without_engine(pools: Sequence[Planned], admin_ip: str) -> list[Check]:
    nothing = machine.Facts()
    return [
        Check(
            "engine-answers", "engine", Status.FAIL, Severity.HIGH,
            "no Docker Engine answers: nothing about containers can be checked", "Start one, as scripts/engine does.",
        ),
        *(rule.check(nothing) for rule in engine_rules.RULES),
        *(rule.check(Deployment(tuple(pools), nothing, admin_ip)) for rule in settings_rules.RULES),
        *(rule.check(Containers()) for rule in cis.RULES),
        *(_unknown_probe(name) for name in sorted(expectations.names())),
    ]  # fmt: skip


async def _leave_no_volumes(stack: contextlib.AsyncExitStack, service: str) -> None:
    """Remove the volumes that the audit makes when it ends; those of a service that runs stay."""
    stack.push_async_callback(image_home.clear, service, await image_home.present(service))


async def _open(stack: contextlib.AsyncExitStack, spec: Spec) -> Auditable:
    backend = DockerBackend(spec)
    stack.push_async_callback(backend.close)
    await backend.open()
    return backend


async def _live(docker: engine.Client, pools: Iterable[Planned]) -> dict[str, dict[str, Any]]:
    """Return ContainerInspect's answers for the running notebooks, by the container's short id."""
    found = {}
    for pool in pools:
        ours = [f"{name}={value}" for name, value in labels(pool.spec).items()]
        for container in await engine.containers(docker, [*ours, KEY_LABEL]):
            try:
                shown = await container_dial.show(docker, container.id)
            except container_dial.GoneError:  # ended meanwhile
                continue
            with engine.reading("inspect a container"):
                if shown["State"]["Running"]:
                    found[container.id[:12]] = shown
    return found


def probe_checks(canaries: Iterable[tuple[Spec, Canary]]) -> list[Check]:
    """Return one check per probe, with the worst result of all canaries. A probe that did not run is unknown."""
    found: dict[str, Check] = {}
    for spec, canary in canaries:
        for result in canary.results:
            if result.name in found and found[result.name].status is Status.FAIL:
                continue
            status = Status.PASS if result.held else Status.FAIL
            is_choice = expectations.is_choice(spec, result.name)
            severity = Severity.MEDIUM if is_choice and result.name != "reach-metadata" else _severity(result.name)
            remedy = _BY_CHOICE if is_choice else _REMEDIES.get(result.name, _REMEDY)
            found[result.name] = Check(result.name, "probes", status, severity, result.seen, remedy)
        if any(result.name == CANARY and not result.held for result in canary.results):
            for name in expectations.names(spec.network) - found.keys():
                found[name] = _unknown_probe(name)
    return list(found.values())


def _severity(name: str) -> Severity:
    return Severity.HIGH if name == CANARY or name in container_limits.PROBES else Severity.CRITICAL


def _unknown_probe(name: str) -> Check:
    return Check(name, "probes", Status.UNKNOWN, _severity(name), "the probe could not run", _REMEDY)


def _waived(check: Check) -> Check:
    """Return a failed check named by ``--accept-risk`` as waived; only probes and RISKS can be waived."""
    if check.status is not Status.FAIL or (check.group != "probes" and check.id not in RISKS):
        return check
    seen = f"accepted by --accept-risk: {check.seen}"
    return Check(check.id, check.group, Status.WAIVED, check.severity, seen, check.remedy)
