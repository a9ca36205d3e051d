"""RTP packets written in place: a header with its one-byte extensions, then the payload, burst by burst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

MAX_PACKET_BYTES: Final = 1200
"""A UDP payload that fits IPv6's minimum MTU of 1280 (RFC 8200 5) under a VPN's overhead; as in libwebrtc."""
RTX_OVERHEAD_BYTES: Final = 2
"""The original sequence number in front of a retransmitted payload (RFC 4588 4)."""
MARKER: Final = 0x80
ONE_BYTE_PROFILE: Final = 0xBEDE
"""RFC 8285 4.2."""

MID_URI: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY_URI: Final = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
TRANSPORT_CC_URI: Final = (
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

Numbers = tuple[int, int, int]
"""Of a packet, or of the first of a burst: sequence, timestamp, transport-wide sequence."""
Part = tuple[bytes, int, int]
"""The payload of one packet: bytes that go first, then a slice (start, end) of the encoded frame."""


@dataclass(frozen=True, slots=True)
class PlayoutDelay:
    """How long the receiver shall hold a frame back; in steps of 10 ms, 0..40,950 each.

    0/0 makes Chromium render at once (webrtc.org/experiments/rtp-hdrext/playout-delay).
    """

    min_ms: int = 0
    max_ms: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.min_ms <= self.max_ms <= 40_950:
            raise ValueError(f"expected 0 <= min <= max <= 40950 ms, got {self}")

    def to_bytes(self) -> bytes:
        """24 bits: min and max, 12 bits each, in units of 10 ms."""
        return ((self.min_ms // 10) << 12 | (self.max_ms // 10)).to_bytes(3, "big")


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What all packets of one stream have in common. An extension without an id is not written."""

    payload_type: int
    ssrc: int
    mid: str = ""
    mid_id: int | None = None
    transport_cc_id: int | None = None
    playout_delay_id: int | None = None
    playout_delay: PlayoutDelay = PlayoutDelay()


def _element(extension_id: int, value: bytes) -> bytes:
    if not 1 <= extension_id <= 14 or not 1 <= len(value) <= 16:
        raise ValueError(f"not a one-byte header extension: id {extension_id}, {len(value)} bytes")
    return bytes([extension_id << 4 | len(value) - 1]) + value


class HeaderTemplate:
    """The RTP header of one stream, written by one `Struct.pack_into` (RFC 3550 5.1, RFC 8285 4.2).

    The transport-wide sequence number, where it was negotiated, is the first extension element:
    `full` packs first byte, marker and payload type, sequence, timestamp, ssrc, profile, words,
    id byte, transport-wide sequence, tail. Without it `full` is None and `write` serves.
    """

    def __init__(self, stream: StreamFormat) -> None:
        tail = b""
        if stream.playout_delay_id is not None:
            tail += _element(stream.playout_delay_id, stream.playout_delay.to_bytes())
        if stream.mid_id is not None and stream.mid:
            tail += _element(stream.mid_id, stream.mid.encode())
        numbered = stream.transport_cc_id is not None
        head = 3 if numbered else 0
        self.words = (head + len(tail) + 3) // 4
        self.tail = tail.ljust(self.words * 4 - head, b"\0")
        self.first = 0x90 if self.words else 0x80  # V=2, X when there are extensions
        self.ssrc = stream.ssrc
        self.payload_type = stream.payload_type
        self.id_byte = (stream.transport_cc_id or 0) << 4 | 1
        if numbered:
            self._struct = Struct(f"!BBHLLHHBH{len(self.tail)}s")
        else:
            self._struct = Struct(f"!BBHLLHH{len(self.tail)}s" if self.words else "!BBHLL")
        self.full = self._struct.pack_into if numbered else None
        self.size = self._struct.size

    def write(self, buffer: memoryview, offset: int, second: int, numbers: Numbers) -> None:
        """Write the header of one packet at `offset`, of a stream without transport-wide numbers."""
        sequence, timestamp, _ = numbers
        extensions = (ONE_BYTE_PROFILE, self.words, self.tail) if self.words else ()
        self._struct.pack_into(
            buffer, offset, self.first, second, sequence, timestamp, self.ssrc, *extensions
        )


class BurstWriter:
    """Writes up to a burst of packets one behind the other into one preallocated buffer.

    Behind each packet `gap` bytes stay free for the SRTP authentication tag, so that the packets lie
    back to back once they are protected in place: the layout that one segmented send needs.
    """

    def __init__(self, buffer: memoryview, gap: int) -> None:
        self._buffer = buffer
        self._gap = gap

    def write(
        self,
        template: HeaderTemplate,
        frame: memoryview,
        parts: Sequence[Part],
        numbers: Numbers,
        *,
        last: bool,
    ) -> list[tuple[int, int]]:
        """Write one packet for each part; return their (offset, size) without the gap.

        `numbers`: sequence, timestamp and transport-wide sequence of the first packet. `last` says
        that the last part ends the frame and gets the marker bit.
        """
        buffer, gap, header = self._buffer, self._gap, template.size
        sequence, timestamp, counter = numbers
        second, marked = template.payload_type, len(parts) - 1 if last else -1
        first, ssrc, words = template.first, template.ssrc, template.words
        id_byte, tail, full = template.id_byte, template.tail, template.full
        placed: list[tuple[int, int]] = []
        offset = 0
        for index, (prefix, start, stop) in enumerate(parts):
            if index == marked:
                second |= MARKER
            if full is None:
                template.write(buffer, offset, second, (sequence, timestamp, 0))
            else:
                full(
                    buffer, offset, first, second, sequence, timestamp, ssrc,
                    ONE_BYTE_PROFILE, words, id_byte, counter, tail,
                )  # fmt: skip
            sequence = sequence + 1 & 0xFFFF
            counter = counter + 1 & 0xFFFF
            body = offset + header
            if prefix:
                cut = body + len(prefix)
                buffer[body:cut] = prefix
                body = cut
            finish = body + stop - start
            buffer[body:finish] = frame[start:stop]
            placed.append((offset, finish - offset))
            offset = finish + gap
        return placed


@dataclass(frozen=True, slots=True)
class BurstSource:
    """What a burst was written from. Kept in place of its packets: most are never asked for again."""

    template: HeaderTemplate
    frame: memoryview
    parts: Sequence[Part]
    numbers: Numbers
    """Of the first packet."""
    last: bool

    def write(self, buffer: memoryview, gap: int) -> None:
        """All packets once more, laid out as `BurstWriter` does."""
        writer = BurstWriter(buffer, gap)
        writer.write(self.template, self.frame, self.parts, self.numbers, last=self.last)

    def packet(self, index: int) -> bytes:
        """One packet once more, byte for byte."""
        sequence, timestamp, counter = self.numbers
        numbers = (sequence + index & 0xFFFF, timestamp, counter + index & 0xFFFF)
        part = prefix, start, stop = self.parts[index]
        packet = bytearray(self.template.size + len(prefix) + stop - start)
        last = self.last and index == len(self.parts) - 1
        BurstSource(self.template, self.frame, [part], numbers, last).write(memoryview(packet), 0)
        return bytes(packet)


def serialise(template: HeaderTemplate, payload: bytes, numbers: Numbers) -> bytes:
    """One whole packet without the marker bit (audio); `numbers` as for `BurstWriter.write`."""
    packet = bytearray(template.size)
    parts = [(b"", 0, 0)]
    BurstWriter(memoryview(packet), 0).write(template, memoryview(b""), parts, numbers, last=False)
    return bytes(packet) + payload
