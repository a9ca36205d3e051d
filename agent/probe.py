"""What most backends' `probe` does: open what is needed, and give it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class _Opened(Protocol):
    def close(self) -> object: ...


def why_not(opened: Callable[[], _Opened], unavailable: type[Exception]) -> str | None:
    """Why it cannot be opened now, by the words of `unavailable`, or None."""
    try:
        opened().close()
    except unavailable as problem:
        return str(problem)
    return None
