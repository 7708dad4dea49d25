"""docs/architecture.md is true: its rooms, their arrows, and its walks, which are held against a traced request."""

import asyncio
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import uvloop

from tests.test_architecture import LAYER_OF, PACKAGE, arrows, modules
from tests.web.guests import Guest, Place, opened

DOCUMENT = (PACKAGE.parent / "docs/architecture.md").read_text()

Arrow = tuple[str, str]
Step = tuple[str, str]
"""A module, and the function in it by which a request enters."""

RETURNS = {"proxy.fairness": 2}
"""Rooms that a walk enters more than once, and how often: a connection has a turn for requests and one for responses."""


# The document, read


def block(name: str) -> list[str]:
    """Return the lines of the fenced block of this name that are not empty."""
    found = re.search(rf"^```{name}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no block ```{name}"
    return [line for line in found[1].splitlines() if line.strip()]


def drawn(lines: Iterable[str]) -> set[Arrow]:
    """Return the arrows of lines as ``room -> room, room``."""
    found = set()
    for line in lines:
        room, arrow, below = line.partition(" -> ")
        assert arrow, line
        found |= {(room.strip(), each.strip()) for each in below.split(",")}
    return found


def walk(lines: Iterable[str]) -> list[Step]:
    """Return the steps of lines as ``module  function  sentence``."""
    found = [tuple(re.split(r" {2,}", line.strip(), maxsplit=2)) for line in lines]
    assert all(len(parts) == 3 for parts in found), found
    return [(parts[0], parts[1]) for parts in found]


def table() -> dict[str, str]:
    """Return the sentence for each module that the document's tables hold, by dotted name."""
    rows = re.findall(r"^\| `([\w/]+)\.py` \| (.+) \|$", DOCUMENT, re.MULTILINE)
    assert len({name for name, _ in rows}) == len(rows), "a module stands twice"
    return {name.replace("/", "."): sentence for name, sentence in rows}


# The code, read


def room_arrows(package: Path) -> set[Arrow]:
    """Return which room imports from which, without what follows from the others (the transitive reduction)."""
    below: dict[str, set[str]] = {}
    for name, other in arrows(package):
        room, imported = name.split(".")[0], other.split(".")[0]
        if room != imported and "__init__" not in (room, imported):
            below.setdefault(room, set()).add(imported)

    def reached(room: str) -> set[str]:
        return set().union(*({each} | reached(each) for each in below.get(room, ())))

    return {
        (room, each)
        for room, rooms in below.items()
        for each in rooms
        if not any(each in reached(other) for other in rooms)
    }


# The walks, walked


class Trace:
    """The calls of tmppool's functions, in order. The notebook, which is a fake in this process, is not part of it."""

    def __init__(self) -> None:
        self.calls: list[Step] = []

    @contextmanager
    def on(self) -> Iterator[None]:
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _arg: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.suffix == ".py" and path.is_relative_to(PACKAGE):
            module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            caller = frame.f_back.f_code.co_filename if frame.f_back is not None else ""
            if module != "backends.fake" and not caller.endswith("backends/fake.py"):
                self.calls.append((module, frame.f_code.co_qualname))

    @property
    def rooms(self) -> list[str]:
        """Return each module once, in the order in which they were first entered."""
        return list(dict.fromkeys(module for module, _ in self.calls))


def faults(steps: list[Step], trace: Trace, returns: dict[str, int]) -> list[str]:
    """Return a sentence for each room of a walk that is wrong, missing or repeated."""
    rooms = [module for module, _ in steps]
    found = [f"{room} stands twice" for room in dict.fromkeys(rooms) if rooms.count(room) > 1]
    found += [f"{room} is missing" for room in trace.rooms if room not in rooms]
    found += [f"{room} is not entered" for room in rooms if room not in trace.rooms]
    if not found and rooms != trace.rooms:
        found = [f"the order is {', '.join(trace.rooms)}"]
    for module, function in steps:
        times, expected = trace.calls.count((module, function)), returns.get(module, 1)
        if times != expected:
            found.append(f"{module} is entered by {function} {times} times, not {expected}")
    return found


def as_it_is(trace: Trace) -> list[str]:
    """Return each room in order with its first function that is called once, else the first with its number of calls."""
    lines = []
    for room in trace.rooms:
        functions = [function for module, function in trace.calls if module == room]
        once = [function for function in functions if functions.count(function) == 1]
        lines.append(
            f"{room}  {once[0]}" if once else f"{room}  {functions[0]}  ({functions.count(functions[0])} times)"
        )
    return lines


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    """A request for a notebook's page, by its owner and by a stranger."""

    async def walk_all(monkeypatch: pytest.MonkeyPatch) -> dict[str, Trace]:
        async with opened(tmp_path_factory.mktemp("state"), monkeypatch) as place:
            path = (await place.program().post("/api/spawn")).json["url"] + "lab"
            return {
                "notebook": await traced(place, place.owner(), path, 200),
                "refusal": await traced(place, place.person(), path, 403),
            }

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(walk_all(monkeypatch))


async def traced(place: Place, guest: Guest, path: str, status: int) -> Trace:
    """GET a page four times on one connection; returns what one of the last three did.

    The first fills caches and dials. Of the others the one of the fewest calls is taken: a timer may have come between.
    What the ones before, and starts, have noted in the ledger is written first.
    """
    traces = []
    for _ in range(4):
        await place.ledger.flush()
        traces.append(Trace())
        with traces[-1].on():
            answer = await guest.get(path)
        assert answer.status == status
    return min(traces[1:], key=lambda trace: len(trace.calls))


# The document is true


def test_every_module_has_one_line_in_the_tables_and_no_other_has() -> None:
    named = {name for name in modules(PACKAGE) if not name.endswith("__init__")}
    assert named - set(table()) == set(), "modules without a line"
    assert set(table()) - named == set(), "lines without a module"


def test_every_line_is_a_plain_statement() -> None:
    asking = re.compile(r"(What|Who|Whom|Whose|Whether|Which|How|Where|When)\b")
    assert {name: line for name, line in table().items() if asking.match(line) or not line.endswith(".")} == {}


def test_the_drawn_arrows_are_those_of_the_code() -> None:
    said, real = drawn(block("rooms")), room_arrows(PACKAGE)
    assert real - said == set(), "not drawn"
    assert said - real == set(), "not in the code"


def test_every_room_is_drawn() -> None:
    assert {room for arrow in drawn(block("rooms")) for room in arrow} == set(LAYER_OF)


@pytest.mark.parametrize("name", ["notebook", "refusal"])
def test_a_request_passes_each_room_of_its_walk_once_and_in_order(name: str, traces: dict[str, Trace]) -> None:
    found = faults(walk(block(f"walk-{name}")), traces[name], RETURNS)
    assert not found, "\n".join([*found, "", "The walk as it is now:", *as_it_is(traces[name])])


def test_both_walks_are_the_same_until_they_are_judged(traces: dict[str, Trace]) -> None:
    notebook, refusal = (traces[name].rooms for name in ("notebook", "refusal"))
    same = notebook.index("web.tokens") + 1
    assert notebook[:same] == refusal[:same]


# The checker itself fails when it should


def trace_of(*calls: Step) -> Trace:
    trace = Trace()
    trace.calls = list(calls)
    return trace


A, B, C = ("a", "f"), ("b", "g"), ("c", "h")


@pytest.mark.parametrize(
    ("steps", "calls", "found"),
    [
        pytest.param([A, B, C], [A, B, C], [], id="true"),
        pytest.param([A, B, C], [A, B, ("a", "other"), C], [], id="a call back is no entrance"),
        pytest.param([A, C], [A, B, C], ["b is missing"], id="missing"),
        pytest.param([A, B, C], [A, C], ["b is not entered", "b is entered by g 0 times, not 1"], id="wrong"),
        pytest.param([A, B, A, C], [A, B, C], ["a stands twice"], id="repeated"),
        pytest.param([B, A, C], [A, B, C], ["the order is a, b, c"], id="order"),
        pytest.param([A, B, C], [A, B, C, B], ["b is entered by g 2 times, not 1"], id="entered again"),
    ],
)
def test_a_wrong_missing_or_repeated_room_is_found(steps: list[Step], calls: list[Step], found: list[str]) -> None:
    assert faults(steps, trace_of(*calls), {}) == found


def test_what_a_failure_shows_can_be_put_into_the_document() -> None:
    calls = [("a", "f"), ("a", "f"), ("a", "g"), ("b", "h"), ("b", "h")]
    assert as_it_is(trace_of(*calls)) == ["a  g", "b  h  (2 times)"]


def test_an_arrow_that_follows_from_others_is_not_drawn(tmp_path: Path) -> None:
    package = tmp_path / "tmppool"
    package.mkdir()
    files = {"__init__": "", "a": "import tmppool.b\nimport tmppool.c", "b": "import tmppool.c", "c": ""}
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    assert room_arrows(package) == {("a", "b"), ("b", "c")}
