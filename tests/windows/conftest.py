"""What all tests under Wine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.windows.wine import Desktop, desktop


@pytest.fixture(scope="package")
def windows() -> Iterator[Desktop]:
    with desktop() as made:
        yield made
