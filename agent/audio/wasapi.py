"""The sound that Windows plays: WASAPI's loopback of the default output.

By a client of our own: PyPI's soundcard waits by sleeping, PyAudioWPatch keeps the list of devices that
it found at its start, and neither follows another default output.
"""

from __future__ import annotations

import ctypes
import sys
import time
from ctypes import wintypes
from functools import partial
from typing import ClassVar, Final

from agent import com
from agent.audio.base import CHANNELS, SAMPLE_RATE_HZ, AudioUnavailable
from agent.audio.recording import Recording
from agent.com import ComError, Guid, Interface, released
from agent.probe import why_not

if sys.platform != "win32":
    raise ImportError("agent.audio.wasapi is for Windows")

from agent.win32 import kernel32

RENDER, CAPTURE = 0, 1
"""EDataFlow of mmdeviceapi.h: what plays, and what records."""
_CONSOLE: Final = 0
"""ERole: games and the desktop; the other two roles are for calls and music."""
_ENUMERATOR_CLASS: Final = "bcde0395-e52f-467c-8e3d-c4579291692e"
_ENUMERATOR: Final = "a95664d2-9614-4f35-a746-de8db63617e6"
_CLIENT: Final = "1cb9ad4c-dbfa-4c32-b178-c2f568a703b2"
_CAPTURE_CLIENT: Final = "c8adbd64-e71e-48a0-a4de-185c395cd317"

_LOOPBACK, _EVENT_CALLBACK = 0x20000, 0x40000
_CONVERT: Final = 0x80000000 | 0x08000000
"""AUTOCONVERTPCM and SRC_DEFAULT_QUALITY: Windows converts from the output's own rate, channels and samples."""
_BUFFER_100NS: Final = 400_000
"""40 ms; what the thread is late by may be so much before sound is lost."""
_SILENT: Final = 0x2
"""AUDCLNT_BUFFERFLAGS_SILENT: what is in the buffer means nothing."""
_DEVICE_INVALIDATED: Final = 0x88890004
_WORDS: Final = {
    0x80040154: "this Windows has no sound (N editions lack the Media Feature Pack)",  # REGDB_E_CLASSNOTREG
    0x80070005: "Windows does not allow it: look at Settings, Privacy, Microphone",  # E_ACCESSDENIED
    0x80070490: "no sound output is plugged in or switched on",  # ERROR_NOT_FOUND
    0x88890003: "this Windows does not let an output be recorded (Wine does not)",
    _DEVICE_INVALIDATED: "the sound output was unplugged or set up anew",
    0x88890008: "the sound output takes no 48 kHz stereo",
    0x8889000A: "a program has the sound output for itself: switch its exclusive mode off",
    0x88890010: "the Windows Audio service does not run: start it in services.msc",
}
"""Those with 0x8889 are AUDCLNT_E_WRONG_ENDPOINT_TYPE, DEVICE_INVALIDATED, UNSUPPORTED_FORMAT, DEVICE_IN_USE and
SERVICE_NOT_RUNNING of audioclient.h."""
_LOOK_S: Final = 0.5
"""How often Windows is asked for its default output; one question takes a tenth of a millisecond."""

kernel32.CreateEventW.restype = wintypes.HANDLE


class _WaveFormat(ctypes.Structure):
    """WAVEFORMATEX of mmreg.h."""

    _pack_ = 1
    _fields_ = (
        ("wFormatTag", wintypes.WORD),
        ("nChannels", wintypes.WORD),
        ("nSamplesPerSec", wintypes.DWORD),
        ("nAvgBytesPerSec", wintypes.DWORD),
        ("nBlockAlign", wintypes.WORD),
        ("wBitsPerSample", wintypes.WORD),
        ("cbSize", wintypes.WORD),
    )


_PCM: Final = 1
_SAMPLE_BYTES: Final = CHANNELS * 2
_FORMAT: Final = _WaveFormat(
    _PCM, CHANNELS, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * _SAMPLE_BYTES, _SAMPLE_BYTES, 16, 0
)


class WasapiSource(Recording):
    """Records what the host plays; another default output is followed."""

    name: ClassVar[str] = "wasapi"
    flow: ClassVar[int] = RENDER
    """Of the endpoint that is recorded: an output's loopback, or (in tests: Wine has no loopback) an input."""

    def __init__(self) -> None:
        super().__init__(DefaultEndpoint(self.flow))

    @classmethod
    def probe(cls) -> str | None:
        """None when the default output can be recorded, else why not in words."""
        return why_not(partial(DefaultEndpoint, cls.flow), AudioUnavailable)


class DefaultEndpoint:
    """A recording.Device: whatever endpoint Windows has for its default one."""

    def __init__(self, flow: int) -> None:
        self._flow = flow
        self._stream: _Stream | None = None
        self._enumerator: Interface | None = None
        self._look_at = 0.0
        self._com = False
        try:
            self._com = com.start()
            self._enumerator = com.create(_ENUMERATOR_CLASS, _ENUMERATOR)
            self._open()
        except ComError as problem:
            self.close()
            raise _unavailable("the sound output cannot be recorded", problem) from problem

    def receive(self) -> bytes:
        """See Device; with another default endpoint, or one that was set up anew, it goes on with that."""
        if self._stream is None:
            raise AudioUnavailable("the sound output is closed")
        try:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _LOOK_S
                if self._default() != self._stream.endpoint:
                    self._open()
            return self._take()
        except ComError as problem:
            raise _unavailable("the sound output stopped", problem) from problem

    def wait(self, timeout_s: float) -> None:
        """See Device."""
        if self._stream is not None:
            self._stream.wait(timeout_s)

    def close(self) -> None:
        """See Device."""
        self._close_stream()
        if self._enumerator is not None:
            self._enumerator.release()
            self._enumerator = None
        if self._com:
            self._com = False
            com.end()

    def _take(self) -> bytes:
        if self._stream is None:
            raise AudioUnavailable("the sound output is closed")
        try:
            return self._stream.take()
        except ComError as problem:
            if problem.result != _DEVICE_INVALIDATED:
                raise
        self._open()
        return b""

    def _open(self) -> None:
        """Record the endpoint that is the default one now. Raises ComError."""
        self._close_stream()
        with released(self._default_device()) as device:
            self._stream = _Stream(device, loopback=self._flow == RENDER)
        self._look_at = time.monotonic() + _LOOK_S

    def _default(self) -> str:
        with released(self._default_device()) as device:
            return _id_of(device)

    def _default_device(self) -> Interface:
        """IMMDeviceEnumerator::GetDefaultAudioEndpoint."""
        assert self._enumerator is not None  # noqa: S101 - until close
        flow, role = ctypes.c_int(self._flow), ctypes.c_int(_CONSOLE)
        return self._enumerator.made(4, flow, role)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Stream:
    """A running recording of one endpoint."""

    def __init__(self, device: Interface, *, loopback: bool) -> None:
        """The device stays the caller's. Raises ComError."""
        self.endpoint = _id_of(device)
        self._capture: Interface | None = None
        context = wintypes.DWORD(com.CLSCTX_ALL)
        self._client = device.made(3, ctypes.pointer(Guid(_CLIENT)), context, ctypes.c_void_p())
        self._event = kernel32.CreateEventW(None, 0, 0, None)  # resets itself
        try:
            self._start(_EVENT_CALLBACK | _CONVERT | (_LOOPBACK if loopback else 0))
        except ComError:
            self.close()
            raise

    def _start(self, flags: int) -> None:
        """IAudioClient: Initialize, SetEventHandle, GetService, Start."""
        shared, period = ctypes.c_int(0), ctypes.c_longlong(0)
        self._client.checked(
            3, shared, wintypes.DWORD(flags), ctypes.c_longlong(_BUFFER_100NS), period,
            ctypes.pointer(_FORMAT), ctypes.c_void_p(),
        )  # fmt: skip
        self._client.checked(13, wintypes.HANDLE(self._event))
        self._capture = self._client.made(14, ctypes.pointer(Guid(_CAPTURE_CLIENT)))
        self._client.checked(10)

    def take(self) -> bytes:
        """All that is there: IAudioCaptureClient::GetBuffer and ReleaseBuffer until it is empty."""
        assert self._capture is not None  # noqa: S101 - until close
        parts: list[bytes] = []
        start, samples, flags = ctypes.c_void_p(), wintypes.UINT(), wintypes.DWORD()
        nowhere = ctypes.c_void_p()
        while True:
            # AUDCLNT_S_BUFFER_EMPTY is a success, with no samples
            self._capture.checked(
                3, ctypes.pointer(start), ctypes.pointer(samples), ctypes.pointer(flags), nowhere, nowhere,
            )  # fmt: skip
            if not samples.value:
                return b"".join(parts)
            size_bytes = samples.value * _SAMPLE_BYTES
            if flags.value & _SILENT or start.value is None:
                parts.append(bytes(size_bytes))
            else:
                parts.append(ctypes.string_at(start.value, size_bytes))
            self._capture.checked(4, samples)

    def wait(self, timeout_s: float) -> None:
        """Until Windows says that there is something; where nothing plays it says nothing."""
        kernel32.WaitForSingleObject(self._event, max(1, int(timeout_s * 1000)))

    def close(self) -> None:
        """Once."""
        if self._capture is not None:
            self._client.call(11)  # Stop
            self._capture.release()
        self._client.release()
        kernel32.CloseHandle(self._event)


def _unavailable(what: str, problem: ComError) -> AudioUnavailable:
    words = _WORDS.get(problem.result, "an error that the agent does not know")
    return AudioUnavailable(f"{what}: {words} ({problem})")


def _id_of(device: Interface) -> str:
    """IMMDevice::GetId."""
    text = ctypes.c_void_p()
    device.checked(5, ctypes.pointer(text))
    try:
        return ctypes.wstring_at(text.value) if text.value else ""
    finally:
        com.free(text.value)
