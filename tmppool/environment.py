"""Sorts the ``TMPPOOL_*`` variables: settings, mistakes, and what other programs put there. Pure.

Kubernetes gives each container variables for each service, and Docker's links did so for each container: a service
called ``tmppool`` makes ``TMPPOOL_PORT=tcp://10.0.0.1:8000``, which is no port of ours.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

PREFIX = "TMPPOOL_"

_ALIKE = 0.75  # of 1, by difflib: a letter too many or too few
_SECRETS = ("API_AUTH_TOKEN", "ADMIN_AUTH_TOKEN")
# Kubernetes documentation, "Service: environment variables"; Docker documentation, "Legacy container links".
_LINK_NAME = re.compile(
    r"([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?|ENV_[A-Z0-9_]+)"
)
_LINKS = (
    (re.compile(r"([A-Z0-9_]+_)?PORT"), re.compile(r"(tcp|udp|sctp)://.*")),
    (re.compile(r"([A-Z0-9_]+_)?NAME"), re.compile(r"/.*/.*")),
)


def without_links(environ: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the variables without those of Kubernetes' services and Docker's links."""
    return {name: value for name, value in environ.items() if not _is_link(name.upper(), value or "")}


def mistakes(environ: Mapping[str, str], settings: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each variable that was meant to be one of the ``settings``."""
    for name in _unknown(environ, settings):
        meant = _meant(name, settings)
        if meant is not None:
            yield f"{name} is not a setting; did you mean {meant}?"
    for name, value in sorted(environ.items()):
        meant = _with_our_prefix(name, settings) or _with_our_letters(name, settings)
        if meant is not None and not _is_link(meant, value):
            yield f"{name} is not a setting; did you mean {meant}?"


def strangers(environ: Mapping[str, str], settings: Collection[str]) -> Iterator[str]:
    """Yield the name of each variable that is not like any of the ``settings``."""
    return (name for name in _unknown(environ, settings) if _meant(name, settings) is None)


def _unknown(environ: Mapping[str, str], settings: Collection[str]) -> Iterator[str]:
    for name in sorted(without_links(environ)):
        if name.upper().startswith(PREFIX) and name.upper().removeprefix(PREFIX).lower() not in settings:
            yield name


def _meant(name: str, settings: Collection[str]) -> str | None:
    rest = name.upper().removeprefix(PREFIX)
    variables = {setting.upper(): f"{PREFIX}{setting.upper()}" for setting in settings}
    variables |= {secret: secret for secret in _SECRETS}
    close = difflib.get_close_matches(rest, variables, 1, _ALIKE)
    return variables[close[0]] if close else None


def _with_our_prefix(name: str, settings: Collection[str]) -> str | None:
    """Return the variable that is meant by a name which is a setting's but for its prefix, as ``TMPOOL_``."""
    prefix, _, rest = name.upper().partition("_")
    is_alike = f"{prefix}_" != PREFIX and difflib.SequenceMatcher(None, prefix, PREFIX[:-1]).ratio() >= _ALIKE
    return PREFIX + rest if is_alike and rest.lower() in settings else None


def _with_our_letters(name: str, settings: Collection[str]) -> str | None:
    """Return the variable that is meant by a name with the same letters, as ``TMP_POOL_PORT`` or ``TMPPOOLPORT``."""
    if name.upper().startswith(PREFIX):
        return None
    variables = {(PREFIX + setting.upper()).replace("_", ""): PREFIX + setting.upper() for setting in settings}
    return variables.get(name.upper().replace("_", ""))


def _is_link(name: str, value: str) -> bool:
    if not name.startswith(PREFIX):
        return False
    rest = name.removeprefix(PREFIX)
    return _LINK_NAME.fullmatch(rest) is not None or any(
        of_name.fullmatch(rest) and of_value.fullmatch(value) for of_name, of_value in _LINKS
    )
