"""Opus encoding: one 10 ms block in, one packet out."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av

from agent.audio.base import BLOCK_SAMPLES, SAMPLE_RATE_HZ, AudioUnavailable, Block
from agent.audio.plan import OpusSettings

SETTLED_PACKETS: Final = 20
"""So many times in a row the same packet for digital silence: the next one would be the same, too. CELT has a frame of
three bytes for it (RFC 6716 4.3, the silence flag), and is at rest after one or two of them."""


class OpusEncoder:
    """libopus through PyAV. All methods are called from one thread; other settings need another one."""

    def __init__(self, settings: OpusSettings | None = None) -> None:
        self.settings = settings or OpusSettings()
        try:
            context = av.CodecContext.create("libopus", "w")
            context.sample_rate = SAMPLE_RATE_HZ
            context.layout = "stereo"
            context.format = "s16"
            context.bit_rate = self.settings.bitrate_bps
            context.time_base = Fraction(1, SAMPLE_RATE_HZ)
            context.options = {"frame_duration": "10", "vbr": "on", **_robustness(self.settings)}
            context.open()
        except (av.FFmpegError, ValueError) as problem:
            raise AudioUnavailable(f"libopus cannot be opened: {problem}") from problem
        if context.options:
            raise AudioUnavailable(
                f"this build of libopus does not know: {', '.join(sorted(context.options))}"
            )
        self._context = context
        self._pts = 0
        self._last = b""
        self._repeated = 0
        """How often in a row silence was coded as `_last`."""

    def encode(self, block: Block) -> bytes:
        """The packet of one block. Raises AudioUnavailable when the encoder broke down.

        In lasting digital silence, which is most of what a desktop plays, nothing is coded any more.
        """
        silent = not block.any()
        if silent and self._repeated >= SETTLED_PACKETS:
            self._pts += BLOCK_SAMPLES
            return self._last
        before, self._last = self._last, self._code(block)
        self._repeated = self._repeated + 1 if silent and self._last == before else 0
        return self._last

    def _code(self, block: Block) -> bytes:
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._pts
        frame.time_base = self._context.time_base
        self._pts += BLOCK_SAMPLES
        try:
            packets = self._context.encode(frame)
        except (av.FFmpegError, ValueError) as problem:
            raise AudioUnavailable(f"libopus stopped: {problem}") from problem
        if len(packets) != 1:
            raise AudioUnavailable(f"libopus gave {len(packets)} packets for one block")
        return bytes(packets[0])


def _robustness(settings: OpusSettings) -> dict[str, str]:
    """In-band FEC is of SILK's layer (RFC 6716 2.1.7), which `lowdelay` never uses.

    `lowdelay` is CELT alone with 2.5 ms of look-ahead instead of 6.5 (RFC 6716 2.1.9, libopus
    OPUS_APPLICATION_RESTRICTED_LOWDELAY); without loss `audio` would choose CELT as well.
    """
    if not settings.expected_loss_percent:
        return {"application": "lowdelay"}
    expected = str(settings.expected_loss_percent)
    return {"application": "audio", "fec": "1", "packet_loss": expected}
