"""The desktop's sound: the monitor of the default output, from PulseAudio or PipeWire."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from agent.audio.base import AudioUnavailable
from agent.audio.libpulse import Connection
from agent.audio.recording import BLOCK_BYTES, Recording
from agent.probe import why_not

CONNECT_LIMIT_S = 2.0
ANSWER_LIMIT_S = 0.9
"""Of a server that we are connected to; one answer may be waited for within `read`."""


class PulseSource(Recording):
    """Records what the host plays; another default output is followed."""

    name: ClassVar[str] = "pulse"

    def __init__(self) -> None:
        super().__init__(Monitor())

    @staticmethod
    def probe() -> str | None:
        """None when a sound server answers, else what is missing in words."""
        return why_not(partial(Connection, CONNECT_LIMIT_S), AudioUnavailable)


class Monitor:
    """A recording.Device: the monitor of whatever the default output is."""

    def __init__(self) -> None:
        self._connection = Connection(CONNECT_LIMIT_S)
        try:
            self._connection.watch_default(ANSWER_LIMIT_S)
            self._connection.record(BLOCK_BYTES, ANSWER_LIMIT_S)
        except AudioUnavailable:
            self._connection.close()
            raise

    def receive(self) -> bytes:
        """See Device; a change of the default output goes on with the new one's monitor."""
        self._connection.wait(0.0)
        if self._connection.default_changed():
            self._connection.record(BLOCK_BYTES, ANSWER_LIMIT_S)
        if not self._connection.is_recording():
            raise AudioUnavailable("the sound server ended the recording: is it still running?")
        return b"".join(iter(self._connection.take, b""))

    def wait(self, timeout_s: float) -> None:
        """See Device."""
        self._connection.wait(timeout_s)

    def close(self) -> None:
        """See Device."""
        self._connection.close()
