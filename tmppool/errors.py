"""The errors that one module of tmppool raises for another; an error that only a bug can cause stays a builtin.

The core and the backends raise these; ``web/`` alone turns them into status codes and ``__main__`` alone turns
them into exit codes. The proxy turns its own, BadMessageError, into a refusal itself. Errors of libraries and
of the system (aiodocker, aiohttp, OSError, sqlite3) are translated where they occur; a function that lets one through
names it under "Raises".
"""

from enum import StrEnum


class TmppoolError(Exception):
    """Root of everything that tmppool raises on purpose; its text tells a person what is wrong."""


class ConfigError(TmppoolError):
    """An option, file or argument is invalid; names the option, the value and what is allowed. Exit status 2."""


class EngineAwayError(TmppoolError):
    """No Docker Engine answered while the start waited for one; the options are not at fault. Exit status 69."""


class ServiceAwayError(TmppoolError):
    """A service whose links are to be checked does not answer, or not as one. Exit status 69."""


class BackendError(TmppoolError):
    """An operation of the backend failed.

    ``transient`` is True if the backend failed, so that trying again may help. It is False if the backend refuses the
    settings or lacks what they name: those must change first, and the next start waits for the longest backoff. A
    service that cannot start exits with 69 or 2 accordingly.
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class TakenError(BackendError):
    """Another service has assigned this notebook: ours may neither assign nor end it."""


class StartError(BackendError):
    """A notebook did not become ready; ``log_tail`` holds the last lines it printed."""

    def __init__(self, message: str, *, log_tail: str = "", transient: bool = True) -> None:
        super().__init__(message, transient=transient)
        self.log_tail = log_tail


class ImageError(TmppoolError):
    """An image is missing or could not be built; names the step and the log file."""


class Shortage(StrEnum):
    """The reasons why a pool assigns no notebook now."""

    WARMING = "warming"  # none is warm, but more are being started
    FULL = "full"  # every place is taken: a session must end first
    BACKEND_ILL = "backend ill"  # the backend fails, or could not record the assignment


class NoNotebookError(TmppoolError):
    """No notebook can be assigned now, because of ``cause``; retry after ``retry_after`` seconds."""

    def __init__(self, cause: Shortage, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after


class UnaskedError(BackendError):
    """There was no socket or thread left to ask with, which says nothing about who was to be asked."""


def what_failed(error: Exception) -> str:
    """Return an error's message, or the name and message of one that no module raises on purpose."""
    return str(error) if isinstance(error, TmppoolError) else f"{type(error).__name__}: {error}"


def sentence(error: Exception) -> str:
    """Return an error's message as a sentence: with a capital and a full stop, unless it is one already."""
    text = str(error)
    return text if text.endswith(".") else f"{text[:1].upper()}{text[1:]}."
