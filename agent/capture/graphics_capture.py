"""The calls of Windows.Graphics.Capture: one window's or one monitor's picture in memory that the CPU reads.

By ctypes, on agent/winrt.py; the package windows-capture was not taken: docs/windows.md says why.
Source: Windows SDK windows.graphics.capture.h, windows.graphics.capture.interop.h,
windows.graphics.directx.direct3d11.interop.h, windows.foundation.h.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from agent.capture.base import Box, Pixels

if sys.platform != "win32":
    raise ImportError("agent.capture.graphics_capture is for Windows")

from agent.capture.d3d11 import BGRA, TEXTURE, Copy, Unsuitable, Update, create_device
from agent.com import ComError, Guid, Interface, released, succeeded
from agent.winrt import Handler, Runtime, give_back, handler

_CAPTURE: Final = "Windows.Graphics.Capture."
_ITEM: Final = "79c3f95b-31f7-4ec2-a464-632ef5d30760"
_ITEM_INTEROP: Final = "3628e81b-3cac-4c60-b7f4-23ce0e0c3356"
_POOL_STATICS_2: Final = "589b103f-6bbc-5df5-a991-02e28b3b66d5"
_SESSION_STATICS: Final = "2224a540-5974-49aa-b232-0882536f4cb5"
_SESSION_2: Final = "2c39ae40-7d2e-5044-804e-8b6799d4cf9e"
_SESSION_3: Final = "f2cdd966-22ae-5ea1-9596-3a289344c3be"
_CLOSABLE: Final = "30d5a829-7fa4-4026-83bb-d75bae4ea99e"
_DXGI_DEVICE: Final = "54ec77fa-1377-44e6-8c32-88fd5f44c84c"
_DIRECT3D_DEVICE: Final = "a37624ab-8d5f-4650-9d3e-9eae3d9bc670"
_DXGI_ACCESS: Final = "a9b3d012-3df2-4ee3-b8d1-8695f457d3c1"
# TypedEventHandler<Direct3D11CaptureFramePool, Object> and <GraphicsCaptureItem, Object>
_FRAME_ARRIVED: Final = "51a947f7-79cf-5a3e-a3a5-1289cfa6dfe8"
_CLOSED: Final = "e9c610c0-a68c-5bd9-8021-8589346eeee2"

BUFFERS: Final = 2
"""One picture that Windows fills and one that is read."""
Kind = Literal["window", "monitor"]
_CREATE: Final[dict[Kind, int]] = {"window": 3, "monitor": 4}
"""CreateForWindow and CreateForMonitor of IGraphicsCaptureItemInterop, which is no IInspectable."""


class _Size(ctypes.Structure):
    """SizeInt32, which goes by value."""

    _fields_ = (("Width", ctypes.c_int32), ("Height", ctypes.c_int32))


@dataclass(frozen=True, slots=True)
class Library:
    """Where the Windows Runtime and Direct3D begin: Windows's own functions, or a test's."""

    runtime: Runtime
    create_device: Callable[..., int]
    wrap_device: Callable[..., int]

    @classmethod
    def of(cls, combase: ctypes.CDLL, d3d11: ctypes.CDLL) -> Library:
        """The functions of two loaded DLLs. Raises OSError where one is missing."""
        try:
            create, wrap = d3d11.D3D11CreateDevice, d3d11.CreateDirect3D11DeviceFromDXGIDevice
        except AttributeError as problem:
            raise OSError(str(problem)) from problem
        create.restype = wrap.restype = ctypes.c_long
        return cls(Runtime(combase), create, wrap)

    @classmethod
    def of_windows(cls) -> Library:
        """Raises OSError where Windows has not all of it."""
        return cls.of(ctypes.WinDLL("combase"), ctypes.WinDLL("d3d11"))


_Given = TypeVar("_Given", Interface, Copy)


class GraphicsCapture:
    """One window or monitor. Used and closed by one thread."""

    def __init__(self, library: Library, kind: Kind, handle: int) -> None:
        """`handle` is an HWND or an HMONITOR. Raises Unsuitable, ComError."""
        self._owned: list[Interface | Copy] = []
        self._events: list[tuple[Interface, ctypes.c_int64, Handler]] = []
        self._closable: list[Interface] = []
        self._arrived = threading.Event()
        self._gone = False
        self._runtime = library.runtime
        self._begun = library.runtime.start()
        try:
            self._open(library, kind, handle)
        except (Unsuitable, ComError):
            self.close()
            raise

    def _open(self, library: Library, kind: Kind, handle: int) -> None:
        factory = library.runtime.factory
        supported = ctypes.c_ubyte()
        with released(factory(f"{_CAPTURE}GraphicsCaptureSession", _SESSION_STATICS)) as statics:
            statics.checked(6, ctypes.pointer(supported))  # IsSupported
        if not supported.value:
            raise Unsuitable("this Windows does not do it")
        with released(factory(f"{_CAPTURE}GraphicsCaptureItem", _ITEM_INTEROP)) as interop:
            target, item_id = ctypes.c_void_p(handle), ctypes.pointer(Guid(_ITEM))
            item = self._own(interop.made(_CREATE[kind], target, item_id))
        size = _Size()
        item.checked(7, ctypes.pointer(size))  # get_Size
        self.size = self.content_size = (size.Width, size.Height)
        if min(self.size) < 1:
            raise Unsuitable("it has no size")
        device, context = (self._own(made) for made in create_device(library.create_device, None))
        self._copy = self._own(Copy(device, context, self.size))
        pool = self._pool = self._own(self._create_pool(library, device, size))
        session = self._own(pool.made(10, item.pointer))  # CreateCaptureSession
        self._closable += [session, pool]
        _set_off(session, _SESSION_2)  # IsCursorCaptureEnabled: it is drawn here, or by the page
        _set_off(session, _SESSION_3)  # IsBorderRequired
        self._hear(item, _CLOSED, self._on_closed)
        self._hear(pool, _FRAME_ARRIVED, self._arrived.set)
        session.checked(6)  # StartCapture

    def _own(self, given: _Given) -> _Given:
        self._owned.append(given)
        return given

    def _create_pool(self, library: Library, device: Interface, size: _Size) -> Interface:
        """Direct3D11CaptureFramePool.CreateFreeThreaded: its event comes on a thread of Windows's."""
        pointer = ctypes.c_void_p()
        with released(device.queried(_DXGI_DEVICE)) as dxgi:
            succeeded(library.wrap_device(dxgi.pointer, ctypes.byref(pointer)))
        name = f"{_CAPTURE}Direct3D11CaptureFramePool"
        with (
            released(Interface(pointer)) as wrapped,
            released(wrapped.queried(_DIRECT3D_DEVICE)) as direct3d,
            released(library.runtime.factory(name, _POOL_STATICS_2)) as statics,
        ):
            return statics.made(
                6, direct3d.pointer, ctypes.c_int32(BGRA), ctypes.c_int32(BUFFERS), size
            )

    def _hear(self, of: Interface, event: str, call: Callable[[], None]) -> None:
        """Have an event call; both that there are have the same places in their tables."""
        token, made = ctypes.c_int64(), handler(event, call)
        try:
            of.checked(8, made.pointer, ctypes.pointer(token))  # add_Closed, add_FrameArrived
        except ComError:
            give_back(made)
            raise
        self._events.append((of, token, made))

    def _on_closed(self) -> None:
        self._gone = True
        self._arrived.set()

    def begin(self, timeout_s: float) -> bool:
        """Have a first picture in memory; False when there is none in time. Raises as `wait`."""
        deadline = time.monotonic() + timeout_s
        while (remaining_s := deadline - time.monotonic()) > 0:
            if self.wait(remaining_s) is not None:
                return True
        return False

    def wait(self, timeout_s: float) -> Update | None:
        """The newest picture in memory, for `read`; None after `timeout_s`. Raises Unsuitable, ComError: it is lost.

        All of it counts as changed: Windows tells more since 11 24H2 only.
        """
        self._arrived.wait(timeout_s)
        self._arrived.clear()  # before the look: what comes after it is told again
        if self._gone:
            raise Unsuitable("it was closed")
        found = False
        for _ in range(BUFFERS):
            if (frame := self._next()) is None:
                break
            with released(frame):
                try:
                    self._take(frame)
                finally:
                    _close(frame)  # gives Windows its buffer back
            found = True
        return Update(Box(0, 0, *self.size), pointer=False, presented=True) if found else None

    def _next(self) -> Interface | None:
        """TryGetNextFrame, which succeeds without a frame, too."""
        pointer = ctypes.c_void_p()
        self._pool.checked(7, ctypes.pointer(pointer))
        return Interface(pointer) if pointer.value else None

    def _take(self, frame: Interface) -> None:
        size = _Size()
        frame.checked(8, ctypes.pointer(size))  # get_ContentSize
        self.content_size = (size.Width, size.Height)
        with (
            released(frame.made(6)) as surface,  # get_Surface
            released(surface.queried(_DXGI_ACCESS)) as access,
            released(access.made(3, ctypes.pointer(Guid(TEXTURE)))) as texture,  # GetInterface
        ):
            self._copy.take(texture, Box(0, 0, *self.size))

    def read(self, place: Box, into: Pixels) -> None:
        """Copy a part of the picture to the same part of `into`. Raises ComError."""
        self._copy.read(place, into)

    def close(self) -> None:
        """Give everything back. Idempotent."""
        while self._events:
            of, token, made = self._events.pop()
            of.call(9, token)  # remove_Closed, remove_FrameArrived
            give_back(made)
        while self._closable:
            _close(self._closable.pop(0))
        while self._owned:
            self._owned.pop().release()
        if self._begun:
            self._begun = False
            self._runtime.end()


def _close(closable: Interface) -> None:
    """IClosable.Close; what cannot be closed is let go of by its release."""
    try:
        with released(closable.queried(_CLOSABLE)) as it:
            it.call(6)
    except ComError:
        return


def _set_off(session: Interface, interface_id: str) -> None:
    """Set the one property of a later interface of a session to false; what an older Windows lacks stays as it is."""
    try:
        with released(session.queried(interface_id)) as later:
            later.call(7, ctypes.c_ubyte(0))
    except ComError:
        return
