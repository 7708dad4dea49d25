"""The ends of a session as wall times."""

import time
from collections.abc import Callable

import pytest

from tests.notebooks import notebook_of
from tmppool.notebook import Notebook, Reason, State
from tmppool.pool import Pool
from tmppool.web.session_ends import Ends, ends

Factory = Callable[..., Pool]


def held(pool: Pool) -> Notebook:
    """A notebook that was assigned now, with an hour to live."""
    now = pool.clock()
    notebook = notebook_of("k" * 22, pool.name, now)
    notebook.move(State.WARM, Reason.READY, now)
    notebook.move(State.ASSIGNED, Reason.CLICK, now)
    notebook.active_at, notebook.expires_at = now, now + 3600
    return notebook


def test_a_session_ends_by_its_lifetime_and_by_its_idle_limit(pool: Factory) -> None:
    one = pool("one", idle=600.0)
    found = ends(one, held(one))
    assert found == (pytest.approx(time.time() + 3600, abs=1), pytest.approx(time.time() + 600, abs=1))


def test_without_a_limit_there_is_no_end(pool: Factory) -> None:
    one = pool("one", idle=0.0)
    notebook = held(one)
    notebook.expires_at = None
    assert ends(one, notebook) == Ends(None, None)
