"""Decoding of the `input` channel: the golden vectors, and that no bytes get past the one error type."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.input import events
from agent.input.events import (
    Button,
    Event,
    Events,
    Held,
    InputError,
    Key,
    Motion,
    ReleaseAll,
    Wheel,
)
from agent.summary import Summary, encode_summary
from tests import vectors
from tests.fuzz import fuzz_cases
from tests.input import browser

VECTORS = vectors.load("input")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
FROM_BROWSER = [
    row for row in VECTORS["valid"] if row["message"]["type"] in ("events", "carried", "held")
]
FROM_HOST = [row for row in VECTORS["valid"] if row not in FROM_BROWSER]


def motion_json(motion: Motion) -> dict[str, Any]:
    return {
        "mode": motion.mode.name.lower(), "screen": motion.screen, "x": motion.x, "y": motion.y
    }  # fmt: skip


def event_json(event: Event) -> dict[str, Any]:
    match event:
        case Key(down, usage):
            return {"kind": "key", "down": down, "usage": usage}
        case Button(down, button, motion):
            return {
                "kind": "button", "down": down, "button": button, "motion": motion_json(motion)
            }  # fmt: skip
        case Wheel(dx, dy):
            return {"kind": "wheel", "dx": dx, "dy": dy}
        case ReleaseAll():
            return {"kind": "release-all"}
        case events.Text(text):
            return {"kind": "text", "text": text}


def message_json(message: Events | Held) -> dict[str, Any]:
    match message:
        case Events(stamp, motion, first, listed, carried):
            there = {} if carried is None else {"carried": asdict(carried)}
            return {
                "type": "events" if carried is None else "carried",
                **there,
                "stamp": stamp,
                "motion": motion_json(motion),
                "first": first,
                "events": [event_json(event) for event in listed],
            }
        case Held(stamp, motion, last, buttons, usages):
            return {
                "type": "held",
                "stamp": stamp,
                "motion": motion_json(motion),
                "last": last,
                "buttons": sorted(buttons),
                "usages": sorted(usages),
            }


def summary_of(message: dict[str, Any]) -> Summary:
    return Summary(
        width=message["width"],
        height=message["height"],
        fps=message["frames_per_10s"] / 10,
        capture_us=message["capture_us_10"] * 10,
        convert_us=message["convert_us_10"] * 10,
        encode_us=message["encode_us_10"] * 10,
        send_us=message["send_us_10"] * 10,
        target_bps=message["target_bps"],
        sent_bps=message["sent_bps"],
        loss=message["loss_permille"] / 1000,
        rtt_s=message["rtt_ms_10"] / 10_000,
        dropped=message["dropped"],
        encoder=message["encoder"],
    )


@pytest.mark.parametrize("row", FROM_BROWSER, ids=lambda row: row["name"])
def test_a_message_of_the_browser_decodes_as_the_vector_says(row: dict[str, Any]) -> None:
    assert message_json(events.decode(bytes.fromhex(row["hex"]))) == row["message"]
    assert browser.message_bytes(row["message"]).hex() == row["hex"]


@pytest.mark.parametrize("row", FROM_HOST, ids=lambda row: row["name"])
def test_a_message_of_the_host_encodes_as_the_vector_says(row: dict[str, Any]) -> None:
    message = row["message"]
    if message["type"] == "ack":
        assert events.encode_ack(message["next"]).hex() == row["hex"]
    else:
        assert encode_summary(summary_of(message)).hex() == row["hex"]


def test_a_summary_beyond_its_fields_is_clamped_and_its_name_cut_at_a_character() -> None:
    message = encode_summary(
        Summary(70000, -1, 1e9, -5, 1e9, 1e9, 1e9, 1e12, 1e12, 2000.0, 1e9, 1 << 40, "é" * 40)
    )
    assert message[2:6] == b"\xff\xff\x00\x00"
    assert message[-33:] == bytes([32]) + ("é" * 16).encode()
    odd = encode_summary(Summary(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, "x" + "é" * 40))
    assert odd.endswith(bytes([31]) + ("x" + "é" * 15).encode())


@pytest.mark.parametrize("row", VECTORS["invalid"], ids=lambda row: row["name"])
def test_an_invalid_message_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        events.decode(bytes.fromhex(row["hex"]))


@pytest.mark.parametrize("row", FROM_BROWSER, ids=lambda row: row["name"])
def test_every_shorter_and_longer_form_is_refused(row: dict[str, Any]) -> None:
    whole = bytes.fromhex(row["hex"])
    for size in range(len(whole)):
        with pytest.raises(InputError):
            events.decode(whole[:size])
    with pytest.raises(InputError):
        events.decode(whole + b"\0")


@fuzz_cases(5000)
@given(
    st.binary(max_size=64)
    | st.builds(bytes.__add__, st.sampled_from([b"\1\1", b"\1\7"]), st.binary(max_size=1200))
)
def test_random_bytes_decode_or_raise_the_one_error(payload: bytes) -> None:
    try:
        message = events.decode(payload)
    except InputError:
        return
    assert browser.message_bytes(message_json(message))[:2] == payload[:2]


@fuzz_cases(5000)
@given(
    st.sampled_from(FROM_BROWSER), st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)))
)
def test_damaged_messages_decode_or_raise_the_one_error(
    row: dict[str, Any], damage: list[tuple[int, int]]
) -> None:
    payload = bytearray.fromhex(row["hex"])
    for place, value in damage:
        payload[place % len(payload)] = value
    try:
        message = events.decode(bytes(payload))
    except InputError:
        return
    if isinstance(message, Events):
        assert browser.message_bytes(message_json(message)) == payload


def test_the_documents_example_is_a_vector() -> None:
    block = DOCUMENT.partition("```input\n")[2].partition("```")[0]
    name, _, text = block.strip().rpartition(": ")
    (row,) = [row for row in FROM_BROWSER if row["name"] == name]
    assert text.replace(" ", "") == row["hex"]
