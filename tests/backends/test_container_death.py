"""How a container ended: each way, by the facts that a real engine tells of it."""

import pytest

from tmppool.backends.container_death import Record, Seen, death, of_state
from tmppool.backends.engine import Event
from tmppool.running import Death

KEY = "k" * 22

# Observed on Docker 20.10, with tini as the first process and without.
ENDS = {
    "nothing was seen": (Seen(), Death.UNKNOWN),
    "only a wish to kill it": (Seen(killed_at=1.0), Death.UNKNOWN),
    "it exited": (Seen(0, died_at=9.0), Death.EXITED),
    "it failed": (Seen(3, died_at=9.0), Death.EXITED),
    "it crashed": (Seen(139, died_at=9.0), Death.EXITED),
    "docker kill": (Seen(137, died_at=9.0, killed_at=8.97), Death.KILLED),
    "docker stop": (Seen(143, died_at=9.0, killed_at=8.9), Death.KILLED),
    "docker stop of a server that ends in order": (Seen(0, died_at=9.0, killed_at=2.0), Death.KILLED),
    "a signal from the machine, or from a process in it": (Seen(137, died_at=9.0), Death.KILLED),
    "an old signal that it survived": (Seen(1, died_at=900.0, killed_at=2.0), Death.EXITED),
    "killed while its events were missed": (Seen(137), Death.KILLED),
    "out of memory": (Seen(137, is_oom=True, died_at=9.0, oom_at=8.98), Death.OUT_OF_MEMORY),
    "out of memory, told later": (Seen(137, is_oom=False, died_at=9.0, oom_at=9.2), Death.OUT_OF_MEMORY),
    "out of memory, events missed": (Seen(137, is_oom=True), Death.OUT_OF_MEMORY),
    "a kernel ran out of memory, then the server exited": (Seen(3, is_oom=True, died_at=9.0, oom_at=8.9), Death.EXITED),
    "a kernel did, later it was killed": (Seen(137, is_oom=True, died_at=99.0, oom_at=9.0), Death.KILLED),
    "a kernel did, then docker kill": (Seen(137, is_oom=True, died_at=9.0, oom_at=8.0, killed_at=8.9), Death.KILLED),
    "removed": (Seen(is_removed=True), Death.REMOVED),
    "docker rm -f": (Seen(137, died_at=9.0, killed_at=8.9, is_removed=True), Death.REMOVED),
}


@pytest.mark.parametrize(("seen", "expected"), ENDS.values(), ids=ENDS)
def test_each_end_has_its_true_name(seen: Seen, expected: Death) -> None:
    assert death(seen) is expected


@pytest.mark.parametrize(
    ("code", "is_oom", "expected"),
    [(0, False, Death.EXITED), (3, True, Death.EXITED), (137, True, Death.OUT_OF_MEMORY), (143, False, Death.KILLED)],
)
def test_a_description_alone_tells_it_too(code: int, is_oom: bool, expected: Death) -> None:  # noqa: FBT001
    assert of_state({"ExitCode": code, "OOMKilled": is_oom}) is expected


def exited(code: int, **more: object) -> dict[str, object]:
    return {"Running": False, "Status": "exited", "ExitCode": code, "OOMKilled": False, **more}


def test_events_and_descriptions_add_up() -> None:
    record = Record()
    for event in (Event(KEY, "oom", 8.9), Event(KEY, "die", 9.0, 137)):
        record.note_event(event)
    record.note_state(KEY, exited(137))
    assert (record.death(KEY), record.death("other")) == (Death.OUT_OF_MEMORY, Death.UNKNOWN)
    record.forget(KEY)
    assert record.death(KEY) is Death.UNKNOWN


def test_a_later_life_of_the_container_does_not_change_how_the_notebook_ended() -> None:
    record = Record()
    for event in (Event(KEY, "kill", 8.9), Event(KEY, "die", 9.0, 143)):
        record.note_event(event)
    record.note_state(KEY, {"Running": True, "Status": "running", "ExitCode": 0})
    record.note_state(KEY, exited(0))
    assert record.death(KEY) is Death.KILLED


@pytest.mark.parametrize("status", ["removing", "dead"])
def test_what_is_being_removed_counts_as_removed(status: str) -> None:
    record = Record()
    record.note_state(KEY, exited(137, Status=status))
    assert record.death(KEY) is Death.REMOVED


@pytest.mark.parametrize("is_alive", [True, False])
def test_what_is_there_was_not_removed_whatever_was_said_before(is_alive: bool) -> None:  # noqa: FBT001
    record = Record()
    record.note_removal(KEY)
    record.note_state(KEY, {"Running": True, "Status": "running", "ExitCode": 0} if is_alive else exited(1))
    assert record.death(KEY) is (Death.UNKNOWN if is_alive else Death.EXITED)


def test_an_end_that_was_none_does_not_name_the_real_one() -> None:
    record = Record()
    record.note_event(Event(KEY, "kill", 7.0))
    record.note_event(Event(KEY, "die", 9.0, 0))
    record.note_state(KEY, exited(0, OOMKilled=True))
    record.note_removal(KEY)
    record.note_life(KEY)
    assert record.death(KEY) is Death.UNKNOWN
    record.note_event(Event(KEY, "die", 99.0, 3))
    assert record.death(KEY) is Death.EXITED
    record.note_life("other")
    assert record.death("other") is Death.UNKNOWN


def test_that_the_service_clears_the_remains_away_is_no_removal() -> None:
    record = Record()
    record.note_state(KEY, exited(1))
    record.note_clearing(KEY, is_cleared=True)
    record.note_event(Event(KEY, "destroy", 9.0))
    record.note_removal(KEY)
    assert record.death(KEY) is Death.EXITED
    record.note_clearing(KEY, is_cleared=False)
    record.note_removal(KEY)
    assert record.death(KEY) is Death.REMOVED


def test_events_are_lacked_of_what_has_ended_only() -> None:
    record = Record()
    assert not record.lacks_events(KEY)
    record.note_state(KEY, exited(137))
    assert record.lacks_events(KEY)
    record.note_event(Event(KEY, "die", 9.0, 137))
    assert not record.lacks_events(KEY)


def test_only_so_many_ends_are_kept() -> None:
    record = Record()
    for number in range(2_000):
        record.note_event(Event(f"{number}", "die", 9.0, 1))
    assert (record.death("0"), record.death("1999")) == (Death.UNKNOWN, Death.EXITED)
