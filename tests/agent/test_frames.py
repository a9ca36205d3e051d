"""Frame statistics: the golden vectors, what is told of a frame, to whom and for how long."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import frame_reports
from agent.frame_reports import FrameReports
from agent.frames import (
    MAX_FRAMES,
    MAX_INPUTS,
    TYPE_CLOCK,
    TYPE_FRAMES,
    Arrivals,
    Ask,
    Freezes,
    InputTimes,
    Legs,
    SentFrame,
    StatsError,
    decode,
    encode_clock,
    encode_frames,
    encode_want,
)
from agent.summary import MAX_REASON_BYTES, Delivery, encode_delivery
from tests import vectors
from tests.eventually import until
from tests.fuzz import fuzz_cases

VECTORS = vectors.load("stats")
BY_NAME = {row["name"]: row["hex"] for row in VECTORS["valid"]}
DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


KINDS = st.sampled_from([b"\x01\x05", b"\x01\x08", b"\x01\x08" + bytes(8) + b"\x02"])


def of_type(*kinds: str) -> list[Any]:
    return [row for row in VECTORS["valid"] if row["message"]["type"] in kinds]


def sent_frame(row: dict[str, int]) -> SentFrame:
    return SentFrame(
        row["rtp_timestamp"], row["captured"], row["grabbed"], row["converted"], row["encoded"],
        row["first_sent"], row["last_sent"],
    )  # fmt: skip


def a_frame(captured_us: int) -> SentFrame:
    at = captured_us
    return SentFrame(at & 0xFFFFFFFF, at, at + 1, at + 2, at + 3, at + 4, at + 5)


@pytest.mark.parametrize(
    "row", of_type("ask", "legs", "arrivals", "freezes"), ids=lambda row: row["name"]
)
def test_a_message_of_the_browser_decodes_as_the_vector_says(row: dict[str, Any]) -> None:
    message = row["message"]
    got = decode(bytes.fromhex(row["hex"]))
    if message["type"] == "ask":
        assert got == Ask(message["asked"])
    elif message["type"] == "arrivals":
        frames = [(frame["rtp_timestamp"], frame["received"] / 1e6) for frame in message["frames"]]
        assert got == Arrivals(tuple(frames))
    elif message["type"] == "freezes":
        assert got == Freezes(message["freezes"])
    else:
        assert got == Legs({leg: us / 1e6 for leg, us in message["legs"].items()})


@pytest.mark.parametrize("row", of_type("clock", "frames", "delivery"), ids=lambda row: row["name"])
def test_a_message_of_the_host_encodes_as_the_vector_says(row: dict[str, Any]) -> None:
    message = row["message"]
    if message["type"] == "clock":
        made = encode_clock(message["asked"], message["heard"], message["said"])
        assert made.hex() == row["hex"]
        return
    if message["type"] == "delivery":
        counts = {key: value for key, value in message.items() if key != "type"}
        assert encode_delivery(Delivery(**counts)).hex() == row["hex"]
        return
    inputs = InputTimes()
    for frame in message["frames"]:
        inputs.note(frame["input"], frame["injected"])
    frames = [sent_frame(frame) for frame in message["frames"]]
    assert [made.hex() for made in encode_frames(frames, inputs)] == [row["hex"]]


@pytest.mark.parametrize(
    "row", [row for row in VECTORS["invalid"] if row["from"] == "browser"], ids=lambda r: r["name"]
)
def test_an_invalid_message_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(StatsError):
        decode(bytes.fromhex(row["hex"]))


@fuzz_cases(2000)
@given(st.binary(max_size=40) | st.builds(bytes.__add__, KINDS, st.binary(max_size=160)))
def test_random_bytes_decode_or_raise_the_one_error(payload: bytes) -> None:
    try:
        message = decode(payload)
    except StatsError:
        return
    assert isinstance(message, Ask | Legs | Arrivals | Freezes)


def test_the_documents_example_is_a_vector() -> None:
    block = DOCUMENT.partition("```stats\n")[2].partition("```")[0]
    lines = re.findall(r"^(.+?): ([0-9a-f ]+)$", block, re.MULTILINE)
    assert {BY_NAME[name] for name, _ in lines} == {text.replace(" ", "") for _, text in lines}
    assert len(lines) == 8


def test_arrivals_are_wanted_as_the_vector_says() -> None:
    assert encode_want().hex() == BY_NAME["the host wants arrivals"]


def test_a_delivery_beyond_its_fields_is_clamped_and_its_words_cut_at_a_character() -> None:
    message = encode_delivery(Delivery(True, 1 << 40, -1, 0, 0, "x" + "é" * MAX_REASON_BYTES))
    assert message[3:11] == b"\xff\xff\xff\xff\x00\x00\x00\x00"
    assert message[21:].decode() == "x" + "é" * ((MAX_REASON_BYTES - 1) // 2)
    assert len(message) < 1200


def test_many_frames_go_in_order_into_messages_of_bounded_size() -> None:
    frames = [a_frame(1000 * number) for number in range(2 * MAX_FRAMES + 1)]
    messages = list(encode_frames(frames, InputTimes()))
    assert [message[10] for message in messages] == [MAX_FRAMES, MAX_FRAMES, 1]
    assert max(map(len, messages)) < 1200
    assert not list(encode_frames([], InputTimes()))


def test_times_that_do_not_fit_are_clamped() -> None:
    (message,) = encode_frames([SentFrame(1, 10, 5, 1 << 40, 0, 0, 0)], InputTimes())
    assert message[11 + 8 : 11 + 16].hex() == "00000000ffffffff"


def test_an_input_belongs_to_the_frames_that_were_captured_after_it() -> None:
    inputs = InputTimes()
    assert inputs.before(100) == (0, 100)
    inputs.note(0, 90)
    inputs.note(3, 100)
    inputs.note(3, 140)  # applied by an earlier message: a repetition
    inputs.note(5, 200)
    assert inputs.before(99) == (0, 99)
    assert inputs.before(100) == (3, 100)
    assert inputs.before(199) == (3, 100)
    assert inputs.before(10**9) == (5, 200)


def test_old_inputs_are_forgotten() -> None:
    inputs = InputTimes()
    for sequence in range(1, MAX_INPUTS + 2):
        inputs.note(sequence, sequence)
    assert inputs.before(1) == (0, 1)
    assert inputs.before(2) == (2, 2)


class Host:
    """Reports with what they send, and frames to take."""

    def __init__(self) -> None:
        self.frames: list[SentFrame] = []
        self.sent: list[bytes] = []
        self.arrivals: list[Arrivals] = []
        self.reports = FrameReports(self._send, self._take, self.arrivals.append)

    def _send(self, message: bytes) -> bool:
        self.sent.append(message)
        return True

    def _take(self) -> list[SentFrame]:
        frames, self.frames = self.frames, []
        return frames

    def kinds(self) -> Sequence[int]:
        return [message[1] for message in self.sent]


ASK = bytes.fromhex(BY_NAME["ask at the beginning"])


async def test_frames_are_told_while_the_browser_asks_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frame_reports, "EVERY_S", 0.02)
    monkeypatch.setattr(frame_reports, "ASKED_S", 0.2)
    host = Host()
    host.frames = [a_frame(1)]
    host.reports.on_message(ASK)
    assert host.kinds() == [TYPE_CLOCK]
    assert not host.frames, "of before the question"
    host.reports.injected(4, frame_reports.clock_us())
    host.frames = [a_frame(frame_reports.clock_us())]
    await until(lambda: len(host.sent) == 2, "frames")
    assert host.kinds() == [TYPE_CLOCK, TYPE_FRAMES]
    assert int.from_bytes(host.sent[1][-8:-4], "big") == 4
    await until(lambda: host.reports._timer is None, "the end of the question")
    host.frames = [a_frame(3)]
    assert len(host.sent) == 2
    host.reports.on_message(ASK)
    host.reports.close()
    host.reports.close()


async def test_the_newest_count_of_freezes_is_kept() -> None:
    host = Host()
    assert host.reports.freezes is None
    for name, count in (("the most freezes", 0xFFFF_FFFF), ("three freezes", 3)):
        host.reports.on_message(bytes.fromhex(BY_NAME[name]))
        assert host.reports.freezes == count


async def test_what_the_browser_measured_is_true_for_some_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host()
    assert host.reports.legs_s() is None
    host.reports.on_message(bytes.fromhex(BY_NAME["legs of a usual moment"]))
    assert (host.reports.legs_s() or {})["click_to_photon"] == 0.0374
    host.reports.on_message(bytes.fromhex(BY_NAME["legs beyond everything"]))
    assert host.reports.legs_s() == {"click_to_photon": 10.0}
    host.reports.on_message(bytes.fromhex(BY_NAME["legs of nothing"]))
    assert host.reports.legs_s() is None
    monkeypatch.setattr(frame_reports, "LEGS_S", 0.0)
    host.reports.on_message(bytes.fromhex(BY_NAME["legs of a usual moment"]))
    assert host.reports.legs_s() is None
