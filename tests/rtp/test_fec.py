"""Parity packets: their bytes, what a receiver restores from them, and how many there are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rtp.fec import MAX_BLOCK, MAX_HEADER_BYTES, OVERHEAD_BYTES, Loss, parity, parity_count
from agent.rtp.packet import BurstWriter, HeaderTemplate, StreamFormat
from tests.fuzz import fuzz_cases

VIDEO = StreamFormat(payload_type=96, ssrc=0x01020304, transport_cc_id=3)
FIRST = 65_530


def packets(
    payloads: list[bytes], stream: StreamFormat = VIDEO
) -> tuple[bytes, list[tuple[int, int]]]:
    """RTP packets as the sender writes them, with transport-wide numbers that say nothing of the others."""
    template = HeaderTemplate(stream)
    frame = b"".join(payloads)
    parts, at = [], 0
    for payload in payloads:
        parts.append((b"", at, at + len(payload)))
        at += len(payload)
    buffer = bytearray(len(frame) + len(payloads) * (template.size + 16))
    writer = BurstWriter(memoryview(buffer), 16)
    placed = writer.write(template, memoryview(frame), parts, (FIRST, 9000, 77), last=True)
    return bytes(buffer), placed


def covered(payload: bytes) -> tuple[list[int], bytes]:
    """The sequence numbers that a parity packet covers, and its parity (libwebrtc's Flexfec03HeaderReader)."""
    assert payload[8:12] == b"\x01\0\0\0"
    base = int.from_bytes(payload[16:18], "big")
    bits: list[int] = []
    at = 18
    for size in (2, 4, 8):
        part = int.from_bytes(payload[at : at + size], "big")
        at += size
        bits += [part >> bit & 1 for bit in range(size * 8 - 2, -1, -1)]
        if part >> (size * 8 - 1):
            break
    return [base + index & 0xFFFF for index, bit in enumerate(bits) if bit], payload[at:]


def restore(payload: bytes, there: dict[int, bytes]) -> dict[int, bytes]:
    """The one packet that is missing among those that a parity packet covers, as a receiver restores it."""
    numbers, body = covered(payload)
    missing = [number for number in numbers if number not in there]
    if len(missing) != 1:
        return {}
    first, second = payload[0], payload[1]
    length = int.from_bytes(payload[2:4], "big")
    stamp = int.from_bytes(payload[4:8], "big")
    rest = bytearray(body)
    for number in numbers:
        if number == missing[0]:
            continue
        packet = there[number]
        first, second = first ^ packet[0], second ^ packet[1]
        length ^= len(packet) - 12
        stamp ^= int.from_bytes(packet[4:8], "big")
        for index, byte in enumerate(packet[12:]):
            rest[index] ^= byte
    head = bytes((first & 0x3F | 0x80, second)) + missing[0].to_bytes(2, "big")
    head += stamp.to_bytes(4, "big") + payload[12:16]
    return {missing[0]: head + bytes(rest[:length])}


def numbered(plain: bytes, placed: list[tuple[int, int]], *, zeroed: bool) -> dict[int, bytes]:
    found = {}
    for offset, size in placed:
        packet = bytearray(plain[offset : offset + size])
        if zeroed:
            packet[17:19] = b"\0\0"
        found[int.from_bytes(packet[2:4], "big")] = bytes(packet)
    return found


def test_the_bytes_of_a_parity_packet() -> None:
    """Worked out by hand from 4.2.2.1."""
    first = bytes.fromhex("8060 0001 00000010 0a0b0c0d") + b"\x11\x22\x33"
    second = bytes.fromhex("80e0 0002 00000010 0a0b0c0d") + b"\x01\x02"
    placed = [(0, 15), (15, 14)]
    (payload,) = parity(first + second, placed, 1, Loss(0.01), numbered=False)
    assert payload == bytes.fromhex(
        "0080 0001"  # R, F, P, X, CC: 0; M 1, PT 0; length 3 ^ 2
        "00000000"  # timestamp
        "01000000 0a0b0c0d"  # SSRCCount, SSRC
        "0001 e000"  # SN base, k, mask 11
        "102033"
    )


@pytest.mark.parametrize(
    ("packets_in_frame", "header"), [(15, 20), (16, 24), (46, 24), (47, 32), (MAX_BLOCK, 32)]
)
def test_the_mask_is_as_long_as_it_must_be(packets_in_frame: int, header: int) -> None:
    plain, placed = packets([b"x" * 100] * packets_in_frame)
    loss = Loss(1e-9)
    (payload,) = parity(plain, placed, FIRST, loss, numbered=True)
    assert len(payload) == header + placed[0][1] - 12 <= placed[0][1] + OVERHEAD_BYTES
    assert header <= MAX_HEADER_BYTES
    numbers, _ = covered(payload)
    assert numbers == [FIRST + index & 0xFFFF for index in range(packets_in_frame)]


@given(st.data())
@fuzz_cases(200)
def test_any_one_loss_of_a_row_is_restored(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=250))
    loss = Loss(data.draw(st.floats(0.001, 0.3)), data.draw(st.floats(1, 8)))
    plain, placed = packets(payloads)
    rows = list(parity(plain, placed, FIRST, loss, numbered=True))
    whole = numbered(plain, placed, zeroed=True)
    lost = {data.draw(st.sampled_from(covered(row)[0])) for row in rows}
    there = {number: packet for number, packet in whole.items() if number not in lost}
    for row in rows:
        there |= restore(row, there)
    assert there == whole


def test_every_packet_is_covered_once_and_a_burst_hits_each_row_once() -> None:
    plain, placed = packets([bytes([index]) * (index + 1) for index in range(130)])
    rows = list(parity(plain, placed, FIRST, Loss(0.05, 3), numbered=True))
    numbers = [number for row in rows for number in covered(row)[0]]
    assert sorted(numbers) == sorted(FIRST + index & 0xFFFF for index in range(130))
    whole = numbered(plain, placed, zeroed=True)
    burst = {FIRST + index & 0xFFFF for index in range(20, 26)}
    there = {number: packet for number, packet in whole.items() if number not in burst}
    for row in rows:
        there |= restore(row, there)
    assert there == whole


def test_a_stream_without_transport_wide_numbers_is_covered_as_it_is() -> None:
    stream = StreamFormat(payload_type=96, ssrc=7, mid="video", mid_id=1)
    plain, placed = packets([b"first", b"second one"], stream)
    whole = numbered(plain, placed, zeroed=False)
    (row,) = parity(plain, placed, FIRST, Loss(0.01), numbered=False)
    there = dict(whole)
    del there[FIRST + 1]
    assert restore(row, there) == {FIRST + 1: whole[FIRST + 1]}


@pytest.mark.parametrize(
    ("count", "loss", "expected"),
    [
        (13, Loss(0.0), 0),
        (0, Loss(0.01), 0),
        (1, Loss(0.01), 1),
        (13, Loss(0.01), 1),
        (13, Loss(0.03), 3),
        (13, Loss(0.01, 2.0), 4),
        (60, Loss(0.01), 4),
    ],
)
def test_how_many_parity_packets(count: int, loss: Loss, expected: int) -> None:
    assert parity_count(count, loss) == expected


@pytest.mark.parametrize(("rate", "most"), [(0.01, 0.02), (0.03, 0.04), (0.05, 0.09)])
def test_what_is_left_unrestored_of_random_loss(rate: float, most: float) -> None:
    """Of 4,000 frames of 13 packets."""
    chance = random.Random(5)
    plain, placed = packets([b"abc"] * 13)
    rows = list(parity(plain, placed, FIRST, Loss(rate), numbered=True))
    whole = numbered(plain, placed, zeroed=True)
    failed = 0
    for _ in range(4000):
        there = {n: packet for n, packet in whole.items() if chance.random() >= rate}
        for row in rows:
            if chance.random() >= rate:
                there |= restore(row, there)
        failed += there != whole
    assert failed / 4000 < most


def test_no_bits_go_to_parity_where_it_restores_few_bursts() -> None:
    assert parity_count(12, Loss(0.05, 8.0)) == 4, (
        "as many as may be, which restore two of five bursts"
    )
    assert parity_count(12, Loss(0.05, 12.0)) == 0
    assert parity_count(40, Loss(0.05, 12.0)) > 0
    assert parity_count(1, Loss(0.05, 4.0)) == 0


@pytest.mark.parametrize(("rate", "burst"), [(-0.1, 1.0), (1.1, 1.0), (0.1, 0.5)])
def test_a_loss_that_cannot_be_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="expected a rate"):
        Loss(rate, burst)
