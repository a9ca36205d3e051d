"""Packets that our writer makes, read back with aiortc's own parser."""

from __future__ import annotations

import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensionsMap, RtpPacket, unpack_header_extensions, unwrap_rtx
from hypothesis import given
from hypothesis import strategies as st

from agent.rtp.history import wrap_rtx
from agent.rtp.packet import (
    MID_URI,
    PLAYOUT_DELAY_URI,
    TRANSPORT_CC_URI,
    BurstSource,
    BurstWriter,
    HeaderTemplate,
    PlayoutDelay,
    StreamFormat,
    serialise,
)
from tests.fuzz import fuzz_cases

FULL = StreamFormat(
    108, 0x11223344, mid="0", mid_id=9, transport_cc_id=4, playout_delay_id=5
)  # fmt: skip


def extensions_map(stream: StreamFormat) -> HeaderExtensionsMap:
    parameters = RTCRtpParameters()
    for uri, number in (
        (MID_URI, stream.mid_id),
        (TRANSPORT_CC_URI, stream.transport_cc_id),
        (PLAYOUT_DELAY_URI, stream.playout_delay_id),
    ):
        if number is not None:
            parameters.headerExtensions.append(RTCRtpHeaderExtensionParameters(number, uri))
    result = HeaderExtensionsMap()
    result.configure(parameters)
    return result


ids = st.one_of(st.none(), st.integers(1, 14))


@given(
    mid=st.text("abc0123", max_size=16),
    numbers=st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF)),
    extension_ids=st.tuples(ids, ids, ids).filter(
        lambda chosen: len({x for x in chosen if x}) == sum(x is not None for x in chosen)
    ),
    payload=st.binary(max_size=64),
)
@fuzz_cases(500)
def test_a_header_reads_back(
    mid: str,
    numbers: tuple[int, int, int],
    extension_ids: tuple[int | None, int | None, int | None],
    payload: bytes,
) -> None:
    mid_id, transport_cc_id, playout_delay_id = extension_ids
    stream = StreamFormat(
        96, 77, mid, mid_id, transport_cc_id, playout_delay_id, PlayoutDelay(20, 300)
    )
    packet = RtpPacket.parse(serialise(HeaderTemplate(stream), payload, numbers))
    assert (packet.sequence_number, packet.timestamp) == numbers[:2]
    assert (packet.payload_type, packet.ssrc, packet.marker) == (96, 77, 0)
    assert packet.payload == payload
    parsed = RtpPacket.parse(
        serialise(HeaderTemplate(stream), payload, numbers), extensions_map(stream)
    )
    assert parsed.extensions.mid == (mid if mid_id and mid else None)
    assert parsed.extensions.transport_sequence_number == (numbers[2] if transport_cc_id else None)


def test_playout_delay_is_on_every_packet() -> None:
    data = serialise(HeaderTemplate(FULL), b"x", (1, 2, 3))
    words = int.from_bytes(data[14:16], "big")
    values = dict(unpack_header_extensions(0xBEDE, data[16 : 16 + 4 * words]))
    assert values[5] == b"\0\0\0"
    assert values[4] == b"\0\3"
    assert values[9] == b"0"


def test_playout_delay_bytes_and_limits() -> None:
    assert PlayoutDelay(0, 400).to_bytes() == bytes.fromhex("000028")
    assert PlayoutDelay(100, 40_950).to_bytes() == bytes.fromhex("00afff")
    for bad in ((10, 0), (-1, 0), (0, 40_960)):
        with pytest.raises(ValueError):
            PlayoutDelay(*bad)


def test_a_burst_leaves_room_for_the_tag_and_marks_the_end() -> None:
    buffer = memoryview(bytearray(4000))
    template = HeaderTemplate(FULL)
    frame = memoryview(bytes(range(100)))
    parts = [(b"ab", 0, 40), (b"", 40, 80), (b"c", 80, 100)]
    numbers = (0xFFFF, 5, 0xFFFE)
    placed = BurstWriter(buffer, 16).write(template, frame, parts, numbers, last=True)
    assert [at for at, _ in placed] == [
        0,
        template.size + 42 + 16,
        2 * template.size + 82 + 32,
    ]
    packets = [
        RtpPacket.parse(bytes(buffer[at : at + size]), extensions_map(FULL)) for at, size in placed
    ]
    assert [p.sequence_number for p in packets] == [0xFFFF, 0, 1]
    assert [p.extensions.transport_sequence_number for p in packets] == [0xFFFE, 0xFFFF, 0]
    assert [p.marker for p in packets] == [0, 0, 1]
    assert b"".join(p.payload for p in packets) == b"ab" + bytes(range(80)) + b"c" + bytes(
        range(80, 100)
    )
    again = BurstSource(template, frame, parts, numbers, last=True)
    for index, (at, size) in enumerate(placed):
        assert again.packet(index) == buffer[at : at + size]
    for index, (at, size) in enumerate(placed[:2]):
        before = BurstSource(template, frame, parts[:2], numbers, last=False)
        assert before.packet(index) == buffer[at : at + size]


def test_rtx_wraps_as_rfc_4588_says() -> None:
    plain = serialise(HeaderTemplate(FULL), b"payload", (500, 9, 3))
    wrapped = RtpPacket.parse(wrap_rtx(plain, 109, 99, 7, 42), extensions_map(FULL))
    assert (wrapped.payload_type, wrapped.ssrc, wrapped.sequence_number) == (109, 99, 7)
    assert wrapped.extensions.transport_sequence_number == 42
    original = unwrap_rtx(wrapped, 108, FULL.ssrc)
    assert (original.sequence_number, original.timestamp) == (500, 9)
    assert original.payload == b"payload"
