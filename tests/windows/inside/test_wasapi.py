"""Sound by WASAPI; tests/windows/test_sound.py has a sound server play a tone of 523 Hz meanwhile."""

from __future__ import annotations

import os
import sys
import threading
import time

import numpy as np
import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent import backends
from agent.audio import wasapi
from agent.audio.base import BLOCK_SAMPLES, SAMPLE_RATE_HZ, AudioUnavailable
from agent.audio.recording import KEPT_BACKLOG_BYTES, MAX_BACKLOG_BYTES
from agent.audio.wasapi import CAPTURE, DefaultEndpoint, WasapiSource
from agent.com import ComError
from tests.windows.inside.monitor import MonitorSource

if "PULSE_SERVER" not in os.environ:
    pytest.skip("needs the sound server of tests/windows/test_sound.py", allow_module_level=True)

PLAYED_HZ = 523
LIMIT_S = 20.0


def until_it_sounds(source: MonitorSource) -> None:
    """PulseAudio's null sink may work two seconds ahead at first."""
    end = time.monotonic() + LIMIT_S
    while not source.read().any():
        assert time.monotonic() < end, f"no sound within {LIMIT_S} s"


def loudest_hz(source: MonitorSource) -> float:
    """Of a second of sound."""
    until_it_sounds(source)
    sound = np.concatenate([source.read()[:, 0] for _ in range(100)]).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / len(sound)


def test_wine_says_that_it_records_no_output() -> None:
    reason = WasapiSource.probe()
    assert reason is not None
    assert "does not let an output be recorded" in reason
    assert "0x88890003" in reason
    with pytest.raises(AudioUnavailable, match="does not let an output"):
        backends.open_audio("gdi")


def test_what_plays_is_recorded_in_blocks_of_ten_milliseconds() -> None:
    assert MonitorSource.probe() is None
    source = MonitorSource()
    block = source.read()
    assert block.shape == (BLOCK_SAMPLES, 2)
    assert block.dtype == np.int16
    assert loudest_hz(source) == pytest.approx(PLAYED_HZ, abs=3)
    source.close()
    source.close()
    with pytest.raises(AudioUnavailable, match="closed"):
        source.read()


def test_it_is_opened_and_closed_on_one_thread_after_the_other() -> None:
    """COM is each thread's own."""
    heard: list[bool] = []

    def listen() -> None:
        source = MonitorSource()
        until_it_sounds(source)
        heard.append(True)
        source.close()

    for _ in range(3):
        thread = threading.Thread(target=listen)
        thread.start()
        thread.join(2 * LIMIT_S)
    assert heard == [True] * 3


def test_another_default_endpoint_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wine has one default endpoint for good, so what Windows says of it is changed for a moment."""
    source = MonitorSource()
    device = source._device
    assert isinstance(device, DefaultEndpoint)
    former = device._stream
    with monkeypatch.context() as patch:
        patch.setattr(device, "_default", lambda: "another")
        while device._stream is former:
            source.read()
    assert loudest_hz(source) == pytest.approx(PLAYED_HZ, abs=3)
    source.close()


def test_an_output_that_was_set_up_anew_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def invalidated(_: object) -> bytes:
        raise ComError(0x88890004)

    source = MonitorSource()
    device = source._device
    assert isinstance(device, DefaultEndpoint)
    former = device._stream
    with monkeypatch.context() as patch:
        patch.setattr(wasapi._Stream, "take", invalidated)
        source.read()
    assert device._stream is not former
    assert loudest_hz(source) == pytest.approx(PLAYED_HZ, abs=3)
    source.close()


def test_a_windows_without_any_output_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: object) -> str:
        raise ComError(0x80070490)

    source = MonitorSource()
    monkeypatch.setattr(DefaultEndpoint, "_default", nothing)
    device = source._device
    assert isinstance(device, DefaultEndpoint)
    device._look_at = 0.0
    with pytest.raises(AudioUnavailable, match="no sound output is plugged in"):
        source.read()
    source.close()


def test_unread_sound_does_not_pile_up() -> None:
    source = MonitorSource()
    until_it_sounds(source)
    time.sleep(0.5)  # the reader is late, the device is not
    source.read()
    assert len(source._pending) <= MAX_BACKLOG_BYTES
    assert KEPT_BACKLOG_BYTES < MAX_BACKLOG_BYTES
    source.close()


def test_every_stream_is_given_back() -> None:
    """Handles of this process, after many streams."""
    import ctypes

    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    kernel32.GetProcessHandleCount.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulong)]

    def handles() -> int:
        count = ctypes.c_ulong()
        assert kernel32.GetProcessHandleCount(kernel32.GetCurrentProcess(), ctypes.byref(count))
        return count.value

    def use() -> None:
        device = DefaultEndpoint(CAPTURE)
        device.wait(0.02)
        device.receive()
        device.close()

    use()
    before = handles()
    for _ in range(20):
        use()
    assert handles() < before + 10
