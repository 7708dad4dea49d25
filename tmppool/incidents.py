"""Incidents: facts that a pool reports besides its transitions, as values. Listeners log them; the core does not.

``pool`` is the pool's name, ``notebook`` a notebook's id, ``error`` one sentence, ``cause`` an exception that only a
bug can cause.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A notebook did not start. ``log_tail`` has its last lines; ``next_try_in`` is in seconds.

    ``transient``: False if an early retry cannot help.
    """

    pool: str
    error: str
    transient: bool
    log_tail: tuple[str, ...]
    next_try_in: float


@dataclass(frozen=True, slots=True)
class StartCrashed:
    """A start raised an exception other than BackendError."""

    pool: str
    cause: Exception


@dataclass(frozen=True, slots=True)
class StopFailed:
    """The backend could not stop a notebook; it is retried."""

    pool: str
    notebook: str
    error: str


@dataclass(frozen=True, slots=True)
class MarkFailed:
    """The backend could not record that a notebook is assigned; it is retried."""

    pool: str
    notebook: str
    error: str


@dataclass(frozen=True, slots=True)
class AssignmentsSuspended:
    """No mark can be set, so nothing is assigned until one can."""

    pool: str
    error: str


@dataclass(frozen=True, slots=True)
class AssignmentsResumed:
    """Marks can be set again."""

    pool: str


@dataclass(frozen=True, slots=True)
class KernelsQueryFailed:
    """A notebook did not say whether a kernel is busy."""

    pool: str
    notebook: str
    error: str


@dataclass(frozen=True, slots=True)
class BackendFailed:
    """The backend cannot say what runs."""

    pool: str
    error: str


@dataclass(frozen=True, slots=True)
class BackendRecovered:
    """The backend answers again."""

    pool: str


@dataclass(frozen=True, slots=True)
class DeathDisproved:
    """A notebook that was reported dead still answers."""

    pool: str
    notebook: str
    message: str = "it answers"


@dataclass(frozen=True, slots=True)
class WatchFailed:
    """Listening to the backend failed, as for a lack of memory; the pool listens anew."""

    pool: str
    cause: Exception


@dataclass(frozen=True, slots=True)
class SessionRecovered:
    """A running notebook that was assigned but in no table was adopted."""

    pool: str


@dataclass(frozen=True, slots=True)
class OrphanStopped:
    """A running notebook of this service that was in no table was stopped."""

    pool: str


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    """A listener to transitions raised when a notebook moved to state ``to``."""

    pool: str
    notebook: str
    to: str
    cause: Exception


Incident = (
    StartFailed
    | StartCrashed
    | StopFailed
    | MarkFailed
    | AssignmentsSuspended
    | AssignmentsResumed
    | KernelsQueryFailed
    | BackendFailed
    | BackendRecovered
    | DeathDisproved
    | WatchFailed
    | SessionRecovered
    | OrphanStopped
    | ListenerFailed
)
