"""Encodes SUMMARY and DELIVERY of the `stats` data channel (docs/protocol.md 6.3), for the overlay: a core."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
TYPE_SUMMARY: Final = 1
TYPE_DELIVERY: Final = 6
MAX_ENCODER_BYTES: Final = 32
MAX_REASON_BYTES: Final = 600
"""With it the message fits in one packet."""

_FIXED: Final = struct.Struct("!BBHHHHHHHIIHHI")
_DELIVERY: Final = struct.Struct("!BBBIIIIH")
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


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one viewer gets, and how it is repaired; packets are counted since the session began."""

    lower: bool
    """The lower picture, which those share whose paths carry less than the player's."""
    packets: int
    parity: int
    repeated: int
    refused: int
    """Asked for again, and not sent."""
    reason: str
    """Why this encoder and no better one, in words; empty: it is the first choice."""


def encode_delivery(delivery: Delivery) -> bytes:
    """The message; what does not fit its field is clamped, the words are cut at a character."""
    reason = _cut(delivery.reason, MAX_REASON_BYTES)
    counts = (delivery.packets, delivery.parity, delivery.repeated, delivery.refused)
    clamped = (_clamped(count, _U32) for count in counts)
    head = _DELIVERY.pack(VERSION, TYPE_DELIVERY, delivery.lower, *clamped, len(reason))
    return head + reason


def _cut(text: str, most_bytes: int) -> bytes:
    return text.encode("utf-8")[:most_bytes].decode("utf-8", "ignore").encode()


def _clamped(value: float, most: int) -> int:
    return min(max(round(value), 0), most)


def encode_summary(summary: Summary) -> bytes:
    """The message; what does not fit its field is clamped, the name is cut at a character."""
    name = _cut(summary.encoder, MAX_ENCODER_BYTES)
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
