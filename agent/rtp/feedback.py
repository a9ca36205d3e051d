"""Transport-wide feedback: when each packet arrived at the viewer.

Sections are those of draft-holmer-rmcat-transport-wide-cc-extensions-01.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

DELTA_US: Final = 250
REFERENCE_US: Final = 64_000
MAX_PACKETS: Final = 1 << 15
"""Half the sequence space: more in one report could not be told apart."""
LOST, SMALL, LARGE = 0, 1, 2

_HEAD = Struct("!HHL")
_LARGE_DELTA = Struct("!h")


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """Arrivals of packets by their transport-wide sequence number.

    `arrivals` holds for each number from `base_sequence` on the arrival time in microseconds of the
    viewer's clock (with an arbitrary origin, wrapping after 12.4 days), or None for a lost packet.
    """

    media_ssrc: int
    report_count: int
    base_sequence: int
    arrivals: tuple[int | None, ...]


def parse_transport_feedback(media_ssrc: int, body: bytes) -> TransportFeedback:
    """The body behind the two SSRCs (3.1); raise ValueError for one that does not hold what it says."""
    if len(body) < 8:
        raise ValueError(f"transport-cc: expected 8 bytes, got {len(body)}")
    base, count, reference = _HEAD.unpack_from(body)
    if count > MAX_PACKETS:
        raise ValueError(f"transport-cc: expected at most {MAX_PACKETS} packets, got {count}")
    symbols, position = _symbols(body, count)
    now_us = (reference >> 8) * REFERENCE_US
    arrivals: list[int | None] = []
    for symbol in symbols:
        if symbol == SMALL:
            if position + 1 > len(body):
                raise ValueError("transport-cc: a receive delta is missing")
            now_us += body[position] * DELTA_US
            position += 1
        elif symbol == LARGE:
            if position + 2 > len(body):
                raise ValueError("transport-cc: a receive delta is missing")
            now_us += _LARGE_DELTA.unpack_from(body, position)[0] * DELTA_US
            position += 2
        else:
            arrivals.append(None)  # lost, or the reserved symbol 3
            continue
        arrivals.append(now_us)
    return TransportFeedback(media_ssrc, reference & 0xFF, base, tuple(arrivals))


def _symbols(body: bytes, count: int) -> tuple[list[int], int]:
    """The status of each packet (3.1.2 - 3.1.4), and where the receive deltas begin."""
    symbols: list[int] = []
    position = 8
    while len(symbols) < count:
        if position + 2 > len(body):
            raise ValueError("transport-cc: a packet status chunk is missing")
        chunk = body[position] << 8 | body[position + 1]
        position += 2
        if not chunk & 0x8000:
            length = min(chunk & 0x1FFF, count - len(symbols))
            if not length:
                raise ValueError("transport-cc: an empty run")
            symbols += [chunk >> 13 & 3] * length
        elif chunk & 0x4000:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    return symbols[:count], position
