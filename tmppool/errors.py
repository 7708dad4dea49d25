"""The errors that one room of tmppool raises for another; an error that only a bug can cause stays a builtin.

The core and the backends raise these; ``web/`` alone turns them into status codes and ``__main__`` alone turns
them into exit codes. The proxy has one of its own below the root, which it turns into a refusal itself. Foreign
errors (aiodocker, aiohttp, OSError) are translated where they arise, never passed on.
"""

from enum import StrEnum


class TmppoolError(Exception):
    """Root of everything that tmppool raises on purpose; its text tells a person what is wrong."""


class ConfigError(TmppoolError):
    """An option, file or argument is wrong: names the option, the value and what is allowed. Ends with exit 2."""


class EngineAwayError(TmppoolError):
    """No Docker Engine answers, for as long as a start waits: nothing is wrong with the options. Ends with exit 69."""


class BackendError(TmppoolError):
    """The backend could not do what it was asked.

    ``transient`` is True if the backend failed, so that trying again may help. It is False if the backend refuses the
    settings or lacks what they name: those must change first.
    A service that cannot start exits with 69 or 2 accordingly.
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class TakenError(BackendError):
    """A notebook was given away by another service: it is not ours to give, nor to end."""


class StartError(BackendError):
    """A notebook did not become ready; ``log_tail`` holds the last lines it printed."""

    def __init__(self, message: str, *, log_tail: str = "", transient: bool = True) -> None:
        super().__init__(message, transient=transient)
        self.log_tail = log_tail


class ImageError(TmppoolError):
    """An image is missing or could not be built; names the step and where its log is kept."""


class Shortage(StrEnum):
    """The reasons for which a pool gives no notebook now."""

    WARMING = "warming"  # none is warm, but more are being started
    FULL = "full"  # every place is taken: one must end before another can be given
    BACKEND_ILL = "backend ill"  # the backend fails, or could not note that the notebook was given away


class NoNotebookError(TmppoolError):
    """No notebook can be assigned now, for this ``cause``: ask again in ``retry_after`` seconds."""

    def __init__(self, cause: Shortage, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after
