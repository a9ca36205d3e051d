"""H.264 packetization: an Annex B access unit in, RTP payloads out (RFC 6184, packetization-mode 1)."""

from __future__ import annotations

import re
from typing import Final

from agent.rtp.packet import Part

STAP_A: Final = 24
FU_A: Final = 28
FU_A_BYTES: Final = 2
LENGTH_BYTES: Final = 2
_FIND_START_CODES: Final = re.compile(rb"\x00\x00\x01").finditer
"""Half the time of `bytes.find`, which looks at every third byte of a picture."""
_LEFT_OUT: Final = frozenset((9, 12))
"""Access unit delimiters and filler data: the marker bit and the timestamp say the first, the second says nothing."""


def nal_units(unit: bytes) -> list[tuple[int, int]]:
    """Where the NAL units of an access unit lie: (start, end) without start codes (H.264 Annex B)."""
    codes = [match.span() for match in _FIND_START_CODES(unit)]
    ends = [start for start, _ in codes[1:]]
    found: list[tuple[int, int]] = []
    for (_, start), following in zip(codes, [*ends, len(unit)], strict=False):
        end = following
        while end > start and unit[end - 1] == 0:
            end -= 1  # "trailing_zero_8bits": a NAL unit never ends with a zero byte (7.4.1)
        if end > start:
            found.append((start, end))
    return found


def packetize(unit: bytes, limit: int) -> list[Part]:
    """The RTP payloads of an access unit, each of at most `limit` bytes.

    Neighbouring NAL units that fit share one STAP-A (SPS and PPS, small slices); what is larger than
    `limit` is cut into FU-A fragments of equal size, so that they can leave in one segmented send.
    """
    parts: list[Part] = []
    group: list[tuple[int, int]] = []
    room = 0
    for start, end in nal_units(unit):
        if unit[start] & 0x1F in _LEFT_OUT:
            continue
        size = end - start
        if group and room + LENGTH_BYTES + size > limit:
            parts.append(_grouped(unit, group))
            group = []
        if size > limit:
            parts += _fragments(unit[start], start + 1, end, limit)
            continue
        room = (room if group else 1) + LENGTH_BYTES + size
        group.append((start, end))
    if group:
        parts.append(_grouped(unit, group))
    return parts


def _grouped(unit: bytes, group: list[tuple[int, int]]) -> Part:
    if len(group) == 1:
        return b"", *group[0]
    forbidden = max(unit[start] & 0x80 for start, _ in group)
    importance = max(unit[start] & 0x60 for start, _ in group)  # RFC 6184 5.7: the maximum NRI
    payload = bytearray([forbidden | importance | STAP_A])
    for start, end in group:
        payload += (end - start).to_bytes(2, "big") + unit[start:end]
    return bytes(payload), 0, 0


def _fragments(header: int, start: int, end: int, limit: int) -> list[Part]:
    """FU-A fragments of a NAL unit without its header byte (RFC 6184 5.8); always two or more."""
    count = -(-(end - start) // (limit - FU_A_BYTES))
    size = -(-(end - start) // count)
    indicator, kind = header & 0xE0 | FU_A, header & 0x1F
    middle = bytes((indicator, kind))
    parts: list[Part] = [(middle, cut, cut + size) for cut in range(start, end, size)]
    parts[0] = (bytes((indicator, kind | 0x80)), start, start + size)
    parts[-1] = (bytes((indicator, kind | 0x40)), parts[-1][1], end)
    return parts
