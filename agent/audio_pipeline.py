"""The sound's way through the host: source, Opus, listeners; one thread named `audio`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from agent.audio.base import BLOCK_SAMPLES, AudioSource, AudioUnavailable, Block
from agent.audio.opus import OpusEncoder
from agent.audio.plan import OpusSettings
from agent.audio.silence import SilenceSource

logger = logging.getLogger(__name__)

Sink = Callable[[bytes, int], None]

FIRST_BACK_OFF_S = 1.0
LAST_BACK_OFF_S = 30.0
JOIN_LIMIT_S = 4.0
"""Opening a source waits for at most 3.8 s (agent/audio/pulse.py)."""

_TIMESTAMP_MODULUS = 2**32


class AudioPipeline:
    """One source, one encode, any number of listeners.

    The thread runs from the first listener to the last. Methods may be called from any thread; only
    `remove_listener` may block, when it removes the last one.
    """

    def __init__(self, open_source: Callable[[], AudioSource]) -> None:
        self._open_source = open_source
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._settings = OpusSettings()
        self.on_fault: Callable[[str], None] = _ignore
        """Called on the audio thread with words for the user when sound stops; silence is sent meanwhile.

        Where there was none to begin with, a host without a sound server, only the log says so.
        """

    def add_listener(self, listener_id: str, sink: Sink) -> None:
        """Send to one more; `sink(packet, timestamp)` runs on the audio thread.

        `timestamp` counts samples at 48 kHz modulo 2**32, 480 a packet.
        """
        with self._lock:
            if self._run is None:
                self._run = _Run(self._open_source, self._fault)
                self._run.sinks = {listener_id: sink}
                self._run.settings = self._settings
                self._run.thread.start()
            else:
                # replaced whole: the audio thread reads it without a lock
                self._run.sinks = {**self._run.sinks, listener_id: sink}

    def adapt(self, settings: OpusSettings) -> None:
        """Code the sound so from the next block on."""
        with self._lock:
            self._settings = settings
            if self._run is not None:
                self._run.settings = settings

    def remove_listener(self, listener_id: str) -> None:
        """Stop sending to a listener; with the last one, close the source and join the thread."""
        with self._lock:
            run = self._run
            if run is None:
                return
            run.sinks = {key: sink for key, sink in run.sinks.items() if key != listener_id}
            if run.sinks:
                return
            self._run = None
        run.stop.set()
        run.thread.join(JOIN_LIMIT_S)
        if run.thread.is_alive():
            logger.error("the audio thread did not end in %.0f s", JOIN_LIMIT_S)

    def _fault(self, reason: str) -> None:
        self.on_fault(reason)


class _Run:
    """The thread between a first and a last listener."""

    def __init__(
        self, open_source: Callable[[], AudioSource], on_fault: Callable[[str], None]
    ) -> None:
        self._open_source = open_source
        self._on_fault = on_fault
        self.stop = threading.Event()
        self.sinks: dict[str, Sink] = {}
        self.settings = OpusSettings()
        """Replaced whole, as the sinks are."""
        self.thread = threading.Thread(target=self._work, name="audio", daemon=True)
        self._back_off_s = FIRST_BACK_OFF_S
        self._last_fault = ""
        self._sounded = False
        """There was sound, and nobody was told yet that it stopped."""
        self._timestamp = 0
        self._encoder: OpusEncoder | None = None

    def _work(self) -> None:
        while not self.stop.is_set():
            try:
                self._send_from(self._open_source(), until=None)
            except AudioUnavailable as problem:
                self._report(str(problem))
            except Exception as problem:
                logger.exception("the audio source broke")
                self._sounded = True
                self._report(f"sound failed unexpectedly ({type(problem).__name__}): see the log")
                self._encoder = None
            else:
                return
            self._be_silent()
            self._back_off_s = min(2 * self._back_off_s, LAST_BACK_OFF_S)

    def _be_silent(self) -> None:
        """Send silence until it is time to open the source again."""
        until = time.monotonic() + self._back_off_s
        try:
            self._send_from(SilenceSource(), until=until)
        except AudioUnavailable as problem:
            self._report(str(problem))
            self.stop.wait(max(0.0, until - time.monotonic()))

    def _send_from(self, source: AudioSource, until: float | None) -> None:
        """Send the source's blocks until stopped or `until`; closes it by any path."""
        try:
            while not self.stop.is_set() and (until is None or time.monotonic() < until):
                packet = self._encode(source.read())
                if until is None:
                    self._back_off_s = FIRST_BACK_OFF_S
                    self._last_fault = ""
                    self._sounded = True
                self._deliver(packet)
        finally:
            source.close()

    def _encode(self, block: Block) -> bytes:
        if self._encoder is None or self._encoder.settings != self.settings:
            self._encoder = OpusEncoder(self.settings)
        return self._encoder.encode(block)

    def _deliver(self, packet: bytes) -> None:
        for listener_id, sink in self.sinks.items():
            try:
                sink(packet, self._timestamp)
            except Exception:
                logger.exception("listener %s: its sink failed", listener_id)
        self._timestamp = (self._timestamp + BLOCK_SAMPLES) % _TIMESTAMP_MODULUS

    def _report(self, reason: str) -> None:
        """Tell about a fault once, not at every try."""
        if reason != self._last_fault:
            self._last_fault = reason
            logger.warning("no sound: %s", reason)
            if self._sounded:
                self._sounded = False
                self._on_fault(reason)


def _ignore(reason: str) -> None:
    """Nobody listens; the fault is in the log."""
