"""Encodes the SUMMARY of the `stats` data channel (docs/protocol.md 6.3), on its way to the overlay: a core."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
TYPE_SUMMARY: Final = 1
MAX_ENCODER_BYTES: Final = 32

_FIXED: Final = struct.Struct("!BBHHHHHHHIIHHI")
_U16: Final = 0xFFFF
_U32: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Summary:
    """What one viewer's session looked like in the last second; stage times are medians."""

    width: int
    height: int
    fps: float
    capture_us: float
    convert_us: float
    encode_us: float
    send_us: float
    target_bps: float
    sent_bps: float
    loss: float
    """Fraction lost, 0..1."""
    rtt_s: float
    dropped: int
    encoder: str


def _clamped(value: float, most: int) -> int:
    return min(max(round(value), 0), most)


def encode_summary(summary: Summary) -> bytes:
    """The message; what does not fit its field is clamped, the name is cut at a character."""
    name = summary.encoder.encode("utf-8")[:MAX_ENCODER_BYTES].decode("utf-8", "ignore").encode()
    fixed = _FIXED.pack(
        VERSION,
        TYPE_SUMMARY,
        _clamped(summary.width, _U16),
        _clamped(summary.height, _U16),
        _clamped(summary.fps * 10, _U16),
        _clamped(summary.capture_us / 10, _U16),
        _clamped(summary.convert_us / 10, _U16),
        _clamped(summary.encode_us / 10, _U16),
        _clamped(summary.send_us / 10, _U16),
        _clamped(summary.target_bps, _U32),
        _clamped(summary.sent_bps, _U32),
        _clamped(summary.loss * 1000, _U16),
        _clamped(summary.rtt_s * 10_000, _U16),
        _clamped(summary.dropped, _U32),
    )
    return fixed + bytes([len(name)]) + name
