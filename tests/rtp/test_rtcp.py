"""RTCP: packets that aiortc writes are read, what we write is read by aiortc, and nothing else gets through."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
from aiortc import rtp as stock
from hypothesis import given
from hypothesis import strategies as st

from agent.rtp import rtcp
from agent.rtp.feedback import TransportFeedback
from tests.fuzz import fuzz_cases

SAMPLES = [
    bytes(
        stock.RtcpRrPacket(
            ssrc=1,
            reports=[stock.RtcpReceiverInfo(2, 64, -3, 0x10005, 900, 0x12345678, 65536)],
        )
    ),
    bytes(stock.RtcpSrPacket(1, stock.RtcpSenderInfo(5 << 32, 6, 7, 8), [])),
    bytes(stock.RtcpSdesPacket([stock.RtcpSourceInfo(1, [(1, b"name"), (2, b"x")])])),
    bytes(stock.RtcpByePacket([1, 2])),
    bytes(stock.RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[3, 10, 40])),
    bytes(stock.RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2)),
    bytes(stock.RtcpPsfbPacket(fmt=4, ssrc=1, media_ssrc=0, fci=b"\0\0\0\2\7\0\0\0")),
    bytes(
        stock.RtcpPsfbPacket(
            fmt=15, ssrc=1, media_ssrc=0, fci=stock.pack_remb_fci(4_160_000, [2, 3])
        )
    ),
]


ASKED = bytes.fromhex("80cf00080000000104000002e1b2c3d4e5f6071805000003") + bytes(12)
"""An extended report with a reference time and a block of another kind (RFC 3611 4.4)."""


def transport_cc(body: str) -> bytes:
    fci = bytes.fromhex(body)
    fci += b"\0" * (-len(fci) % 4)
    return b"\x8f\xcd" + (2 + len(fci) // 4).to_bytes(2, "big") + b"\0\0\0\1\0\0\0\2" + fci


def only(datagram: bytes) -> rtcp.RtcpPacket:
    (packet,) = rtcp.parse(datagram)
    return packet


def test_a_receiver_report_is_read() -> None:
    packet = only(SAMPLES[0])
    block = rtcp.ReportBlock(2, -3, 0x10005, 0x12345678, 65536, jitter=900)
    assert packet == rtcp.ReceiverReport(1, (block,))


def test_the_other_kinds_are_read() -> None:
    assert rtcp.parse(b"".join(SAMPLES[1:])) == (
        rtcp.SenderReport(1, 5 << 32, 6, 7, 8),
        rtcp.SourceDescription(((1, "name"),)),
        rtcp.Goodbye((1, 2)),
        rtcp.Nack(2, (3, 10, 40)),
        rtcp.PictureLoss(2),
        rtcp.FullIntraRequest(((2, 7),)),
        rtcp.Remb(4_160_000, (2, 3)),
    )


def test_a_nack_wraps_around() -> None:
    datagram = b"\x81\xcd\0\3\0\0\0\1\0\0\0\2" + b"\xff\xfe\x80\x03"
    assert only(datagram) == rtcp.Nack(2, (65534, 65535, 0, 14))


def test_transport_feedback_tells_arrivals_and_losses() -> None:
    # base 5, 7 packets, reference time 2, report 3; a run of 2 small; a 2-bit vector S L N S N ..
    packet = only(transport_cc("0005 0007 000002 03 2002 d840 04 08 02 fffc 10"))
    assert packet == TransportFeedback(
        2, 3, 5, (129_000, 131_000, 131_500, 130_500, None, 134_500, None)
    )


def test_transport_feedback_as_one_bit_vector() -> None:
    packet = only(transport_cc("ffff 0003 000001 00 a800 01 02"))
    assert packet == TransportFeedback(2, 0, 0xFFFF, (64_250, None, 64_750))


@pytest.mark.parametrize(
    "body",
    ["0005", "0005 0003 000001 00", "0005 0003 000001 00 2003", "0005 0001 000001 00 0000",
     "0005 0002 000001 00 4002 00", "0005 ffff 000001 00 3fff 3fff"],
)  # fmt: skip
def test_incomplete_transport_feedback_is_refused(body: str) -> None:
    padded = transport_cc(body)
    if body == "0005 0003 000001 00 2003":
        padded = padded[:2] + b"\0\5" + padded[4:24]
    with pytest.raises(rtcp.RtcpError):
        rtcp.parse(padded)


@pytest.mark.parametrize(
    "datagram",
    [b"\x81", b"\x01\xc9\0\1\0\0\0\1", b"\x81\xc9\0\7" + bytes(4), b"\x81\xc9\0\1\0\0\0\1",
     b"\x80\xc8\0\1\0\0\0\1", b"\xa0\xc9\0\1\0\0\0\x09", b"\x81\xcd\0\1\0\0\0\1",
     b"\x80\xcf\0\2\0\0\0\1\4\0\0\2", b"\x82\xcb\0\1\0\0\0\1", b"\x81\xca\0\2\0\0\0\1\1\xffab"],
)  # fmt: skip
def test_what_does_not_hold_what_it_says_is_refused(datagram: bytes) -> None:
    with pytest.raises(rtcp.RtcpError):
        rtcp.parse(datagram)


def test_unknown_kinds_and_formats_are_skipped() -> None:
    assert rtcp.parse(b"\x80\xcc\0\1abcd" + b"\x9e\xce\0\2" + bytes(8)) == ()


@given(st.binary(max_size=300))
@fuzz_cases(2000)
def test_random_bytes_raise_one_exception_only(datagram: bytes) -> None:
    with contextlib.suppress(rtcp.RtcpError):
        rtcp.parse(datagram)


def truncated(data: bytearray, source: random.Random) -> bytearray:
    return data[: source.randrange(len(data) + 1)]


def flipped(data: bytearray, source: random.Random) -> bytearray:
    for _ in range(source.randint(1, 8)):
        data[source.randrange(len(data))] = source.randrange(256)
    return data


@given(
    st.lists(st.sampled_from([*SAMPLES, ASKED, transport_cc("0005 0007 000002 03 2002 d840 04 08 02 fffc 10")]),
             min_size=1, max_size=4),
    st.sampled_from([truncated, flipped]),
    st.integers(0, 1 << 60).map(random.Random),
)  # fmt: skip
@fuzz_cases(2000)
def test_damaged_packets_raise_one_exception_only(
    packets: list[bytes],
    damage: Callable[[bytearray, random.Random], bytearray],
    source: random.Random,
) -> None:
    with contextlib.suppress(rtcp.RtcpError):
        rtcp.parse(bytes(damage(bytearray(b"".join(packets)), source)))


def test_our_sender_report_is_read_by_aiortc() -> None:
    ntp = rtcp.ntp_time(1_700_000_000.5)
    report = rtcp.SenderReport(9, ntp, (1 << 32) + 5, 3, 4)
    sr, sdes = stock.RtcpPacket.parse(rtcp.sender_report(report, "someone"))
    assert isinstance(sr, stock.RtcpSrPacket)
    assert (sr.ssrc, sr.sender_info.ntp_timestamp) == (9, ntp)
    assert (sr.sender_info.rtp_timestamp, sr.sender_info.packet_count) == (5, 3)
    assert isinstance(sdes, stock.RtcpSdesPacket)
    assert sdes.chunks[0].items == [(1, b"someone")]
    assert rtcp.parse(rtcp.sender_report(report, "someone"))[1] == rtcp.SourceDescription(
        ((9, "someone"),)
    )


def test_a_reference_time_is_read_and_answered() -> None:
    asked = only(ASKED)
    assert asked == rtcp.ReferenceTime(1, 0xE1B2C3D4E5F60718)
    answer = rtcp.reference_answer(9, asked, waited_s=0.5)
    assert answer == bytes.fromhex("80cf0005000000090500000300000001c3d4e5f600008000")
    assert rtcp.parse(answer) == ()


def test_our_goodbye_is_a_valid_compound_packet() -> None:
    assert rtcp.parse(rtcp.goodbye(5)) == (rtcp.ReceiverReport(5, ()), rtcp.Goodbye((5,)))


def test_round_trip_time_as_in_rfc_3550() -> None:
    # the example of RFC 3550 6.4.1: 6.125 s
    block = rtcp.ReportBlock(1, 0, 0, lsr=0xB7052000, dlsr=0x00054000)
    assert rtcp.round_trip_s(block, 0xB710_8000_0000) == pytest.approx(6.125)
    assert rtcp.reached_s(block, 0xB710_8000_0000) == pytest.approx(11.375)
    before_the_first = rtcp.ReportBlock(1, 0, 0, 0, 0)
    assert rtcp.round_trip_s(before_the_first, 1 << 40) is None
    assert rtcp.reached_s(before_the_first, 1 << 40) is None
    assert rtcp.round_trip_s(block, 0xB705_2000_0000) == 0.0
