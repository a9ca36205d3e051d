"""VP9 packetization: an encoded frame in, RTP payloads out (RFC 9628, flexible mode, one layer)."""

from __future__ import annotations

from typing import Final

from agent.rtp.packet import Part

DESCRIPTOR_BYTES: Final = 4
_PICTURE_ID: Final = 0x80
_INTER: Final = 0x40
_FLEXIBLE: Final = 0x10
_BEGIN: Final = 0x08
_END: Final = 0x04
_PREVIOUS: Final = b"\x02"
"""P_DIFF 1 and no further reference (RFC 9628 4.2): each frame needs the one before it, which had its own."""


def packetize(frame: bytes, limit: int, picture_id: int, *, keyframe: bool) -> list[Part]:
    """The RTP payloads of one frame, each of at most `limit` bytes and all but the last of equal size.

    Each begins with the payload descriptor of RFC 9628 4.2: a 15-bit picture ID, and but for key frames
    the reference to the frame before. Flexible mode, because receivers want layer indices otherwise.
    """
    if not frame:
        return []
    count = -(-len(frame) // (limit - DESCRIPTOR_BYTES))
    size = -(-len(frame) // count)
    flags = _PICTURE_ID | _FLEXIBLE | (0 if keyframe else _INTER)
    tail = (0x8000 | picture_id & 0x7FFF).to_bytes(2, "big") + (b"" if keyframe else _PREVIOUS)
    parts: list[Part] = []
    for cut in range(0, len(frame), size):
        end = min(cut + size, len(frame))
        edges = (0 if cut else _BEGIN) | (_END if end == len(frame) else 0)
        parts.append((bytes([flags | edges]) + tail, cut, end))
    return parts
