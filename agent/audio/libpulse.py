"""The part of libpulse that a recorder needs, by ctypes: one main loop, one context, one stream.

The client library speaks to PulseAudio and to PipeWire's pulse server alike. Its plain main loop is
used (not pa_simple, whose read cannot be given a limit), driven by the thread that records.
Source: PulseAudio's public headers, pulse/mainloop.h, context.h, stream.h, subscribe.h, introspect.h, def.h,
sample.h.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

from agent.audio.base import CHANNELS, SAMPLE_RATE_HZ, AudioUnavailable

_CONTEXT_READY = 4
_STREAM_READY = 2
_CONTEXT_NOAUTOSPAWN = 0x1
_STREAM_ADJUST_LATENCY = 0x2000
SAMPLE_S16LE = 3
SERVER_DECIDES = 0xFFFFFFFF
_SUBSCRIBE_SERVER = 0x80
"""PA_SUBSCRIPTION_MASK_SERVER: the server's own facts changed, its default devices among them."""


class SampleSpec(ctypes.Structure):
    """pa_sample_spec."""

    _fields_ = (
        ("format", ctypes.c_int),
        ("rate", ctypes.c_uint32),
        ("channels", ctypes.c_uint8),
    )


class BufferAttr(ctypes.Structure):
    """pa_buffer_attr."""

    _fields_ = (
        ("maxlength", ctypes.c_uint32),
        ("tlength", ctypes.c_uint32),
        ("prebuf", ctypes.c_uint32),
        ("minreq", ctypes.c_uint32),
        ("fragsize", ctypes.c_uint32),
    )


class _ServerInfo(ctypes.Structure):
    """The beginning of pa_server_info."""

    _fields_ = (
        ("user_name", ctypes.c_char_p),
        ("host_name", ctypes.c_char_p),
        ("server_version", ctypes.c_char_p),
        ("server_name", ctypes.c_char_p),
        ("sample_spec", SampleSpec),
        ("default_sink_name", ctypes.c_char_p),
    )


_POINTER = ctypes.c_void_p
_ServerChanged = ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_int, ctypes.c_uint32, _POINTER)
_ServerTold = ctypes.CFUNCTYPE(None, _POINTER, ctypes.POINTER(_ServerInfo), _POINTER)
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "pa_mainloop_new": (_POINTER, []),
    "pa_mainloop_free": (None, [_POINTER]),
    "pa_mainloop_get_api": (_POINTER, [_POINTER]),
    "pa_mainloop_prepare": (ctypes.c_int, [_POINTER, ctypes.c_int]),
    "pa_mainloop_poll": (ctypes.c_int, [_POINTER]),
    "pa_mainloop_dispatch": (ctypes.c_int, [_POINTER]),
    "pa_context_new": (_POINTER, [_POINTER, ctypes.c_char_p]),
    "pa_context_connect": (
        ctypes.c_int,
        [_POINTER, ctypes.c_char_p, ctypes.c_int, _POINTER],
    ),
    "pa_context_get_state": (ctypes.c_int, [_POINTER]),
    "pa_context_set_subscribe_callback": (None, [_POINTER, _ServerChanged, _POINTER]),
    "pa_context_subscribe": (_POINTER, [_POINTER, ctypes.c_int, _POINTER, _POINTER]),
    "pa_context_get_server_info": (_POINTER, [_POINTER, _ServerTold, _POINTER]),
    "pa_operation_unref": (None, [_POINTER]),
    "pa_context_errno": (ctypes.c_int, [_POINTER]),
    "pa_context_disconnect": (None, [_POINTER]),
    "pa_context_unref": (None, [_POINTER]),
    "pa_strerror": (ctypes.c_char_p, [ctypes.c_int]),
    "pa_stream_new": (_POINTER, [_POINTER, ctypes.c_char_p, _POINTER, _POINTER]),
    "pa_stream_connect_record": (
        ctypes.c_int,
        [_POINTER, ctypes.c_char_p, _POINTER, ctypes.c_int],
    ),
    "pa_stream_get_state": (ctypes.c_int, [_POINTER]),
    "pa_stream_peek": (
        ctypes.c_int,
        [_POINTER, ctypes.POINTER(_POINTER), ctypes.POINTER(ctypes.c_size_t)],
    ),
    "pa_stream_drop": (ctypes.c_int, [_POINTER]),
    "pa_stream_disconnect": (ctypes.c_int, [_POINTER]),
    "pa_stream_unref": (None, [_POINTER]),
}


def load() -> ctypes.CDLL:
    """The client library with its signatures, or AudioUnavailable in words."""
    try:
        library = ctypes.CDLL("libpulse.so.0")
    except OSError as problem:
        raise AudioUnavailable(
            "libpulse is not installed: install the package libpulse0 (Debian, Ubuntu),"
            " pulseaudio-libs (Fedora) or libpulse (Arch)"
        ) from problem
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


class Connection:
    """One connection to the sound server. Used and closed by one thread."""

    def __init__(self, limit_s: float) -> None:
        """Connect within `limit_s`, or raise AudioUnavailable in words."""
        self._pulse = load()
        self._loop = self._pulse.pa_mainloop_new()
        api = self._pulse.pa_mainloop_get_api(self._loop)
        self._context = self._pulse.pa_context_new(api, b"Tightbeam")
        self._stream: int | None = None
        # Both are called by `wait` and must live as long as the context.
        self._when_changed = _ServerChanged(self._ask_for_default)
        self._when_told = _ServerTold(self._on_default)
        self._told = False
        self._default_sink = ""
        self._default_changed = False
        connected = self._pulse.pa_context_connect(self._context, None, _CONTEXT_NOAUTOSPAWN, None)
        if connected < 0 or not self._reaches(self._context_state, _CONTEXT_READY, limit_s):
            reason = self._why()
            self.close()
            raise AudioUnavailable(
                f"no sound server answers ({reason}): start PulseAudio (pulseaudio --start)"
                " or PipeWire with pipewire-pulse, as this user"
            )

    def watch_default(self, limit_s: float) -> None:
        """Know from now on which sink is the default one. Raises AudioUnavailable."""
        self._pulse.pa_context_set_subscribe_callback(self._context, self._when_changed, None)
        self._end(self._pulse.pa_context_subscribe(self._context, _SUBSCRIBE_SERVER, None, None))
        self._ask_for_default()
        if not self._reaches(lambda: int(self._told), 1, limit_s):
            raise AudioUnavailable(f"the sound server does not say what it has: {self._why()}")

    def default_changed(self) -> bool:
        """Whether another sink became the default one since the last call."""
        changed, self._default_changed = self._default_changed, False
        return changed

    def record(self, fragment_bytes: int, limit_s: float) -> None:
        """Open a stereo 48 kHz s16 recording of what the default sink plays, or raise AudioUnavailable.

        One that is open is closed first. By the monitor's name: PipeWire takes `@DEFAULT_MONITOR@` of a
        program that it has seen before for where that one recorded then.
        """
        self._end_stream()
        device = f"{self._default_sink}.monitor"
        spec = SampleSpec(SAMPLE_S16LE, SAMPLE_RATE_HZ, CHANNELS)
        attributes = BufferAttr(*[SERVER_DECIDES] * 4, fragment_bytes)
        self._stream = self._pulse.pa_stream_new(
            self._context, b"desktop sound", ctypes.addressof(spec), None
        )
        connected = self._pulse.pa_stream_connect_record(
            self._stream, device.encode(), ctypes.addressof(attributes), _STREAM_ADJUST_LATENCY
        )
        if connected < 0 or not self._reaches(self._stream_state, _STREAM_READY, limit_s):
            raise AudioUnavailable(
                f"the sound server has nothing to record at {device} ({self._why()}):"
                " it needs an output device (pactl list short sinks)"
            )

    def is_recording(self) -> bool:
        """False once the server or the device is gone."""
        return (
            self._context_state() == _CONTEXT_READY
            and self._stream is not None
            and self._stream_state() == _STREAM_READY
        )

    def wait(self, timeout_s: float) -> None:
        """Let the library work until something happened, at most `timeout_s`."""
        timeout_us = max(0, int(timeout_s * 1_000_000))
        if self._pulse.pa_mainloop_prepare(self._loop, timeout_us) < 0:
            raise AudioUnavailable("libpulse's main loop stopped")
        self._pulse.pa_mainloop_poll(self._loop)
        self._pulse.pa_mainloop_dispatch(self._loop)

    def take(self) -> bytes:
        """The next recorded fragment, empty when there is none; a hole in it is silence."""
        address = _POINTER()
        size = ctypes.c_size_t()
        if self._pulse.pa_stream_peek(self._stream, ctypes.byref(address), ctypes.byref(size)) < 0:
            raise AudioUnavailable(f"the sound server stopped sending: {self._why()}")
        if not size.value:
            return b""
        fragment = (
            bytes(size.value)
            if address.value is None
            else ctypes.string_at(address.value, size.value)
        )
        self._pulse.pa_stream_drop(self._stream)
        return fragment

    def close(self) -> None:
        """Disconnect and free everything. Idempotent."""
        self._end_stream()
        if self._context is not None:
            self._pulse.pa_context_disconnect(self._context)
            self._pulse.pa_context_unref(self._context)
            self._context = None
            self._pulse.pa_mainloop_free(self._loop)

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._pulse.pa_stream_disconnect(self._stream)
            self._pulse.pa_stream_unref(self._stream)
            self._stream = None

    def _ask_for_default(self, *_: object) -> None:
        """Also a callback: the server's facts changed."""
        self._end(self._pulse.pa_context_get_server_info(self._context, self._when_told, None))

    def _on_default(self, _context: object, told: Any, _userdata: object) -> None:
        """The callback with the server's facts; without any when the question failed."""
        if told:
            before, name = self._default_sink, told.contents.default_sink_name or b""
            self._default_sink = name.decode(errors="replace")
            self._default_changed |= self._told and before != self._default_sink
        self._told = True

    def _end(self, operation: int | None) -> None:
        """Drop our hold of an operation; it goes on. None when there is no connection any more."""
        if operation is not None:
            self._pulse.pa_operation_unref(operation)

    def _context_state(self) -> int:
        return int(self._pulse.pa_context_get_state(self._context))

    def _stream_state(self) -> int:
        return int(self._pulse.pa_stream_get_state(self._stream))

    def _reaches(self, state: Any, ready: int, limit_s: float) -> bool:
        """Run the loop until `state()` is `ready`; False when it went past it or time ran out."""
        deadline = time.monotonic() + limit_s
        while state() < ready and self._context_state() <= _CONTEXT_READY:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            self.wait(remaining_s)
        return bool(state() == ready)

    def _why(self) -> str:
        code = self._pulse.pa_context_errno(self._context)
        text = self._pulse.pa_strerror(code) if code else b"no answer in time"
        return str(text.decode(errors="replace"))
