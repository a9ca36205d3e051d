"""VP8 packetization: an encoded frame in, RTP payloads out (RFC 7741)."""

from __future__ import annotations

from typing import Final

from agent.rtp.packet import Part

DESCRIPTOR_BYTES: Final = 4


def packetize(frame: bytes, limit: int, picture_id: int) -> list[Part]:
    """The RTP payloads of one frame, each of at most `limit` bytes and all but the last of equal size.

    Each begins with the payload descriptor of RFC 7741 4.2 with a 15-bit PictureID, which lets a
    receiver see a lost frame.
    """
    if not frame:
        return []
    count = -(-len(frame) // (limit - DESCRIPTOR_BYTES))
    size = -(-len(frame) // count)
    tail = b"\x80" + (0x8000 | picture_id & 0x7FFF).to_bytes(2, "big")  # I=1, then M=1 and the id
    first, other = b"\x90" + tail, b"\x80" + tail  # X=1; S=1 at the start of the partition
    return [
        (other if cut else first, cut, min(cut + size, len(frame)))
        for cut in range(0, len(frame), size)
    ]
