"""The outcome of a probe: True if it holds, and the observation in a few words."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    Outcome = tuple[bool, str]
    Probe = tuple[str, Callable[[], Outcome]]
    Facts = dict[str, Any]


def error_name(number: int | None) -> str:
    return errno.errorcode.get(number or 0, str(number))


def fails(action: Callable[..., Any], arguments: tuple[Any, ...], *allowed: str) -> Outcome:
    """Hold if the action fails with one of the ``allowed`` errors, or with any error if there are none."""
    try:
        action(*arguments)
    except OSError as error:
        name = error_name(error.errno)
        return not allowed or name in allowed, name
    return False, "it worked"


def is_equal(seen: Any, wanted: Any) -> Outcome:
    return seen == wanted, str(seen) if seen == wanted else f"{seen}, not {wanted}"


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()
