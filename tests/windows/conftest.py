"""What all tests under Wine share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.windows.wine import Desktop

collect_ignore = [] if sys.platform == "win32" else ["inside"]
"""Those run in Windows's Python, called by the tests of this folder."""


@pytest.fixture(scope="package")
def windows() -> Iterator[Desktop]:
    from tests.windows.wine import desktop  # where Xlib is; not inside

    with desktop() as made:
        yield made
