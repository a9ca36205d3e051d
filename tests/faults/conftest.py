"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lossy_relay import LossyRelay


@pytest.fixture
def relay() -> Iterator[LossyRelay]:
    with LossyRelay() as running:
        yield running
