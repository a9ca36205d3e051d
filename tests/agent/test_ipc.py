"""Frames between the agent and its media process: whole, in pieces, oversized, damaged."""

import dataclasses
import os
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import ipc
from tests.fuzz import fuzz_cases

EXAMPLES: list[ipc.Message] = [
    ipc.Configure("x11", None, None, 60, 8_000_000, "loss", audio=True),
    ipc.Configure(
        "testpattern", 640, 360, 30, 1_000_000, "delay", audio=False, udp_ports=(50000, 50009)
    ),
    ipc.OpenSession(1, "player", "v=0\r\n", ({"urls": ["stun:127.0.0.1"]},)),
    ipc.RemoteCandidate(1, "candidate:1", "0", None),
    ipc.LoseSession(1),
    ipc.CloseSession(1, "bye"),
    ipc.AppChanged("Editor", "running", 4711, ""),
    ipc.StartApp("Editor"),
    ipc.EndApp("Editor"),
    ipc.RunApp('[{"name": "Editor"}]'),
    ipc.UserProcessEnded("nobody is signed in at the host"),
    ipc.Ping(),
    ipc.Stop(),
    ipc.Ready(("x11", "x264"), ("no sound: start PulseAudio",)),
    ipc.SessionAnswer(1, "v=0\r\n"),
    ipc.LocalCandidate(1, "", None, 0),
    ipc.SessionRefused(2, "there is no display"),
    ipc.SessionConnected(2),
    ipc.SessionSilent(2),
    ipc.SessionClosed(1, "the browser left"),
    ipc.Notice("picture", "no picture: the display is gone"),
    ipc.Pong(),
    ipc.HeldInput((4, 225), (0,)),
    ipc.Figures(b"\x80"),
]


def frame(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


def test_every_message_of_the_table_has_an_example() -> None:
    assert {type(message) for message in EXAMPLES} == set(ipc.MESSAGES.values())


def test_every_message_survives_the_way() -> None:
    decoder = ipc.FrameDecoder()
    stream = b"".join(map(ipc.encode, EXAMPLES))
    assert list(decoder.feed(stream)) == EXAMPLES
    assert [m for n in range(len(stream)) for m in decoder.feed(stream[n : n + 1])] == EXAMPLES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb({}),
        msgpack.packb({"type": "Unknown"}),
        msgpack.packb({"type": ["Stop"]}),
        msgpack.packb({"type": "Stop", "more": 1}),
        msgpack.packb({"type": "LoseSession"}),
        msgpack.packb({"type": "LoseSession", "session": "1"}),
        msgpack.packb({"type": "LoseSession", "session": True}),
        msgpack.packb({"type": "HeldInput", "keys": [1, "2"], "buttons": []}),
        msgpack.packb({"type": "SessionConnected", "session": None}),
        msgpack.packb({"type": "Stop"}) + b"\x00",
        b"\x91" * 2000,
    ],
)
def test_a_bad_frame_raises(body: bytes) -> None:
    with pytest.raises(ipc.IpcError):
        list(ipc.FrameDecoder().feed(frame(body)))


def test_an_oversized_frame_is_refused_at_its_length_and_never_made() -> None:
    with pytest.raises(ipc.IpcError):
        list(ipc.FrameDecoder().feed(struct.pack("!I", ipc.MAX_FRAME_BYTES + 1)))
    with pytest.raises(ipc.IpcError):
        ipc.encode(ipc.SessionAnswer(1, "x" * ipc.MAX_FRAME_BYTES))


@fuzz_cases(5000)
@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_random_streams_give_messages_or_the_one_error(pieces: list[bytes], framed: bool) -> None:
    decoder = ipc.FrameDecoder()
    try:
        for piece in pieces:
            list(decoder.feed(frame(piece) if framed else piece))
    except ipc.IpcError:
        return


_json: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@fuzz_cases(5000)
@given(st.sampled_from(EXAMPLES), st.data())
def test_maps_with_wrong_values_give_messages_or_the_one_error(
    example: ipc.Message, draw: st.DataObject
) -> None:
    values = {entry.name: getattr(example, entry.name) for entry in dataclasses.fields(example)}
    if values:
        values[draw.draw(st.sampled_from(sorted(values)))] = draw.draw(_json)
    body = msgpack.packb({"type": type(example).__name__, **values})
    try:
        message = ipc.decode(body)
    except ipc.IpcError:
        return
    assert ipc.decode(ipc.encode(message)[4:]) == message


def test_a_written_frame_is_in_the_pipe_when_send_returns() -> None:
    read, write = os.pipe()
    ipc.PipeWriter(write).send(EXAMPLES[0])
    os.close(write)
    assert list(ipc.FrameDecoder().feed(os.read(read, 65536))) == [EXAMPLES[0]]
    os.close(read)


def test_a_reader_that_is_gone_or_asleep_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc, "WRITE_LIMIT_S", 0.05)
    read, write = os.pipe()
    writer = ipc.PipeWriter(write)
    big = ipc.SessionAnswer(1, "x" * 200_000)
    with pytest.raises(ipc.IpcError, match="does not read"):
        writer.send(big)
    os.close(read)
    with pytest.raises(ipc.IpcError, match="closed"):
        writer.send(big)
    os.close(write)
