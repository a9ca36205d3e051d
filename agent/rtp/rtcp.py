"""RTCP as values: what a viewer's compound packets say, and the sender reports that we write (RFC 3550 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from agent.rtp.feedback import TransportFeedback, parse_transport_feedback

SR, RR, SDES, BYE, RTPFB, PSFB, XR = 200, 201, 202, 203, 205, 206, 207
NACK_FORMAT, TRANSPORT_CC_FORMAT = 1, 15
PLI_FORMAT, FIR_FORMAT, AFB_FORMAT = 1, 4, 15
CNAME: Final = 1
RRTR_BLOCK, DLRR_BLOCK = 4, 5
"""RFC 3611 4.4, 4.5"""
REMB_NAME: Final = b"REMB"

_HEADER = Struct("!BBH")
_BLOCK = Struct("!LLLLLL")
_SENDER_INFO = Struct("!QLLL")
_PAIR = Struct("!LL")
_NACK = Struct("!HH")


class RtcpError(ValueError):
    """Bytes that are no RTCP; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What we use of RFC 3550 6.4.1. `dlsr` is in 1/65536 s."""

    ssrc: int
    packets_lost: int
    highest_sequence: int
    lsr: int
    dlsr: int
    jitter: int = 0
    """In units of the RTP clock."""


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...]


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """The CNAME of each source; other items are skipped."""

    cnames: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Nack:
    """RFC 4585 6.2.1: sequence numbers to send again."""

    media_ssrc: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureLoss:
    media_ssrc: int


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """RFC 5104 4.3.1: (ssrc, command sequence number) of each stream asked for."""

    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Remb:
    """draft-alvestrand-rmcat-remb-03: the receiver's estimate of its downlink."""

    bitrate_bps: int
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReferenceTime:
    """RFC 3611 4.4: when a receiver that sends nothing made this report, by its own clock."""

    ssrc: int
    ntp: int


RtcpPacket = (
    ReceiverReport | SenderReport | SourceDescription | Goodbye | Nack | PictureLoss
    | FullIntraRequest | Remb | TransportFeedback | ReferenceTime
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LossReport:
    """What a receiver report says about our video: loss since the start, round trip, jitter."""

    packets_lost: int
    """24 bits with a sign."""
    highest_sequence: int
    """Extended: 32 bits that wrap."""
    rtt_s: float | None
    jitter_s: float = 0.0
    reached_s: float | None = None
    """How long ago the newest of our sender reports left that the viewer had heard; None: it had heard none."""


def parse(datagram: bytes) -> tuple[RtcpPacket, ...]:
    """The packets of a compound packet (RFC 3550 6.1), unknown types left out; raise RtcpError."""
    packets: list[RtcpPacket] = []
    position = 0
    while position < len(datagram):
        if len(datagram) - position < 4:
            raise RtcpError(f"expected a 4-byte header, got {len(datagram) - position} bytes")
        first, kind, words = _HEADER.unpack_from(datagram, position)
        end = position + 4 + 4 * words
        if first >> 6 != 2:
            raise RtcpError(f"expected version 2, got {first >> 6}")
        if end > len(datagram):
            raise RtcpError(f"expected {end - position} bytes, got {len(datagram) - position}")
        body = datagram[position + 4 : end]
        if first & 0x20:
            body = _without_padding(body)
        reader = _READERS.get(kind)
        packet = reader(first & 0x1F, body) if reader else None
        if packet is not None:
            packets.append(packet)
        position = end
    return tuple(packets)


def _without_padding(body: bytes) -> bytes:
    if not body or not 1 <= body[-1] <= len(body):
        raise RtcpError("the padding is longer than the packet")
    return body[: -body[-1]]


def _need(body: bytes, size: int, what: str) -> None:
    if len(body) < size:
        raise RtcpError(f"{what}: expected {size} bytes, got {len(body)}")


def _blocks(body: bytes, count: int) -> tuple[ReportBlock, ...]:
    _need(body, 24 * count, "report blocks")
    blocks = []
    for index in range(count):
        ssrc, loss, highest, jitter, lsr, dlsr = _BLOCK.unpack_from(body, 24 * index)
        lost = loss & 0xFFFFFF
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                packets_lost=lost - (1 << 24) if lost & 0x800000 else lost,
                highest_sequence=highest,
                lsr=lsr,
                dlsr=dlsr,
                jitter=jitter,
            )
        )
    return tuple(blocks)


def _receiver_report(count: int, body: bytes) -> ReceiverReport:
    _need(body, 4, "RR")
    return ReceiverReport(int.from_bytes(body[:4], "big"), _blocks(body[4:], count))


def _sender_report(count: int, body: bytes) -> SenderReport:
    _need(body, 24, "SR")
    ntp, timestamp, packets, octets = _SENDER_INFO.unpack_from(body, 4)
    ssrc = int.from_bytes(body[:4], "big")
    return SenderReport(ssrc, ntp, timestamp, packets, octets, _blocks(body[24:], count))


def _source_description(count: int, body: bytes) -> SourceDescription:
    cnames = []
    position = 0
    for _ in range(count):
        _need(body, position + 4, "SDES")
        ssrc = int.from_bytes(body[position : position + 4], "big")
        position += 4
        while position < len(body) and body[position]:
            _need(body, position + 2, "SDES item")
            kind, size = body[position], body[position + 1]
            _need(body, position + 2 + size, "SDES item")
            if kind == CNAME:
                text = body[position + 2 : position + 2 + size]
                cnames.append((ssrc, text.decode("utf-8", "replace")))
            position += 2 + size
        position += 4 - position % 4  # one to four zero bytes end the chunk (RFC 3550 6.5)
    return SourceDescription(tuple(cnames))


def _goodbye(count: int, body: bytes) -> Goodbye:
    _need(body, 4 * count, "BYE")
    return Goodbye(tuple(int.from_bytes(body[at : at + 4], "big") for at in range(0, 4 * count, 4)))


def _transport_feedback(form: int, body: bytes) -> Nack | TransportFeedback | None:
    _need(body, 8, "RTPFB")
    _, media = _PAIR.unpack_from(body)
    if form == TRANSPORT_CC_FORMAT:
        try:
            return parse_transport_feedback(media, body[8:])
        except ValueError as error:
            raise RtcpError(str(error)) from None
    if form != NACK_FORMAT:
        return None
    if len(body) % 4:
        raise RtcpError(f"NACK: expected whole 4-byte entries, got {len(body) - 8} bytes")
    sequences: list[int] = []
    for at in range(8, len(body), 4):
        first, mask = _NACK.unpack_from(body, at)
        sequences.append(first)
        sequences += [first + bit + 1 & 0xFFFF for bit in range(16) if mask >> bit & 1]
    return Nack(media, tuple(sequences))


def _payload_feedback(form: int, body: bytes) -> PictureLoss | FullIntraRequest | Remb | None:
    _need(body, 8, "PSFB")
    _, media = _PAIR.unpack_from(body)
    if form == PLI_FORMAT:
        return PictureLoss(media)
    if form == FIR_FORMAT:
        if len(body) % 8:
            raise RtcpError(f"FIR: expected whole 8-byte entries, got {len(body) - 8} bytes")
        return FullIntraRequest(
            tuple(
                (int.from_bytes(body[at : at + 4], "big"), body[at + 4])
                for at in range(8, len(body), 8)
            )
        )
    if form == AFB_FORMAT and body[8:12] == REMB_NAME:
        return _remb(body)
    return None


def _remb(body: bytes) -> Remb:
    _need(body, 16, "REMB")
    count = body[12]
    _need(body, 16 + 4 * count, "REMB")
    exponent = body[13] >> 2
    mantissa = (body[13] & 3) << 16 | body[14] << 8 | body[15]
    ssrcs = (int.from_bytes(body[at : at + 4], "big") for at in range(16, 16 + 4 * count, 4))
    return Remb(mantissa << exponent, tuple(ssrcs))


def _extended_report(_count: int, body: bytes) -> ReferenceTime | None:
    """Of RFC 3611 the one block that we answer."""
    _need(body, 4, "XR")
    position = 4
    while position + 4 <= len(body):
        kind, _, words = _HEADER.unpack_from(body, position)
        end = position + 4 + 4 * words
        _need(body, end, "XR block")
        if kind == RRTR_BLOCK and words == 2:
            ntp = int.from_bytes(body[position + 4 : end], "big")
            return ReferenceTime(int.from_bytes(body[:4], "big"), ntp)
        position = end
    return None


_READERS: Final[dict[int, Callable[[int, bytes], RtcpPacket | None]]] = {
    SR: _sender_report,
    RR: _receiver_report,
    SDES: _source_description,
    BYE: _goodbye,
    RTPFB: _transport_feedback,
    PSFB: _payload_feedback,
    XR: _extended_report,
}


def round_trip_s(block: ReportBlock, now_ntp: int) -> float | None:
    """The round trip time of RFC 3550 6.4.1: now - LSR - DLSR; None before our first report arrived."""
    if not block.lsr:
        return None
    units = ((now_ntp >> 16) - block.lsr - block.dlsr) & 0xFFFFFFFF
    if units >= 1 << 31:
        return 0.0  # the clocks' rounding can make it a little negative
    return units / 65536


def reached_s(block: ReportBlock, now_ntp: int) -> float | None:
    """How long ago the report left that the block calls its last one (LSR, RFC 3550 6.4.1); None before the first."""
    if not block.lsr:
        return None
    return ((now_ntp >> 16) - block.lsr & 0xFFFFFFFF) / 65536


def ntp_time(unix_s: float) -> int:
    """A 64-bit NTP timestamp (RFC 3550 4): seconds since 1900 in 32.32 fixed point."""
    return int((unix_s + 2_208_988_800) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def _packed(count: int, kind: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def sender_report(report: SenderReport, cname: str) -> bytes:
    """A compound packet of SR and SDES with the CNAME, as RFC 3550 6.1 demands."""
    info = _SENDER_INFO.pack(
        report.ntp,
        report.rtp_timestamp & 0xFFFFFFFF,
        report.packets & 0xFFFFFFFF,
        report.octets & 0xFFFFFFFF,
    )
    ssrc = report.ssrc.to_bytes(4, "big")
    name = cname.encode()[:255]
    chunk = ssrc + bytes((CNAME, len(name))) + name + b"\0"
    chunk += b"\0" * (-len(chunk) % 4)
    return _packed(0, SR, ssrc + info) + _packed(1, SDES, chunk)


def reference_answer(ssrc: int, asked: ReferenceTime, waited_s: float) -> bytes:
    """An XR, for the end of a compound packet, that answers a reference time after so long (RFC 3611 4.5)."""
    waited = min(int(waited_s * 65536), 0xFFFFFFFF)
    block = _HEADER.pack(DLRR_BLOCK, 0, 3) + _PAIR.pack(asked.ssrc, asked.ntp >> 16 & 0xFFFFFFFF)
    return _packed(0, XR, ssrc.to_bytes(4, "big") + block + waited.to_bytes(4, "big"))


def goodbye(ssrc: int) -> bytes:
    """A BYE behind an empty RR, so that the compound packet is valid (RFC 3550 6.1, 6.6)."""
    source = ssrc.to_bytes(4, "big")
    return _packed(0, RR, source) + _packed(1, BYE, source)
