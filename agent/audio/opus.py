"""Opus encoding: one 10 ms block in, one packet out."""

from __future__ import annotations

from fractions import Fraction

import av

from agent.audio.base import BLOCK_SAMPLES, SAMPLE_RATE_HZ, AudioUnavailable, Block

BITRATE_BPS = 128_000
"""RFC 7587 3.1.1: 64 to 128 kbit/s for full-band stereo music; a desktop plays music and games."""


class OpusEncoder:
    """libopus through PyAV. All methods are called from one thread."""

    def __init__(self, bitrate_bps: int = BITRATE_BPS) -> None:
        context = av.CodecContext.create("libopus", "w")
        context.sample_rate = SAMPLE_RATE_HZ
        context.layout = "stereo"
        context.format = "s16"
        context.bit_rate = bitrate_bps
        context.time_base = Fraction(1, SAMPLE_RATE_HZ)
        # lowdelay is CELT alone with 2.5 ms of look-ahead instead of 6.5 (RFC 6716 2.1.9, libopus
        # OPUS_APPLICATION_RESTRICTED_LOWDELAY); at this rate `audio` would choose CELT as well
        context.options = {"application": "lowdelay", "frame_duration": "10", "vbr": "on"}
        try:
            context.open()
        except (av.FFmpegError, ValueError) as problem:
            raise AudioUnavailable(f"libopus cannot be opened: {problem}") from problem
        if context.options:
            raise AudioUnavailable(
                f"this build of libopus does not know: {', '.join(sorted(context.options))}"
            )
        self._context = context
        self._pts = 0

    def encode(self, block: Block) -> bytes:
        """The packet of one block. Raises AudioUnavailable when the encoder broke down."""
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
