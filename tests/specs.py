"""Specs of notebooks as the settings make them when nothing is set."""

from dataclasses import replace
from typing import Any

from tmppool import from_settings
from tmppool.backends.base import Spec
from tmppool.pool_settings import PoolSettings

_DEFAULT = from_settings.spec("service", "main", PoolSettings())


def spec_of(service: str = "service", pool: str = "main", **changes: Any) -> Spec:
    """Return the default spec with these changes, of no image unless one is given."""
    return replace(_DEFAULT, service=service, pool=pool, **{"image": "", **changes})
