"""How many cases a fuzz test runs: some in `make test`, many times as many in `make fuzz`."""

import os
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings

Test = TypeVar("Test", bound=Callable[..., object])


FACTOR = int(os.environ.get("TIGHTBEAM_FUZZ_FACTOR", "1"))
LIMIT_S = 600 * FACTOR
"""A fuzz test never waits: it has as long as a slow machine with other work may need."""


def fuzz_profile(default: int, *, steps: int = 50) -> settings:
    """This many cases in `make test`, of so many steps where the test is a state machine.

    TIGHTBEAM_FUZZ_FACTOR multiplies them; with a factor every run draws other cases.
    """
    return settings(
        max_examples=default * FACTOR,
        stateful_step_count=steps,
        deadline=None,
        derandomize=FACTOR == 1,
        suppress_health_check=list(HealthCheck),
        phases=[phase for phase in Phase if phase is not Phase.explain],  # it traces every line
    )


def fuzz_cases(default: int) -> Callable[[Test], Test]:
    """Mark a hypothesis test as a fuzz test of a parser, with this many cases (see `fuzz_profile`)."""
    profile = fuzz_profile(default)

    def decorate(test: Test) -> Test:
        marked: Test = pytest.mark.timeout(LIMIT_S)(pytest.mark.fuzz(profile(test)))
        return marked

    return decorate
