"""What a capture backend is: the first room that a picture passes on its way to the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:  # a process that supervises alone must not carry numpy
    import numpy as np
    import numpy.typing as npt
    from av import VideoFrame

Pixels: TypeAlias = "npt.NDArray[np.uint8]"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of a picture in pixels; `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels; at least 0."""
        return max(0, self.right - self.left)

    @property
    def height(self) -> int:
        """In pixels; at least 0."""
        return max(0, self.bottom - self.top)

    @property
    def empty(self) -> bool:
        """Whether nothing is in it."""
        return self.right <= self.left or self.bottom <= self.top

    def joined(self, other: Box) -> Box:
        """The smallest box around both."""
        if self.empty or other.empty:
            return other if self.empty else self
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def within(self, other: Box) -> Box:
        """The part of it that is inside of another one; an empty one when there is none."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def moved(self, dx: int, dy: int) -> Box:
        """The same rectangle elsewhere."""
        return Box(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)


NOWHERE = Box(0, 0, 0, 0)

MOST_ALIVE: Final = 4
"""Pictures of a source that there is room for: the newest (it is kept for key frames), one before it in each of the
two threads that encode (agent/encode/stage.py), and one that is being filled."""


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
    changed: Box | None = None
    """Outside of this box it is the same as the frame before it of the same capture; None: not known."""
    surface: VideoFrame | None = None
    """The picture in the memory of the graphics card, where the source leaves it there; `pixels` has
    no rows then. It is the backend's as well, until `release`; encoders write its times."""

    @property
    def surface_format(self) -> str:
        """FFmpeg's name of the surface's pixel format; empty: the picture is in `pixels`."""
        return "" if self.surface is None else self.surface.format.name

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if self.surface is not None:
            return self.surface.width, self.surface.height
        height, width = self.pixels.shape[:2]
        return width, height


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


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor of the host, by the name that the system gives it; `area` is on the virtual desktop."""

    name: str
    area: Box
    primary: bool = False


EVERY_MONITOR = "*"
"""Wanted or shown instead of a monitor's name: the whole virtual desktop."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Which monitors the host has, and which one of them an opened source shows."""

    monitors: tuple[Monitor, ...] = ()
    shown: str = ""
    """A name, EVERY_MONITOR, or nothing: the source is no monitor."""


def pick(monitors: Sequence[Monitor], wanted: str | None) -> Monitor:
    """The monitor to show: the wanted one, or else the primary one, or the first. There must be one."""
    if wanted == EVERY_MONITOR and len(monitors) > 1:
        area = monitors[0].area
        for monitor in monitors[1:]:
            area = area.joined(monitor.area)
        return Monitor(EVERY_MONITOR, area)
    named = [monitor for monitor in monitors if monitor.name == wanted]
    primary = [monitor for monitor in monitors if monitor.primary]
    return (*named, *primary, *monitors)[0]


class CaptureUnavailable(Exception):
    """The backend cannot be used here; the text says why and what to install or set."""


class NotNow(CaptureUnavailable):
    """The backend cannot be used for a while, and may be again without anything being done for it."""


class Capture(Protocol):
    """One opened source. All methods but `wake` are called from one thread, the capture thread.

    A backend class can also be asked `probe() -> str | None`: None when it can be used here, else the
    reason in words with what to do. Constructing it opens the source or raises CaptureUnavailable; one
    that can show other monitors than the primary one takes the keyword `monitor`, and shows what `pick` says.
    """

    draw_cursor: bool
    """Whether the host's pointer is in the picture; set from any thread, before `wake`. A source
    without a pointer does nothing with it."""

    @property
    def name(self) -> str:
        """Of the backend, as in the configuration and the log."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, fixed for the life of this object."""
        ...

    @property
    def scene(self) -> Scene:
        """The monitors; when they change, that is SourceChanged. For any thread."""
        ...

    @property
    def place(self) -> Box:
        """What the picture shows of the virtual desktop now, in its pixels. For any thread."""
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
