"""The health of the service: a word for each check to the public, and the reason too for the operator."""

from collections.abc import Iterable

from tmppool.errors import Shortage
from tmppool.pool import Pool
from tmppool.web import models


def for_public(pools: Iterable[Pool], *, is_durable: bool) -> models.Health:
    """Return all checks without reasons: what the engine says names images, paths and hosts."""
    checks = [
        models.Check(service=check.service, ok=check.ok, state="healthy" if check.ok else "degraded")
        for check in _checks(pools)
    ]
    return models.Health(ok=all(check.ok for check in checks), checks=[*checks, _ledger(is_durable=is_durable)])


def for_operator(pools: Iterable[Pool], *, is_durable: bool) -> models.HealthReport:
    """Return all checks with their reasons."""
    checks = _checks(pools)
    return models.HealthReport(ok=all(check.ok for check in checks), checks=[*checks, _ledger(is_durable=is_durable)])


def _checks(pools: Iterable[Pool]) -> list[models.DetailedCheck]:
    return [check for pool in pools for check in _checks_of(pool)]


def _checks_of(pool: Pool) -> list[models.DetailedCheck]:
    trouble, illness = _trouble_of(pool), pool.illness
    return [
        models.DetailedCheck(service=f"pool {pool.name}", ok=not trouble, message=trouble),
        models.DetailedCheck(
            service=f"backend of {pool.name}", ok=illness is None, message="" if illness is None else illness.error
        ),
    ]


def _trouble_of(pool: Pool) -> str:
    """Return what keeps visitors from notebooks of the pool, except that all are in use; empty if nothing does."""
    if pool.starts.trouble is not None:
        return pool.starts.trouble.error
    if pool.shortage is not Shortage.FULL or not pool.stuck:
        return ""
    why = next(iter(pool.stuck.values()))
    return f"places are held by notebooks that have ended and could not be stopped ({len(pool.stuck)}): {why}"


def _ledger(*, is_durable: bool) -> models.Advisory:
    return models.Advisory(service="ledger", ok=is_durable)
