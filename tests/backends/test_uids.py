"""One number for each container of an engine: what is used is known from labels and from what starts now."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiodocker
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.test_engine import SmallEngine, said
from tmppool.backends import uids
from tmppool.errors import BackendError, StartError

NUMBERS = range(500, 505)


class Labelled(SmallEngine):
    """An engine with containers that carry UIDs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.labels: list[str] = []
        self.answers["containers/json"] = self.list

    def list(self, request: web.Request) -> web.Response:
        name, _, value = json.loads(request.query["filters"])["label"][0].partition("=")
        found = [label for label in self.labels if not value or label == value]
        return said([{"Id": str(number), "Labels": {name: label}} for number, label in enumerate(found)])


@pytest.fixture
async def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Labelled]:
    monkeypatch.setattr(uids, "_taken", {})
    made = Labelled(tmp_path / "engine.sock")
    await made.open()
    monkeypatch.setenv("DOCKER_HOST", made.url)
    yield made
    await made.close()


async def test_a_number_that_a_container_has_is_not_taken(small: Labelled, docker: aiodocker.Docker) -> None:
    small.labels = ["500", "501", "503", "504"]
    assert await uids.take(docker, NUMBERS, "a") == 502


async def test_containers_of_every_service_count(small: Labelled, docker: aiodocker.Docker) -> None:
    await uids.take(docker, NUMBERS, "a")
    (query,) = [query for _, path, query in small.asked if path.endswith("/containers/json")]
    assert json.loads(query["filters"]) == {"label": ["tmppool.uid"]}
    assert query["all"] in ("1", "True", "true")


async def test_starts_at_the_same_time_never_get_one_number(docker: aiodocker.Docker) -> None:
    found = await asyncio.gather(*(uids.take(docker, NUMBERS, f"container {n}") for n in range(len(NUMBERS))))
    assert sorted(found) == list(NUMBERS)


async def test_when_all_are_in_use_it_is_said_with_the_setting(small: Labelled, docker: aiodocker.Docker) -> None:
    small.labels = ["500", "501", "502", "503"]
    await uids.take(docker, NUMBERS, "a")
    with pytest.raises(StartError) as caught:
        await uids.take(docker, NUMBERS, "b")
    assert str(caught.value) == "all 5 UIDs 500-504 (--container-uids) are in use on this engine"
    assert caught.value.transient


async def test_a_number_can_be_taken_again_once_it_is_given_back(small: Labelled, docker: aiodocker.Docker) -> None:
    small.labels = ["500", "501", "502", "503"]
    assert await uids.take(docker, NUMBERS, "a") == 504
    uids.give_back("a")
    assert await uids.take(docker, NUMBERS, "b") == 504


async def test_a_number_given_back_is_still_used_while_its_container_is_there(
    small: Labelled, docker: aiodocker.Docker
) -> None:
    number = await uids.take(docker, NUMBERS, "a")
    small.labels = [str(number)]
    uids.give_back("a")
    others = {await uids.take(docker, NUMBERS, name) for name in "bcde"}
    assert others == set(NUMBERS) - {number}


async def test_giving_back_what_was_never_taken_is_nothing() -> None:
    uids.give_back("nobody")


async def test_a_label_that_is_no_number_is_passed_over(small: Labelled, docker: aiodocker.Docker) -> None:
    small.labels = ["", "-5", "root", "500"]
    assert await uids.take(docker, range(500, 502), "a") == 501


@pytest.mark.parametrize(
    ("labels", "is_alone"), [([], True), (["501"], True), (["501", "7"], True), (["501"] * 2, False)]
)
async def test_whoever_sees_another_with_its_number_is_not_alone(
    small: Labelled,
    docker: aiodocker.Docker,
    labels: list[str],
    is_alone: bool,  # noqa: FBT001
) -> None:
    small.labels = labels
    assert await uids.is_alone(docker, 501) is is_alone


async def test_an_engine_that_cannot_list_is_a_backenderror(small: Labelled, docker: aiodocker.Docker) -> None:
    small.answers["containers/json"] = lambda _request: said({"message": "ill"}, 500)
    with pytest.raises(BackendError, match=r"ill$"):
        await uids.take(docker, NUMBERS, "a")


# Which one


@given(st.integers(1, 30), st.sets(st.integers(0, 40)))
def test_one_is_picked_exactly_when_one_is_free(size: int, used: set[int]) -> None:
    numbers = range(5, 5 + size)
    picked = uids.pick(numbers, used)
    free = set(numbers) - used
    assert picked in free if free else picked is None


def test_two_services_seldom_begin_with_the_same_number() -> None:
    picked = Counter(uids.pick(range(20_000, 30_000), ()) for _ in range(50))
    assert len(picked) > 40


def test_a_range_of_all_numbers_is_no_work() -> None:
    assert uids.pick(range(1, 2**31), {1, 2, 3}) not in {None, 1, 2, 3}
