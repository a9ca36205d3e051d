"""How many cases a fuzz test runs: some in `make test`, many times as many in `make fuzz`."""

import os
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

Test = TypeVar("Test", bound=Callable[..., object])


def fuzz_cases(default: int) -> Callable[[Test], Test]:
    """Mark a hypothesis test as a fuzz test of a parser, with this many cases in `make test`.

    TIGHTBEAM_FUZZ_FACTOR multiplies them; with a factor every run draws other cases.
    """
    factor = int(os.environ.get("TIGHTBEAM_FUZZ_FACTOR", "1"))
    profile = settings(
        max_examples=default * factor,
        deadline=None,
        derandomize=factor == 1,
        suppress_health_check=list(HealthCheck),
    )

    def decorate(test: Test) -> Test:
        marked: Test = pytest.mark.fuzz(profile(test))
        return marked

    return decorate
