"""One notebook's life: every arrow of the table, and every arrow that is not in it."""

import asyncio
import functools
import re
from itertools import product
from pathlib import Path

import pytest

from tests.notebooks import notebook_of
from tmppool import notebook as notebook_module
from tmppool.keys import id_of
from tmppool.notebook import (
    BY_DEATH,
    EXPLANATIONS,
    REVOCABLE,
    TRANSITIONS,
    Closers,
    Notebook,
    Place,
    Reason,
    State,
    Transition,
)
from tmppool.running import Death

S, W, A, R, G = State.STARTING, State.WARM, State.ASSIGNED, State.REAPING, State.GONE

LEGAL = {(S, W), (S, A), (S, R), (S, G), (W, A), (W, R), (W, G), (A, R), (A, G), (R, G)}
ILLEGAL = set(product(State, State)) - LEGAL


def notebook(state: State = State.STARTING) -> Notebook:
    made = notebook_of("k" * 22, "main", 100.0)
    made.state, made.reason, made.moved_at = state, Reason.READY, 110.0
    return made


def test_the_table_holds_these_arrows_and_no_other() -> None:
    assert {(was, to) for was, targets in TRANSITIONS.items() for to in targets} == LEGAL


def test_no_arrow_leads_back_to_warm_from_a_visitor() -> None:
    reached, frontier = set(), {State.ASSIGNED}
    while frontier:
        reached |= frontier
        frontier = {to for was in frontier for to in TRANSITIONS[was]} - reached
    assert reached == {State.ASSIGNED, State.REAPING, State.GONE}


@pytest.mark.parametrize(("was", "to"), sorted(LEGAL))
def test_a_legal_move_is_made_and_told_as_a_fact(was: State, to: State) -> None:
    made = notebook(was)

    fact = made.move(to, Reason.ENDED, 125.0)

    assert fact == Transition(made, was, to, Reason.ENDED, 125.0, 15.0)
    assert (made.state, made.reason, made.moved_at) == (to, Reason.ENDED, 125.0)


@pytest.mark.parametrize(("was", "to"), sorted(ILLEGAL))
def test_an_illegal_move_raises_and_changes_nothing(was: State, to: State) -> None:
    made, closed = notebook(was), []
    made.on_close.add(lambda: closed.append(was))

    with pytest.raises(ValueError, match=f"<Notebook {made.id} {was} \\(ready\\)> may not become {to}"):
        made.move(to, Reason.ENDED, 125.0)

    assert (made.state, made.reason, made.moved_at) == (was, Reason.READY, 110.0)
    assert closed == []
    assert len(made.on_close) == 1


@pytest.mark.parametrize("ending", [State.REAPING, State.GONE])
def test_what_registered_in_on_close_is_called_once_when_it_ends(ending: State) -> None:
    made, closed = notebook(State.WARM), []
    made.on_close |= {lambda: closed.append("a"), lambda: closed.append("b")}

    made.move(State.ASSIGNED, Reason.CLICK, 120.0)
    assert closed == []

    made.move(ending, Reason.IDLE, 130.0)
    if ending is State.REAPING:
        made.move(State.GONE, Reason.IDLE, 140.0)

    assert sorted(closed) == ["a", "b"]
    assert made.on_close == set()


def test_a_tunnel_that_leaves_while_it_is_closed_is_no_trouble() -> None:
    made = notebook(State.ASSIGNED)

    def close() -> None:
        made.on_close.discard(close)

    made.on_close.add(close)
    made.move(State.REAPING, Reason.IDLE, 130.0)
    assert made.on_close == set()


@pytest.mark.parametrize("state", State)
def test_only_an_assigned_notebook_is_live(state: State) -> None:
    assert notebook(state).is_live == (state is State.ASSIGNED)


def test_a_new_notebook_is_starting_and_has_moved_when_it_was_made() -> None:
    made = notebook_of("k" * 22, "main", 100.0)
    assert (made.state, made.moved_at, made.visitor, made.expires_at) == (State.STARTING, 100.0, None, None)


def test_its_repr_and_id_do_not_give_the_key_away() -> None:
    made = notebook_of("a-very-secret-key-0001", "main", 100.0)
    assert made.id == id_of("a-very-secret-key-0001")
    assert repr(made) == f"<Notebook {made.id} starting>"
    assert repr(notebook(State.WARM)) == f"<Notebook {id_of('k' * 22)} warm (ready)>"


def test_every_reason_that_a_visitor_may_meet_has_a_sentence() -> None:
    never_met = {Reason.READY, Reason.CLICK, Reason.ADOPTED, Reason.FAILED, Reason.SURPLUS, Reason.REPLACED}
    assert set(EXPLANATIONS) == set(Reason) - never_met
    assert all(sentence.endswith(".") for sentence in EXPLANATIONS.values())


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_given_by_somebody(reason: Reason) -> None:
    package = Path(notebook_module.__file__).parent
    texts = [path.read_text() for path in package.rglob("*.py") if path.name != "notebook.py"]
    assert reason in BY_DEATH.values() or any(re.search(rf"\bReason\.{reason.name}\b", text) for text in texts)


def test_each_way_to_end_has_a_reason_of_its_own_that_a_notebook_found_running_revokes() -> None:
    assert set(BY_DEATH) == set(Death)
    assert len(set(BY_DEATH.values())) == len(Death)
    assert set(BY_DEATH.values()) | {Reason.FAILED} == REVOCABLE


def test_a_place_that_is_filled_is_the_same_life_with_something_that_runs() -> None:
    place = Place("k" * 22, "main", 100.0)
    other = notebook_of()
    made = place.filled(other.running, other.jupyter)
    assert (made.key, made.pool, made.created_at, made.state, made.moved_at) == (place.key, "main", 100.0, S, 100.0)
    assert (made.running, made.jupyter) == (other.running, other.jupyter)
    assert made.move(W, Reason.READY, 102.5) == Transition(made, S, W, Reason.READY, 102.5, 2.5)


def test_a_start_that_is_given_up_ends_with_a_reason_too() -> None:
    place = Place("k" * 22, "main", 100.0)
    assert repr(place) == f"<Place {place.id} starting>"
    place.move(R, Reason.DRAINED, 101.0)
    assert place.move(G, Reason.DRAINED, 102.0) == Transition(place, R, G, Reason.DRAINED, 102.0, 1.0)
    with pytest.raises(ValueError, match="may not become warm"):
        place.move(W, Reason.READY, 103.0)


# The facts of a session


def test_a_session_has_the_facts_that_it_begins_with() -> None:
    notebook = notebook_of()
    notebook.begin("visitor", 100.0, 700.0, "1")
    assert (notebook.visitor, notebook.active_at, notebook.expires_at, notebook.shared) == (
        "visitor",
        100.0,
        700.0,
        "1",
    )
    notebook.begin(None, 200.0, None)
    assert (notebook.visitor, notebook.active_at, notebook.expires_at, notebook.shared) == (None, 200.0, None, None)


def test_an_owner_is_bound_once() -> None:
    notebook = notebook_of()
    assert notebook.bind("first")
    assert not notebook.bind("second")
    assert not notebook.bind("first")
    assert notebook.visitor == "first"


def test_activity_only_moves_forward() -> None:
    notebook = notebook_of()
    notebook.touch(5.0)
    notebook.touch(3.0)
    assert notebook.active_at == 5.0


def test_the_time_for_which_it_was_paused_is_no_idle_time() -> None:
    notebook = notebook_of()
    notebook.begin("visitor", 100.0, None)
    notebook.note_pause(150.0, is_paused=True)
    assert (notebook.is_paused, notebook.active_at) == (True, 100.0)
    notebook.note_pause(900.0, is_paused=False)
    assert (notebook.is_paused, notebook.active_at) == (False, 900.0)


# Closers


async def test_what_is_open_is_closed_once_and_what_is_late_at_once() -> None:
    closed: list[str] = []
    closers = Closers()
    for name in ("one", "two"):
        closers.add(functools.partial(closed.append, name))
    gone = functools.partial(closed.append, "gone")
    closers.add(gone)
    closers.discard(gone)
    closers.close()
    closers.close()
    assert sorted(closed) == ["one", "two"]
    closers.add(functools.partial(closed.append, "late"))
    await asyncio.sleep(0)
    assert closed[2:] == ["late"]


async def test_the_end_of_sharing_closes_what_others_have_open_and_nothing_else() -> None:
    closed: list[str] = []
    notebook = notebook_of("k", "main", 0.0)
    notebook.share("1")
    before = notebook.on_unshare
    notebook.on_close.add(functools.partial(closed.append, "owner's"))
    before.add(functools.partial(closed.append, "guest's"))
    notebook.share(None)
    assert (closed, notebook.shared) == (["guest's"], None)
    before.add(functools.partial(closed.append, "late guest's"))
    notebook.on_unshare.add(functools.partial(closed.append, "next guest's"))
    await asyncio.sleep(0)
    assert closed == ["guest's", "late guest's"]
    notebook.move(State.GONE, Reason.DIED, 1.0)
    assert sorted(closed[2:]) == ["next guest's", "owner's"]
