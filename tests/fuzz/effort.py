"""How many examples are drawn, and whether they are the same ones every time."""

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("TMPPOOL_FUZZ", "1"))


def examples(count: int) -> settings:
    return settings(
        max_examples=count * FACTOR,
        derandomize=FACTOR == 1,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
