"""What a capture backend is: the first room that a picture passes on its way to the browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Frame:
    """One picture of the source.

    `pixels` is BGRA, shape (height, width, 4), C-contiguous in its rows, and belongs to the backend:
    it is valid until `release` is called, which the last owner must do exactly once.
    """

    pixels: Pixels
    captured_us: int
    """When the pixels were read, in microseconds of the monotonic clock."""
    grab_us: int
    """How long reading them took."""
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class NothingNew:
    """The picture did not change before the timeout."""


@dataclass(frozen=True, slots=True)
class SourceChanged:
    """The source has another size or is another device now: open it again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """`wake(stop=True)` was called: the owner wants its thread back."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The source is gone; `reason` says in words what to do."""

    reason: str


Outcome = Frame | NothingNew | SourceChanged | Interrupted | Failed


class CaptureUnavailable(Exception):
    """The backend cannot be used here; the text says why and what to install or set."""


class Capture(Protocol):
    """One opened source. All methods but `wake` are called from one thread, the capture thread.

    A backend class also has a static `probe() -> str | None`: None when it can be used here, else the
    reason in words with what to do. Constructing it opens the source or raises CaptureUnavailable.
    """

    name: ClassVar[str]
    draw_cursor: bool
    """Whether the host's pointer is in the picture; set from any thread, before `wake`. A source
    without a pointer does nothing with it."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, fixed for the life of this object."""
        ...

    def next(self, timeout_s: float) -> Outcome:
        """Block until the picture has changed (at most `timeout_s`), then read it.

        The first call returns a Frame at once.
        """
        ...

    def wake(self, *, stop: bool = False) -> None:
        """From any thread: make the running or next `next` look at once; with `stop`, return Interrupted."""
        ...

    def close(self) -> None:
        """Give back every resource. Idempotent."""
        ...
