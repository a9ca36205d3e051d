"""Parity packets: their bytes, what a receiver restores from them, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rtp.fec import (
    MAX_BLOCK,
    MAX_HEADER_BYTES,
    OVERHEAD_BYTES,
    Loss,
    Parity,
    _unrestored,
    parity_count,
)
from agent.rtp.packet import BurstWriter, HeaderTemplate, StreamFormat
from tests.fuzz import fuzz_cases

VIDEO = StreamFormat(payload_type=96, ssrc=0x01020304, transport_cc_id=3)
FIRST = 65_530
LONE = Loss(0.03)
BURSTS = Loss(0.03, 4.0)


def packets(
    payloads: list[bytes], stream: StreamFormat = VIDEO, first: int = FIRST
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
    placed = writer.write(template, memoryview(frame), parts, (first, 9000, 77), last=True)
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


def restored(payloads: Iterable[bytes], there: dict[int, bytes]) -> dict[int, bytes]:
    """All that a receiver has in the end (libwebrtc's ForwardErrorCorrection::AttemptRecovery)."""
    there, payloads = dict(there), list(payloads)
    while any(found := [restore(payload, there) for payload in payloads]):
        for packet in found:
            there |= packet
    return there


def numbered(plain: bytes, placed: list[tuple[int, int]], *, zeroed: bool) -> dict[int, bytes]:
    found = {}
    for offset, size in placed:
        packet = bytearray(plain[offset : offset + size])
        if zeroed:
            packet[17:19] = b"\0\0"
        found[int.from_bytes(packet[2:4], "big")] = bytes(packet)
    return found


class Frames:
    """Of a stream: the packets, and the parity packets behind each."""

    def __init__(self) -> None:
        self.parity = Parity(numbered=True)
        self.whole: dict[int, bytes] = {}
        self.next = FIRST

    def add(self, count: int, loss: Loss) -> list[bytes]:
        """One more frame, of so many packets of different sizes."""
        payloads = [bytes([self.next + index & 0xFF]) * (60 + index) for index in range(count)]
        plain, placed = packets(payloads, first=self.next)
        self.whole |= numbered(plain, placed, zeroed=True)
        found = list(self.parity.cover(plain, placed, self.next, loss))
        self.next = self.next + count & 0xFFFF
        return found

    def without(self, indexes: Iterable[int]) -> dict[int, bytes]:
        """What arrives if these packets, counted from the first, do not."""
        lost = {FIRST + index & 0xFFFF for index in indexes}
        return {number: packet for number, packet in self.whole.items() if number not in lost}


def test_the_bytes_of_a_parity_packet() -> None:
    """Worked out by hand from 4.2.2.1."""
    first = bytes.fromhex("8060 0001 00000010 0a0b0c0d") + b"\x11\x22\x33"
    second = bytes.fromhex("80e0 0002 00000010 0a0b0c0d") + b"\x01\x02"
    placed = [(0, 15), (15, 14)]
    (payload,) = Parity(numbered=False).cover(first + second, placed, 1, Loss(0.01))
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
    (payload,) = Parity(numbered=True).cover(plain, placed, FIRST, loss)
    assert len(payload) == header + placed[0][1] - 12 <= placed[0][1] + OVERHEAD_BYTES
    assert header <= MAX_HEADER_BYTES
    numbers, _ = covered(payload)
    assert numbers == [FIRST + index & 0xFFFF for index in range(packets_in_frame)]


@given(st.data())
@fuzz_cases(200)
def test_a_burst_as_long_as_there_are_parity_packets_is_restored(data: st.DataObject) -> None:
    payloads = data.draw(
        st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=MAX_BLOCK)
    )
    loss = Loss(data.draw(st.floats(0.001, 0.3)), data.draw(st.floats(1.5, 8)))
    plain, placed = packets(payloads)
    rows = list(Parity(numbered=True).cover(plain, placed, FIRST, loss))
    whole = numbered(plain, placed, zeroed=True)
    start = data.draw(st.integers(0, len(payloads) - 1))
    lost = {FIRST + index & 0xFFFF for index in range(start, start + len(rows))}
    there = {number: packet for number, packet in whole.items() if number not in lost}
    assert restored(rows, there) == whole


@given(st.data())
@fuzz_cases(200)
def test_any_one_loss_is_restored_behind_frames_of_all_sizes(data: st.DataObject) -> None:
    frames = Frames()
    for count in data.draw(st.lists(st.integers(1, 120), min_size=1, max_size=6)):
        before = len(frames.whole)
        loss = Loss(data.draw(st.floats(0.001, 0.3)), data.draw(st.floats(1, 4)))
        payloads = frames.add(count, loss)
        there = frames.without([data.draw(st.integers(before, before + count - 1))])
        assert not payloads or restored(payloads, there) == frames.whole


Pair = tuple[int, int]


def unrestored(payloads: list[bytes], frames: Frames, lost: Iterable[Pair]) -> list[Pair]:
    """Of the pairs of packets those that a receiver that lost both does not get back."""
    return [pair for pair in lost if restored(payloads, frames.without(pair)) != frames.whole]


def test_two_losses_of_one_row_are_restored_by_the_other_rows_that_they_are_in() -> None:
    """Of the 91 pairs three disjoint rows leave 26, in one row of 4 or 5."""
    frames = Frames()
    payloads = frames.add(14, Loss(0.02))
    assert len(payloads) == 3
    assert len(unrestored(payloads, frames, combinations(range(14), 2))) == 10


def test_what_a_frame_lost_too_often_comes_with_the_next_frame() -> None:
    """Not a round trip later: that was the 99th percentile of the delay at 1 % loss."""
    frames = Frames()
    first = frames.add(13, Loss(0.01))
    assert len(first) == 2
    left = unrestored(first, frames, combinations(range(13), 2))
    both = first + frames.add(13, Loss(0.01))
    all_three = both + frames.add(13, Loss(0.01))
    late = unrestored(both, frames, left)
    lost = unrestored(all_three, frames, left)
    assert (len(left), len(late), len(lost)) == (24, 9, 5)


def test_a_burst_of_twice_as_many_as_parity_packets_comes_with_the_next_two_frames() -> None:
    frames = Frames()
    payloads = [payload for _ in range(3) for payload in frames.add(12, BURSTS)]
    assert len(payloads) == 12
    for start in range(5):
        assert restored(payloads, frames.without(range(start, start + 8))) == frames.whole


def test_what_was_sent_without_parity_packets_is_covered_by_no_later_ones() -> None:
    """It may have been too large for them, and nothing of it is kept."""
    frames = Frames()
    frames.add(5, LONE)
    frames.parity.forget()
    numbers = {number for payload in frames.add(5, LONE) for number in covered(payload)[0]}
    assert numbers == {FIRST + 5 + index & 0xFFFF for index in range(5)}
    frames.next = frames.next + 1 & 0xFFFF
    numbers = {number for payload in frames.add(5, LONE) for number in covered(payload)[0]}
    assert numbers == {FIRST + 11 + index & 0xFFFF for index in range(5)}, "one was left out"


def test_no_more_packets_are_covered_together_than_a_receiver_keeps() -> None:
    frames = Frames()
    for count in (30, 30, 40, 50, 200):
        for payload in frames.add(count, LONE):
            numbers = [number - FIRST & 0xFFFF for number in covered(payload)[0]]
            assert numbers[-1] - numbers[0] < MAX_BLOCK
    numbers_of_each = [covered(payload)[0] for payload in frames.add(10, LONE)]
    oldest = min(number - FIRST & 0xFFFF for numbers in numbers_of_each for number in numbers)
    assert oldest == 283, "the last third of the large frame"


def test_a_stream_without_transport_wide_numbers_is_covered_as_it_is() -> None:
    stream = StreamFormat(payload_type=96, ssrc=7, mid="video", mid_id=1)
    plain, placed = packets([b"first", b"second one"], stream)
    whole = numbered(plain, placed, zeroed=False)
    (row,) = Parity(numbered=False).cover(plain, placed, FIRST, Loss(0.01))
    there = dict(whole)
    del there[FIRST + 1]
    assert restore(row, there) == {FIRST + 1: whole[FIRST + 1]}


@pytest.mark.parametrize(
    ("count", "loss", "expected"),
    [
        (13, Loss(0.0), 0),
        (0, Loss(0.01), 0),
        (1, Loss(0.01), 1),
        (8, Loss(0.01), 1),
        (13, Loss(0.01), 2),
        (13, Loss(0.03), 3),
        (13, Loss(0.05), 5),
        (13, Loss(0.01, 2.0), 4),
        (60, Loss(0.01), 4),
    ],
)
def test_how_many_parity_packets(count: int, loss: Loss, expected: int) -> None:
    assert parity_count(count, loss) == expected


def chance_of_loss(packets_in_frame: int, loss: Loss) -> tuple[float, int]:
    """That a frame's own parity packets do not restore it, from all ways to lose at most 5; and their number."""
    frames = Frames()
    payloads = frames.add(packets_in_frame, loss)
    sent = packets_in_frame + len(payloads)
    rows = [{number - FIRST & 0xFFFF for number in covered(payload)[0]} for payload in payloads]
    fine = 0.0
    for lost in range(6):
        chance = loss.rate**lost * (1 - loss.rate) ** (sent - lost)
        fine += chance * sum(
            _is_restored(set(those), rows) for those in combinations(range(sent), lost)
        )
    return 1 - fine, len(rows)


def _is_restored(lost: set[int], rows: list[set[int]]) -> bool:
    """Parity packets have the numbers behind the frame's."""
    packets_in_frame = len(set().union(*rows))
    there = [row for index, row in enumerate(rows) if packets_in_frame + index not in lost]
    lost = {index for index in lost if index < packets_in_frame}
    while found := [row & lost for row in there if len(row & lost) == 1]:
        lost -= set().union(*found)
    return not lost


@pytest.mark.parametrize(
    ("packets_in_frame", "rate", "most"),
    [(14, 0.01, 0.004), (13, 0.03, 0.017), (12, 0.05, 0.021), (20, 0.01, 0.009)],
)
def test_what_is_left_unrestored_of_random_loss(
    packets_in_frame: int, rate: float, most: float
) -> None:
    left, count = chance_of_loss(packets_in_frame, Loss(rate))
    assert left < most
    assert _unrestored(packets_in_frame, count, Loss(rate)) == pytest.approx(left, rel=0.2)


def test_no_bits_go_to_parity_where_it_restores_few_bursts() -> None:
    assert parity_count(12, Loss(0.05, 8.0)) == 4, "as many as may be"
    assert parity_count(12, Loss(0.05, 16.0)) == 4, "with the next two frames' they restore half"
    assert parity_count(12, Loss(0.05, 20.0)) == 0
    assert parity_count(40, Loss(0.05, 20.0)) > 0
    assert parity_count(1, Loss(0.05, 8.0)) == 0


@pytest.mark.parametrize(("rate", "burst"), [(-0.1, 1.0), (1.1, 1.0), (0.1, 0.5)])
def test_a_loss_that_cannot_be_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="expected a rate"):
        Loss(rate, burst)
