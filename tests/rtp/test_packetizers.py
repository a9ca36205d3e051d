"""H.264 and VP8 payloads, put together again by aiortc's own depacketizers."""

from __future__ import annotations

import random

from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import VpxPayloadDescriptor, vp8_depayload
from hypothesis import given
from hypothesis import strategies as st

from agent.rtp import h264, vp8, vp9
from agent.rtp.packet import Part
from tests.fuzz import fuzz_cases

LONG = b"\0\0\0\1"
SHORT = b"\0\0\1"


def payloads(unit: bytes, parts: list[Part]) -> list[bytes]:
    return [prefix + unit[start:end] for prefix, start, end in parts]


def nal_unit(source: random.Random) -> bytes:
    """A NAL unit as an encoder writes it: emulation prevention, and no zero byte at the end."""
    kind, importance = source.choice((1, 5, 6, 7, 8)), source.randrange(4)
    size = source.choice((source.randint(1, 60), source.randint(90, 900)))
    body = bytes(source.choices((0, 1, 2, 3, 65, 255), k=size)) + b"\x80"
    for end in range(4):
        body = body.replace(b"\0\0" + bytes([end]), b"\0\0\3" + bytes([end | 0x40]))
    return bytes([importance << 5 | kind]) + body


@given(st.integers(0, 1 << 60), st.integers(1, 8), st.integers(20, 200))
@fuzz_cases(2000)
def test_an_access_unit_comes_out_as_it_went_in(seed: int, count: int, limit: int) -> None:
    source = random.Random(seed)
    units = [(source.choice((LONG, SHORT)), nal_unit(source)) for _ in range(count)]
    annex_b = b"".join(code + nal for code, nal in units)
    packets = payloads(annex_b, h264.packetize(annex_b, limit))
    assert all(2 <= len(packet) <= limit for packet in packets)
    assert b"".join(map(h264_depayload, packets)) == b"".join(LONG + nal for _, nal in units)


@given(st.binary(max_size=300), st.integers(20, 100))
@fuzz_cases(2000)
def test_anything_at_all_gives_payloads_within_the_limit(unit: bytes, limit: int) -> None:
    assert all(len(packet) <= limit for packet in payloads(unit, h264.packetize(unit, limit)))


def test_parameter_sets_share_one_packet() -> None:
    sps, pps, idr = b"\x67\x42\xe0\x1f", b"\x68\xce\x3c\x80", b"\x65" + b"\x88" * 500
    unit = LONG + sps + LONG + pps + SHORT + idr
    first, *rest = payloads(unit, h264.packetize(unit, 200))
    assert first[0] == 0x78
    assert h264_depayload(first) == LONG + sps + LONG + pps
    assert [packet[0] for packet in rest] == [0x7C] * 3
    assert [packet[1] for packet in rest] == [0x85, 0x05, 0x45]


def test_delimiters_and_filler_are_left_out() -> None:
    unit = LONG + b"\x09\x30" + LONG + b"\x41\x9a\x01" + LONG + b"\x0c\xff\x80"
    assert payloads(unit, h264.packetize(unit, 100)) == [b"\x41\x9a\x01"]


def test_fragments_are_of_equal_size_but_the_last() -> None:
    unit = LONG + b"\x65" + b"\x11" * 5003
    sizes = [len(packet) for packet in payloads(unit, h264.packetize(unit, 1170))]
    assert len(sizes) == 5
    assert len(set(sizes[:-1])) == 1
    assert sizes[-1] <= sizes[0]


@given(st.binary(min_size=1, max_size=4000), st.integers(5, 1200), st.integers(0, 1 << 20))
@fuzz_cases(2000)
def test_a_vp8_frame_comes_out_as_it_went_in(frame: bytes, limit: int, picture_id: int) -> None:
    packets = payloads(frame, vp8.packetize(frame, limit, picture_id))
    assert all(len(packet) <= limit for packet in packets)
    assert b"".join(map(vp8_depayload, packets)) == frame
    descriptors = [VpxPayloadDescriptor.parse(packet)[0] for packet in packets]
    assert [d.partition_start for d in descriptors] == [1] + [0] * (len(packets) - 1)
    assert {d.picture_id for d in descriptors} == {picture_id & 0x7FFF}


@given(
    st.binary(min_size=1, max_size=4000),
    st.integers(6, 1200),
    st.integers(0, 1 << 20),
    st.booleans(),
)
@fuzz_cases(2000)
def test_a_vp9_frame_comes_out_as_it_went_in(
    frame: bytes, limit: int, picture_id: int, keyframe: bool
) -> None:
    packets = payloads(frame, vp9.packetize(frame, limit, picture_id, keyframe=keyframe))
    assert all(len(packet) <= limit for packet in packets)
    size = 3 if keyframe else 4
    assert b"".join(packet[size:] for packet in packets) == frame
    for number, packet in enumerate(packets):
        first, last = number == 0, number == len(packets) - 1
        # RFC 9628 4.2: I, P, L, F, B, E, V, Z
        bits = [1, not keyframe, 0, 1, first, last, 0, 0]
        assert packet[0] == int("".join(str(int(bit)) for bit in bits), 2)
        assert packet[1:3] == (0x8000 | picture_id & 0x7FFF).to_bytes(2, "big")
        assert keyframe or packet[3] == 2  # P_DIFF 1, N 0


def test_an_empty_frame_gives_no_packets() -> None:
    assert vp9.packetize(b"", 100, 1, keyframe=True) == []
    assert h264.packetize(b"", 100) == []
    assert vp8.packetize(b"", 100, 1) == []
