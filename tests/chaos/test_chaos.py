"""A service on an engine of its own, during one fault after the other: nothing is lost, given twice or left behind.

Each fault is a test of its own, in the order and at the moments of the seed; those of one kind share one service.
``scripts/chaos`` does the same with all faults, other seeds and more kinds, for as long as one likes.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.faults import FAULTS
from tests.chaos.own_engine import OwnEngine, own_engine
from tests.chaos.schedule import Step, steps
from tests.chaos.world import World, world
from tests.conftest import Figure

pytestmark = [pytest.mark.engine, pytest.mark.chaos, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

SEED = 20

CHOSEN = {
    "plain": [
        "engine killed, live-restore",
        "engine killed",
        "engine stopped (SIGSTOP)",
        "engine's disk full",
        "containerd killed",
        "shim killed",
        "warm ones die while the engine is silent",
        "engine breaks off answers",
        "engine denies what lives",
        "docker rename",
        "docker pause",
        "docker stop, start",
        "state directory full",
        "ledger from a backup",
        "service killed at any moment",
        "service stopped (SIGSTOP)",
    ],
    # Two pools, one of them on an internal bridge, and a host name for each notebook.
    "mixed": [
        "engine killed, live-restore",
        "engine hangs",
        "engine lists half",
        "docker rm",
        "docker restart, a warm one",
    ],
}
STEPS = [(kind, step) for kind, names in CHOSEN.items() for step in steps(SEED, [FAULTS[name] for name in names])]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[OwnEngine]:
    async with own_engine() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(
    engine: OwnEngine, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("chaos"), engine, request.param, SEED) as made:
        yield made


@pytest.mark.parametrize(
    ("place", "step"),
    [pytest.param(kind, step, id=f"{kind}-{step.fault.name}") for kind, step in STEPS],
    indirect=["place"],
    scope="module",
)
async def test_a_fault(place: World, step: Step, figure: Figure) -> None:
    await asyncio.sleep(step.quiet)
    outcome = await place.endure(step.fault, step.seconds)
    name = step.fault.name if place.kind.name == "plain" else f"{step.fault.name} ({place.kind.name})"
    figure(f"{name}: lost", len(outcome.lost), "sessions")
    figure(f"{name}: given twice", len(outcome.twice), "notebooks")
    figure(f"{name}: leaked", len(outcome.leaked), "things")
    if outcome.known is not None and outcome.must_be_known:
        figure(f"{name}: known", outcome.known, "s")
    if outcome.full is not None:
        figure(f"{name}: full again", outcome.full, "s")
    assert not outcome.faults(), "\n".join([outcome.line(), *outcome.faults(), outcome.words, *outcome.log])
