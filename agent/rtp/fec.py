"""Parity packets behind the packets of a frame, so that a lost one need not be asked for: FlexFEC.

Sections are those of draft-ietf-payload-flexible-fec-scheme-03, as libwebrtc's Flexfec03HeaderReader
takes it: one source, masks of 15, 46 or 109 packets. Its receiver restores what is the only missing packet of
a parity packet, again and again (ForwardErrorCorrection::AttemptRecovery); `_rows` says what that makes of losses.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, log
from typing import Final

RTP_HEADER_BYTES: Final = 12
MAX_HEADER_BYTES: Final = 32
"""Of FlexFEC, with the longest mask; 20 and 24 with the others."""
OVERHEAD_BYTES: Final = MAX_HEADER_BYTES + 8
"""How much larger than what it covers a parity packet can be: it repeats the covered header extensions
as payload, and has a transport-wide number (8 bytes) and the FlexFEC header of its own."""
MAX_BLOCK: Final = 96
"""Packets covered together: a mask holds 109, and libwebrtc keeps 192 to restore from."""
MASK_BITS: Final = 109
WINDOW: Final = 3
"""Blocks that a parity packet covers: its own and what was sent before, of which the last frame may still miss packets.
They then come with the next frame instead of a round trip later."""
RESIDUAL: Final = 0.005
RESIDUAL_OF_HIT: Final = 0.05
"""So many frames, or so many of those that are hit, are left to what comes later. Each misses a display tick; of
all frames that should be fewer than the hundredth."""
LONE: Final = 1.5
"""Bursts up to here are lone losses: of 5 % random loss, too, some follow each other."""
LONG_BURSTS: Final = 0.1
"""Of bursts that are longer than there are parity packets."""
SHORT_BURSTS: Final = 1 / 2
"""Of bursts no longer than the most parity packets of a window: with less they are not worth their bits. By a model of
frames of 12 packets, 4 of parity and repetitions after 100 ms: of bursts of 16 (0.54) 3.6 % of all pictures
come late without, 1.2 % with them."""
MAX_SHARE: Final = 1 / 3
"""Parity packets per packet: above it the bits are better spent on the picture."""
TRANSPORT_NUMBER: Final = slice(17, 19)
"""Of a packet (`HeaderTemplate`). Covered as 0, as the receiver does (RtpPacket::ZeroMutableExtensions)."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How packets get lost on a path."""

    rate: float
    """Of packets, 0 to 1."""
    burst: float = 1.0
    """Packets lost in a row, on average."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1 or self.burst < 1:
            raise ValueError(f"expected a rate of 0 to 1 and a burst of at least 1, got {self}")

    def hits(self, packets: float) -> float:
        """The chance that so many packets in a row do not all arrive."""
        return float(1 - (1 - self.rate / self.burst) ** packets)


@lru_cache(4096)
def parity_count(packets: int, loss: Loss) -> int:
    """How many parity packets so many packets need; none where most bursts are too long for them."""
    if not loss.rate or not packets:
        return 0
    most = ceil(packets * MAX_SHARE)
    # Of bursts with a geometric length, (1 - 1/mean)^n are longer than n.
    if 1 - (1 - 1 / loss.burst) ** (WINDOW * most) < SHORT_BURSTS:
        return 0
    least = 1
    if loss.burst > 1:
        least = ceil(log(LONG_BURSTS) / log(1 - 1 / loss.burst))
    left = max(RESIDUAL, RESIDUAL_OF_HIT * loss.hits(packets))
    for count in range(min(least, most), most):
        if _unrestored(packets, count, loss) <= left:
            return count
    return most


def _unrestored(packets: int, count: int, loss: Loss) -> float:
    """The chance that a frame's own parity packets do not restore it.

    Take a packet of one parity packet for an edge between that and a root, a packet of two for an edge between these,
    and a parity packet itself for one between it and the root: what is lost is restored if it has no cycle.
    Cycles of two are counted here, longer ones are those of a random graph (Erdos and Renyi 1960, 5).
    """
    edges = Counter(frozenset(rows) for rows in _rows(packets, count, 0, lone=loss.burst < LONE))
    edges.update(frozenset((row,)) for row in range(count))
    cycles = loss.rate**2 * sum(edge * (edge - 1) / 2 for edge in edges.values())
    if loss.burst < LONE:
        lost = 2 * loss.rate * (packets + count) / (count + 1)  # edges at a vertex
        if lost >= 1:
            return 1.0
        cycles += (-log(1 - lost) - lost - lost**2 / 2) / 2
    return 1 - exp(-cycles)


@lru_cache(512)
def _rows(packets: int, count: int, age: int, *, lone: bool) -> tuple[tuple[int, ...], ...]:
    """Which of `count` parity packets cover each of so many packets, which left `age` blocks before.

    In its own block a packet is in the row of its number, so that a burst of up to `count` losses hits each row once.
    Against lone losses most are in another row as well, at a distance that differs from turn to turn: of two lost
    packets one is then alone in some row, but where both are in the same ones. Later rows are mixed anew, since what
    the first could not restore were two of one row. The last leave out every other turn: else each row, old and
    new, could miss two packets of a long burst.
    """
    found: list[tuple[int, ...]] = []
    for index in range(packets):
        turn, row = divmod(index, count)
        lap = turn // count
        match age:
            case 0 if lone and turn % count:
                found.append((row, (row + turn) % count))
            case 0:
                found.append((row,))
            case 1:
                # A single row tells two packets apart only by having one of them.
                found.append(() if count == 1 and turn & 1 else ((row + turn + lap) % count,))
            case _:
                left_out = (turn >> 1 if count < 3 else turn) & 1
                found.append(() if left_out else ((row + lap) % count,))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Block:
    """Packets that follow each other in a stream."""

    first: int
    """The sequence number of the first; not wrapped at 2^16 within a block."""
    packets: list[int]
    """Little-endian: shorter ones count as padded with zero bytes at their end."""
    sizes: list[int]

    @classmethod
    def of(cls, plain: bytes, placed: Sequence[tuple[int, int]], first: int) -> _Block:
        """Those at (offset, size) of `plain`."""
        packets = [int.from_bytes(plain[at : at + size], "little") for at, size in placed]
        return cls(first, packets, [size for _, size in placed])

    def __len__(self) -> int:
        return len(self.packets)


class Parity:
    """Makes the parity packets of one stream.

    Holds at most WINDOW - 1 blocks: the oldest goes when one is added.
    """

    def __init__(self, *, numbered: bool) -> None:
        self._numbered = numbered
        """Whether all packets have a transport-wide number."""
        self._before: deque[_Block] = deque(maxlen=WINDOW - 1)

    def forget(self) -> None:
        """Packets leave that are not covered."""
        self._before.clear()

    def cover(
        self, plain: bytes, placed: Sequence[tuple[int, int]], first: int, loss: Loss
    ) -> Iterator[bytes]:
        """The payloads (4.2) of the parity packets for the stream's next RTP packets, at (offset, size) of `plain`.

        `first` is the sequence number of the first. All payloads have to be taken.
        """
        blocks = -(-len(placed) // MAX_BLOCK)
        for number in range(blocks):
            start, stop = (len(placed) * edge // blocks for edge in (number, number + 1))
            block = _Block.of(plain, placed[start:stop], first + start & 0xFFFF)
            yield from self._payloads(block, plain[8:12], loss)
            self._before.append(block)

    def _payloads(self, block: _Block, ssrc: bytes, loss: Loss) -> Iterator[bytes]:
        window, total = [block], len(block)
        for before in reversed(self._before):
            follows = before.first + len(before) & 0xFFFF == window[-1].first
            total += len(before)
            if not follows or total > MAX_BLOCK:
                break
            window.append(before)
        count = parity_count(len(block), loss)
        rows = [_Row() for _ in range(count)]
        at = 0
        for age in range(len(window) - 1, -1, -1):
            covered = window[age]
            where = _rows(len(covered), count, age, lone=loss.burst < LONE) if count else ()
            for index, numbers in enumerate(where):
                for number in numbers:
                    rows[number].add(at + index, covered.packets[index], covered.sizes[index])
            at += len(covered)
        base = window[-1].first.to_bytes(2, "big")
        for row in rows:
            yield row.payload(ssrc, base, numbered=self._numbered)


class _Row:
    """What one parity packet covers."""

    __slots__ = ("_bits", "_lengths", "_longest", "_mask")

    def __init__(self) -> None:
        self._bits = self._lengths = self._longest = self._mask = 0

    def add(self, index: int, bits: int, size: int) -> None:
        """A whole packet, so many behind the first that may be covered."""
        self._bits ^= bits
        self._lengths ^= size - RTP_HEADER_BYTES  # without the fixed RTP header (6.2)
        self._longest = max(self._longest, size)
        self._mask |= 1 << MASK_BITS - 1 - index  # bits 0 to 108, from the left

    def payload(self, ssrc: bytes, base: bytes, *, numbered: bool) -> bytes:
        """See `Parity.cover`."""
        packet = bytearray(self._bits.to_bytes(self._longest, "little"))
        if numbered:
            packet[TRANSPORT_NUMBER] = b"\0\0"
        return b"".join((
            bytes((packet[0] & 0x3F, packet[1])),  # R = F = 0: a mask; P, X, CC, M, PT recovery
            self._lengths.to_bytes(2, "big"),
            packet[4:8],  # TS recovery
            b"\x01\0\0\0",  # SSRCCount, reserved
            ssrc,  # SSRC_0
            base,
            _mask(self._mask),
            packet[RTP_HEADER_BYTES:],
        ))  # fmt: skip


def _mask(mask: int) -> bytes:
    """Bit i says that packet base + i is covered; a k-bit of 1 goes before the last part (4.2.2.1)."""
    pieces = ((mask >> 94, 15), (mask >> 63 & (1 << 31) - 1, 31), (mask & (1 << 63) - 1, 63))
    parts = max(number for number, (piece, _) in enumerate(pieces, 1) if piece)
    return b"".join(
        ((number == parts) << bits | piece).to_bytes((bits + 1) // 8, "big")
        for number, (piece, bits) in enumerate(pieces[:parts], 1)
    )
