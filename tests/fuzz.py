"""How many cases a fuzz test runs: some in `make test`, a million in `make fuzz`."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings


def fuzz_cases(default: int) -> Callable[[Any], Any]:
    """Hypothesis settings for a parser's fuzz test; TIGHTBEAM_FUZZ_FACTOR multiplies the cases."""
    factor = int(os.environ.get("TIGHTBEAM_FUZZ_FACTOR", "1"))
    return settings(
        max_examples=default * factor,
        deadline=None,
        derandomize=factor == 1,
        suppress_health_check=list(HealthCheck),
    )
