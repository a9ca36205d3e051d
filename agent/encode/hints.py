"""Tells libx264 which part of a picture changed, which PyAV has no call for.

FFmpeg's libx264 with `mb_info=1` reads an AVVideoHint from a picture's side data (libavutil/video_hint.h)
and marks all other macroblocks as constant: x264 then skips them without a look, unless it can make them
finer than they are. As in agent/encode/live_options.py a pointer is used only after it was verified: an
AVFrame begins with the addresses of its planes, which are known here.
"""

from __future__ import annotations

import ctypes
import struct

import av

from agent.capture.base import Box, Pixels
from agent.encode.live_options import loaded_libavutil, read_memory, read_pointer

_POINTER_OFFSET = 24
"""Of the `AVFrame *` in PyAV's frame: PyObject_HEAD (16 bytes) and Cython's method table (8)."""

_CHANGED = 1
"""AV_VIDEO_HINT_TYPE_CHANGED: the rectangles are what may have changed."""

_HEAD = struct.Struct("@NNNi")
"""AVVideoHint: nb_rects, rect_offset, rect_size, type."""

_RECTANGLE = struct.Struct("@4I")
"""AVVideoRect: x, y, width, height."""


class ChangeHint:
    """One rectangle in the side data of a reused frame; rewritten between pictures by the thread that encodes.

    The encoder has let go of the frame when a call to encode returns: it runs with no delay.
    """

    def __init__(self, frame: av.VideoFrame, hint: int, rectangle: int) -> None:
        self._frame = frame
        self._rectangle = rectangle
        kind = struct.pack("@i", _CHANGED)
        ctypes.memmove(hint + _HEAD.size - len(kind), kind, len(kind))
        self.set(None)

    @classmethod
    def of(cls, frame: av.VideoFrame, planes: Pixels) -> ChangeHint | None:
        """A hint on `frame`, which lies over `planes`, or None when memory is not laid out as expected."""
        libavutil = loaded_libavutil()
        if libavutil is None or not hasattr(libavutil, "av_video_hint_create_side_data"):
            return None
        try:
            address = read_pointer(id(frame) + _POINTER_OFFSET)
            if read_pointer(address) != planes.ctypes.data:
                return None
            create = libavutil.av_video_hint_create_side_data
            create.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
            create.restype = ctypes.c_void_p
            hint = create(address, 1)
            if hint is None:
                return None
            count, offset, size, _ = _HEAD.unpack(read_memory(hint, _HEAD.size))
        except (OSError, OverflowError, struct.error):
            return None
        if count != 1 or size != _RECTANGLE.size:
            return None
        return cls(frame, hint, hint + offset)

    def set(self, changed: Box | None) -> None:
        """Of the next picture, in pixels; None: anything may have changed."""
        left, top, right, bottom = 0, 0, self._frame.width, self._frame.height
        if changed is not None:
            right, bottom = min(right, changed.right), min(bottom, changed.bottom)
            left, top = min(changed.left, right), min(changed.top, bottom)
        rectangle = _RECTANGLE.pack(left, top, right - left, bottom - top)
        ctypes.memmove(self._rectangle, rectangle, len(rectangle))
