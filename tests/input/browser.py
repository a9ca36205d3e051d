"""The browser's end of the `input` channel, for tests: JSON of the vectors to bytes."""

import struct
from typing import Any

Json = dict[str, Any]
MODES = ("none", "absolute", "relative")
STILL: Json = {"mode": "none", "screen": 0, "x": 0, "y": 0}


def absolute(x: int, y: int) -> Json:
    return {"mode": "absolute", "screen": 0, "x": x, "y": y}


def relative(x: int, y: int) -> Json:
    return {"mode": "relative", "screen": 0, "x": x, "y": y}


def key(usage: int, *, down: bool) -> Json:
    return {"kind": "key", "down": down, "usage": usage}


def button(number: int, *, down: bool, motion: Json = STILL) -> Json:
    return {"kind": "button", "down": down, "button": number, "motion": motion}


def motion_bytes(motion: Json) -> bytes:
    return struct.pack(
        "!BBBii", MODES.index(motion["mode"]), motion["screen"], 0, motion["x"], motion["y"]
    )


def event_bytes(event: Json) -> bytes:
    match event["kind"]:
        case "key":
            return struct.pack("!BBH", 1, event["down"], event["usage"])
        case "button":
            head = struct.pack("!BBB", 2, event["down"], event["button"])
            return head + motion_bytes(event["motion"])
        case "wheel":
            return struct.pack("!Bhh", 3, event["dx"], event["dy"])
        case "text":
            data = bytes(event["text"], "utf-8")
            return struct.pack("!BB", 5, len(data)) + data
        case "release-all":
            return b"\x04"
        case kind:
            raise AssertionError(kind)


def events(stamp: int, first: int, *listed: Json, motion: Json = STILL) -> bytes:
    """An EVENTS message."""
    head = struct.pack("!BBI", 1, 1, stamp) + motion_bytes(motion)
    return head + struct.pack("!IB", first, len(listed)) + b"".join(map(event_bytes, listed))


def carried(there: Json, message: bytes) -> bytes:
    """A CARRIED message from an EVENTS one; `there`: its `former`, `first` and `count`."""
    head = struct.pack("!BBIIH", 1, 7, there["former"], there["first"], there["count"])
    return head + message[2:]


def held(
    stamp: int, last: int, buttons: list[int], usages: list[int], motion: Json = STILL
) -> bytes:
    """A HELD message."""
    mask = sum(1 << number for number in buttons)
    head = struct.pack("!BBI", 1, 2, stamp) + motion_bytes(motion)
    return (
        head
        + struct.pack("!IBB", last, mask, len(usages))
        + struct.pack(f"!{len(usages)}H", *usages)
    )


def message_bytes(message: Json) -> bytes:
    """EVENTS, CARRIED or HELD from the JSON of tests/vectors/input.json."""
    if message["type"] in ("events", "carried"):
        plain = events(
            message["stamp"], message["first"], *message["events"], motion=message["motion"]
        )
        return carried(message["carried"], plain) if "carried" in message else plain
    assert message["type"] == "held"
    return held(
        message["stamp"], message["last"], message["buttons"], message["usages"], message["motion"]
    )


PAD_KEYS = (
    "buttons", "leftTrigger", "rightTrigger", "leftX", "leftY", "rightX", "rightY",
)  # fmt: skip


def pad_state(**values: int) -> Json:
    """A state of a gamepad as in tests/vectors/pads.json; what is not given is neutral."""
    return dict.fromkeys(PAD_KEYS, 0) | values


def pads(
    stamp: int,
    newest: dict[int, Json],
    changes: list[tuple[int, Json]] | None = None,
    first: int = 1,
) -> bytes:
    """A PADS message."""

    def entry(pad: int, state: Json) -> bytes:
        return struct.pack("!BIBBhhhh", pad, *(state[key] for key in PAD_KEYS))

    listed = changes or []
    head = struct.pack("!BBIIB", 1, 4, stamp, first, len(listed))
    tail = b"".join(entry(*change) for change in newest.items())
    return head + b"".join(entry(*change) for change in listed) + bytes([len(newest)]) + tail
