"""Sound: sources on the clock, Opus, a real sound server, and what happens when it dies."""

from __future__ import annotations

import subprocess
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from agent import audio_pipeline
from agent.audio.base import (
    BLOCK_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioSource,
    AudioUnavailable,
    Block,
)
from agent.audio.opus import OpusEncoder
from agent.audio.plan import OpusSettings
from agent.audio.pulse import PulseSource
from agent.audio.silence import SilenceSource
from agent.audio.tone import TONE_HZ, ToneSource
from agent.audio_pipeline import AudioPipeline
from tests.audio.speech import HYBRID
from tests.eventually import eventually
from tests.pipewire import pipewire_server
from tests.pulse import PulseServer, pulse_server

PLAYED_HZ = 523


def loudest_hz(samples: npt.NDArray[Any]) -> float:
    """The frequency that a second or so of sound is loudest at."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / len(samples)


def decode(packets: list[bytes]) -> npt.NDArray[Any]:
    """The left channel of Opus packets."""
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate = SAMPLE_RATE_HZ
    decoder.layout = "stereo"
    blocks = [
        frame.to_ndarray().reshape(-1, 2)[:, 0]
        for packet in packets
        for frame in decoder.decode(av.Packet(packet))
    ]
    return np.concatenate(blocks).astype(np.float64)


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    with pulse_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@contextmanager
def tone_played(directory: Path, *where: str) -> Iterator[None]:
    """The sound server of the environment plays a long tone."""
    path = directory / "tone.wav"
    times = np.arange(SAMPLE_RATE_HZ * 60) / SAMPLE_RATE_HZ
    samples = (np.sin(times * 2 * np.pi * PLAYED_HZ) * 9000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.repeat(samples, 2).tobytes())
    player = subprocess.Popen(["paplay", *where, str(path)])
    try:
        yield
    finally:
        player.kill()
        player.wait(timeout=10)


@pytest.fixture
def played(sound: PulseServer, tmp_path: Path) -> Iterator[PulseServer]:
    """A sound server that plays a long tone."""
    with tone_played(tmp_path):
        yield sound


@pytest.mark.parametrize("source_class", [SilenceSource, ToneSource])
def test_synthetic_sources_keep_the_clock(source_class: type[SilenceSource | ToneSource]) -> None:
    assert source_class.probe() is None
    source = source_class()
    started = time.monotonic()
    for _ in range(20):
        block = source.read()
        assert block.shape == (BLOCK_SAMPLES, 2)
        assert block.dtype == np.int16
    assert time.monotonic() - started > 0.19
    source.close()
    source.close()


def test_tone_survives_opus_at_its_frequency() -> None:
    source, encoder = ToneSource(), OpusEncoder()
    packets = [encoder.encode(source.read()) for _ in range(60)]
    samples = decode(packets)
    assert len(samples) >= 55 * BLOCK_SAMPLES
    assert loudest_hz(samples[-24_000:]) == pytest.approx(TONE_HZ, abs=4)


def test_every_block_is_one_packet_of_ten_milliseconds_in_stereo() -> None:
    encoder = OpusEncoder()
    random = np.random.default_rng(1)
    for _ in range(50):
        block = random.integers(-8000, 8000, (BLOCK_SAMPLES, 2), dtype=np.int16)
        packet = encoder.encode(block)
        # RFC 6716 3.1: the first byte is config (5 bits), stereo (1), frame count code (2)
        assert packet[0] >> 3 in (18, 22, 26, 30)  # CELT-only, 10 ms
        assert packet[0] & 0b100
        assert packet[0] & 0b11 == 0
        assert len(packet) < 400


def test_lasting_silence_is_coded_once_and_sound_after_it_as_ever() -> None:
    encoder, tone = OpusEncoder(), ToneSource()
    blocks = [tone.read() for _ in range(50)]
    silence = np.zeros((BLOCK_SAMPLES, 2), np.int16)
    packets = [encoder.encode(block) for block in blocks]
    packets += [encoder.encode(silence) for _ in range(100)]
    assert packets[-1] is packets[-2]  # nothing new was made
    assert len(packets[-1]) == 3
    packets += [encoder.encode(block) for block in blocks]
    samples = decode(packets)
    assert not np.abs(samples[-90 * BLOCK_SAMPLES : -55 * BLOCK_SAMPLES]).any()
    assert loudest_hz(samples[-45 * BLOCK_SAMPLES :]) == pytest.approx(TONE_HZ, abs=4)


def recorded_hz() -> float:
    """What is played by the sound server of the environment, after Opus."""
    assert PulseSource.probe() is None
    source, encoder = PulseSource(), OpusEncoder()
    eventually(lambda: np.abs(source.read()).max() > 4000)
    packets = [encoder.encode(source.read()) for _ in range(120)]
    source.close()
    return loudest_hz(decode(packets)[-48_000:])


def test_played_tone_is_recorded_through_opus(played: PulseServer) -> None:
    assert recorded_hz() == pytest.approx(PLAYED_HZ, abs=3)


def test_played_tone_is_recorded_from_pipewire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pipewire_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with tone_played(tmp_path):
            assert recorded_hz() == pytest.approx(PLAYED_HZ, abs=3)


def follow_the_default_sink(directory: Path) -> None:
    """While recording, another sink becomes the default one, then the first again; a tone is at the other."""

    def pactl(*command: str) -> None:
        subprocess.run(["pactl", *command], check=True, timeout=10, stdout=subprocess.DEVNULL)

    pactl("load-module", "module-null-sink", "sink_name=headset", "rate=48000")
    source = PulseSource()
    try:
        with tone_played(directory, "--device=headset"):
            for _ in range(50):
                assert not np.any(source.read())
            pactl("set-default-sink", "headset")
            eventually(lambda: np.abs(source.read()).max() > 4000, "the tone at the new default")
            pactl("set-default-sink", "tightbeam_test")
            eventually(lambda: not np.any(source.read()), "silence at the old one")
    finally:
        source.close()


def test_another_default_sink_is_followed(sound: PulseServer, tmp_path: Path) -> None:
    follow_the_default_sink(tmp_path)


def test_another_default_sink_of_pipewire_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pipewire_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        follow_the_default_sink(tmp_path)


def test_a_default_sink_that_goes_away_is_followed(played: PulseServer, tmp_path: Path) -> None:
    """As a headset that is pulled out: the player is moved by the server, too."""
    module = subprocess.run(
        ["pactl", "load-module", "module-null-sink", "sink_name=headset", "rate=48000"],
        check=True, timeout=10, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(["pactl", "set-default-sink", "headset"], check=True, timeout=10)
    source = PulseSource()
    try:
        source.read()
        subprocess.run(["pactl", "unload-module", module], check=True, timeout=10)
        eventually(lambda: np.abs(source.read()).max() > 4000, "the tone at the sink that is left")
    finally:
        source.close()


def test_unread_sound_does_not_pile_up(played: PulseServer) -> None:
    source = PulseSource()
    eventually(lambda: np.abs(source.read()).max() > 4000)
    time.sleep(0.5)  # the reader is late, the server is not
    source.read()
    assert len(source._pending) <= 6 * BLOCK_SAMPLES * 4
    source.close()


def test_sound_server_that_says_nothing_gives_silence_in_time(sound: PulseServer) -> None:
    source = PulseSource()
    for _ in range(5):
        source.read()
    sound.pause()
    try:
        started = time.monotonic()
        blocks = [source.read() for _ in range(40)]
        assert time.monotonic() - started < 10  # each read has its limit
        assert not np.any(blocks[-1])
    finally:
        sound.resume()
    source.close()


def test_death_of_the_sound_server_is_said_in_words(sound: PulseServer) -> None:
    source = PulseSource()
    source.read()
    sound.kill()

    def read_on() -> None:
        for _ in range(500):
            source.read()

    with pytest.raises(AudioUnavailable, match="sound server"):
        read_on()
    source.close()
    source.close()
    with pytest.raises(AudioUnavailable, match="closed"):
        source.read()
    reason = PulseSource.probe()
    assert reason is not None
    assert "no sound server answers" in reason


def test_missing_library_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", absent)
    reason = PulseSource.probe()
    assert reason is not None
    assert "libpulse0" in reason


class Listener:
    """Collects packets and their timestamps."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.timestamps: list[int] = []

    def __call__(self, packet: bytes, timestamp: int) -> None:
        self.packets.append(packet)
        self.timestamps.append(timestamp)


def audio_threads() -> int:
    return sum(thread.name == "audio" for thread in threading.enumerate())


def test_listeners_share_one_thread_that_ends_with_the_last() -> None:
    pipeline = AudioPipeline(ToneSource)
    first, second = Listener(), Listener()
    pipeline.add_listener("a", first)
    pipeline.add_listener("b", second)
    eventually(lambda: len(first.packets) > 10 and len(second.packets) > 5)
    assert audio_threads() == 1
    assert set(np.diff(first.timestamps)) == {BLOCK_SAMPLES}
    pipeline.remove_listener("a")
    seen = len(second.packets)
    eventually(lambda: len(second.packets) > seen)
    pipeline.remove_listener("b")
    pipeline.remove_listener("b")
    assert audio_threads() == 0


class BreakingSource(ToneSource):
    """Sounds for five blocks."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 5

    def read(self) -> Block:
        self._left -= 1
        if self._left < 0:
            raise AudioUnavailable("the sound server went away")
        return super().read()


def test_users_are_told_once_that_sound_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_pipeline, "FIRST_BACK_OFF_S", 0.01)
    opened: list[int] = []

    def open_source() -> AudioSource:
        opened.append(1)
        if len(opened) == 1:
            return BreakingSource()
        raise AudioUnavailable(f"start the sound server ({len(opened)})")

    faults: list[str] = []
    pipeline = AudioPipeline(open_source)
    pipeline.on_fault = faults.append
    pipeline.add_listener("a", Listener())
    eventually(lambda: len(opened) == 4)
    pipeline.remove_listener("a")
    assert faults == ["the sound server went away"]


def test_silence_is_sent_and_nobody_bothered_while_there_is_no_source(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audio_pipeline, "FIRST_BACK_OFF_S", 0.03)
    opened: list[int] = []

    def open_source() -> AudioSource:
        opened.append(1)
        if len(opened) < 4:
            raise AudioUnavailable("start the sound server")
        return ToneSource()

    faults: list[str] = []
    listener = Listener()
    pipeline = AudioPipeline(open_source)
    pipeline.on_fault = faults.append
    pipeline.add_listener("a", listener)
    eventually(lambda: len(opened) == 4)
    quiet = len(listener.packets)
    assert quiet >= 3
    eventually(lambda: len(listener.packets) > quiet + 60)
    pipeline.remove_listener("a")
    assert faults == []
    assert caplog.text.count("start the sound server") == 1
    assert set(np.diff(listener.timestamps)) == {BLOCK_SAMPLES}
    assert loudest_hz(decode(listener.packets)[-24_000:]) == pytest.approx(TONE_HZ, abs=4)


def test_sound_comes_back_with_the_server(
    sound: PulseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_pipeline, "FIRST_BACK_OFF_S", 0.05)
    sources: list[PulseSource] = []

    def open_source() -> AudioSource:
        sources.append(PulseSource())
        return sources[-1]

    listener = Listener()
    pipeline = AudioPipeline(open_source)
    pipeline.add_listener("a", listener)
    eventually(lambda: sources and len(listener.packets) > 5)
    sound.kill()
    seen = len(listener.packets)
    eventually(lambda: len(listener.packets) > seen + 20)
    sound.restart()
    eventually(lambda: len(sources) == 2)
    pipeline.remove_listener("a")
    assert audio_threads() == 0


def test_broken_source_and_sink_do_not_end_the_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_pipeline, "FIRST_BACK_OFF_S", 0.03)
    opened: list[Callable[[], AudioSource]] = []

    def open_source() -> AudioSource:
        opened.append(ToneSource)
        if len(opened) == 1:
            raise ZeroDivisionError
        return ToneSource()

    def fail(packet: bytes, timestamp: int) -> None:
        raise ConnectionError

    listener = Listener()
    pipeline = AudioPipeline(open_source)
    pipeline.add_listener("bad", fail)
    pipeline.add_listener("good", listener)
    eventually(lambda: len(opened) == 2 and len(listener.packets) > 5)
    pipeline.remove_listener("bad")
    pipeline.remove_listener("good")


def test_the_code_of_the_sound_changes_between_two_blocks() -> None:
    listener = Listener()
    pipeline = AudioPipeline(ToneSource)
    pipeline.add_listener("one", listener)
    eventually(lambda: len(listener.packets) > 5)
    pipeline.adapt(OpusSettings(64_000, 10))
    eventually(lambda: listener.packets[-1][0] >> 3 <= HYBRID)
    pipeline.adapt(OpusSettings())
    eventually(lambda: listener.packets[-1][0] >> 3 > HYBRID)
    pipeline.remove_listener("one")
    times = listener.timestamps
    assert times == list(range(0, BLOCK_SAMPLES * len(times), BLOCK_SAMPLES))
    assert len(decode(listener.packets)) >= times[-1]
