"""The cases of the Autobahn testsuite's sections 1 to 7 by their numbers, and what has to come of each.

A case is what the client sends, in frames; what the server takes as messages; its pongs; and the code of its close.
Written from the testsuite's descriptions (github.com/crossbario/autobahn-testsuite); the client of an `OK` case
ends it by a close with 1000 where the case itself does not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.cluster.edge import Message
from tests.cluster.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame


@dataclass(frozen=True, slots=True)
class Case:
    """See the module; `close` is the code of the server's close frame, 1005 for one without a code."""

    name: str
    frames: tuple[bytes, ...]
    close: int
    messages: tuple[Message, ...] = ()
    pongs: tuple[bytes, ...] = ()


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(struct.pack("!H", code) + reason, CLOSE)


END: Final = close_frame(1000)
HELLO: Final = b"Hello, world!"
PARTS: Final = (frame(b"fragment1", TEXT, fin=False), frame(b"fragment2", CONTINUATION))
WHOLE: Final = (b"fragment1fragment2", True)


def reserved(bits: int, payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame with these of RSV1 (4), RSV2 (2) and RSV3 (1) set."""
    whole = frame(payload, opcode)
    return bytes((whole[0] | bits << 4,)) + whole[1:]


def fine(
    name: str, frames: tuple[bytes, ...], *messages: Message, pongs: tuple[bytes, ...] = ()
) -> Case:
    """The server takes it all, and closes as it is asked to."""
    return Case(name, (*frames, END), 1000, messages, pongs)


def framing() -> Iterator[Case]:
    sizes = (0, 125, 126, 127, 128, 65535, 65536, 65536)
    for section, opcode, letter in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for number, size in enumerate(sizes, 1):
            message = (letter * size, opcode == TEXT)
            yield fine(f"1.{section}.{number}", (frame(message[0], opcode),), message)


def pings() -> Iterator[Case]:
    binary = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    for number, payload in enumerate((b"", HELLO, binary, b"\xfe" * 125), 1):
        yield fine(f"2.{number}", (frame(payload, PING),), pongs=(payload,))
    yield Case("2.5", (frame(b"\xfe" * 126, PING),), 1002)
    yield fine("2.6", (frame(b"\xfe" * 125, PING),), pongs=(b"\xfe" * 125,))
    yield fine("2.7", (frame(b"", PONG),))
    yield fine("2.8", (frame(b"unsolicited pong payload", PONG),))
    ping = frame(b"ping payload", PING)
    yield fine("2.9", (frame(b"unsolicited", PONG), ping), pongs=(b"ping payload",))
    payloads = tuple(b"payload-%d" % number for number in range(10))
    for number in (10, 11):
        yield fine(f"2.{number}", tuple(frame(one, PING) for one in payloads), pongs=payloads)


def reserved_bits() -> Iterator[Case]:
    text, ping, message = frame(HELLO), frame(b"", PING), (HELLO, True)
    yield Case("3.1", (reserved(1, HELLO),), 1002)
    for number in (2, 3, 4):
        yield Case(f"3.{number}", (text, reserved(number, HELLO), ping), 1002, (message,))
    yield Case("3.5", (reserved(5, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", BINARY),), 1002)
    yield Case("3.6", (reserved(6, HELLO, PING),), 1002)
    yield Case("3.7", (reserved(7, struct.pack("!H", 1000), CLOSE),), 1002)


def opcodes() -> Iterator[Case]:
    text, ping, message = frame(HELLO), frame(b"", PING), (HELLO, True)
    for section, first in ((1, 3), (2, 11)):
        yield Case(f"4.{section}.1", (frame(b"", first),), 1002)
        yield Case(f"4.{section}.2", (frame(b"reserved opcode payload", first + 1),), 1002)
        for number, payload in ((3, b""), (4, b"reserved payload"), (5, b"reserved payload")):
            bad = frame(payload, first + number - 1)
            yield Case(f"4.{section}.{number}", (text, bad, ping), 1002, (message,))


def fragmentation() -> Iterator[Case]:
    first, last = PARTS
    for number, opcode in ((1, PING), (2, PONG)):
        split = (frame(b"fragment1", opcode, fin=False), frame(b"fragment2", CONTINUATION))
        yield Case(f"5.{number}", split, 1002)
    for number in (3, 4, 5):
        yield fine(f"5.{number}", PARTS, WHOLE)
    for number in (6, 7, 8):
        yield fine(f"5.{number}", (first, frame(b"ping", PING), last), WHOLE, pongs=(b"ping",))
    for number in range(9, 15):
        nothing = frame(b"non-continuation payload", CONTINUATION, fin=number < 12)
        yield Case(f"5.{number}", (nothing, frame(HELLO)), 1002)
    nothing = frame(b"fragment3", CONTINUATION, fin=False)
    yield Case("5.15", (*PARTS, nothing, frame(b"fragment4")), 1002, (WHOLE,))
    for number, fin in ((16, False), (17, True)):
        once = (frame(b"fragment1", CONTINUATION, fin=fin), frame(b"fragment2", fin=False), last)
        yield Case(f"5.{number}", once * 2, 1002)
    yield Case("5.18", (first, frame(b"fragment2")), 1002)
    fragments = [
        frame(b"fragment%d" % n, TEXT if n == 1 else CONTINUATION, fin=n == 5) for n in range(1, 6)
    ]
    fragments.insert(4, frame(b"ping2", PING))
    fragments.insert(2, frame(b"ping1", PING))
    whole = (b"fragment1fragment2fragment3fragment4fragment5", True)
    for number in (19, 20):
        yield fine(f"5.{number}", tuple(fragments), whole, pongs=(b"ping1", b"ping2"))


def octets(payload: bytes) -> tuple[bytes, ...]:
    """A text in fragments of one octet."""
    last = len(payload) - 1
    return tuple(
        frame(payload[n : n + 1], CONTINUATION if n else TEXT, fin=n == last)
        for n in range(last + 1)
    )


GREEK: Final = bytes.fromhex("cebae1bdb9cf83cebcceb5")  # κόσμε, as Kuhn's page has it
BROKEN: Final = GREEK + b"\xed\xa0\x80edited"
# Kuhn's "UTF-8 decoder capability and stress test", by Autobahn's numbers.
VALID: Final = {
    "6.5": (GREEK,),
    "6.7": (b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"),
    "6.9": (b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"),
    "6.11": (b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"),
    "6.22": tuple(
        chr(plane << 16 | low).encode() for plane in range(17) for low in (0xFFFE, 0xFFFF)
    ),
    "6.23": tuple(chr(code).encode() for code in range(0xFFF9, 0x10000)),
}
INVALID: Final = {
    "6.8": ("f888808080", "fc8480808080"),
    "6.10": ("f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"),
    "6.12": (
        *(["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf"]),
        bytes(range(128, 191)).hex(),
    ),
    "6.13": tuple(
        b"".join(bytes((start, 32)) for start in range(*bounds)).hex()
        for bounds in ((0xC0, 0xE0), (0xE0, 0xF0), (0xF0, 0xF8), (0xF8, 0xFC), (0xFC, 0xFE))
    ),
    "6.14": (
        "c0",
        "e080",
        "f08080",
        "f8808080",
        "fc80808080",
        "df",
        "efbf",
        "f7bfbf",
        "fbbfbfbf",
        "fdbfbfbfbf",
    ),
    "6.15": ("c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf",),
    "6.16": ("fe", "ff", "fefeffff"),
    "6.17": ("c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"),
    "6.18": ("c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"),
    "6.19": ("c080", "e08080", "f0808080", "f880808080", "fc8080808080"),
    "6.20": ("eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"),
    "6.21": tuple(
        high + low
        for high in ("eda080", "edadbf", "edae80", "edafbf")
        for low in ("edb080", "edbfbf")
    ),
}


def texts() -> Iterator[Case]:
    empty = frame(b"", CONTINUATION, fin=False)
    yield fine("6.1.1", (frame(b""),), (b"", True))
    yield fine("6.1.2", (frame(b"", fin=False), empty, frame(b"", CONTINUATION)), (b"", True))
    middle = frame(HELLO, CONTINUATION, fin=False)
    yield fine("6.1.3", (frame(b"", fin=False), middle, frame(b"", CONTINUATION)), (HELLO, True))
    text = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    yield fine("6.2.1", (frame(text),), (text, True))
    cut = len("Hello-µ@ßöä".encode())
    halves = (frame(text[:cut], fin=False), frame(text[cut:], CONTINUATION))
    yield fine("6.2.2", halves, (text, True))
    yield fine("6.2.3", octets(text), (text, True))
    yield fine("6.2.4", octets(GREEK), (GREEK, True))
    yield Case("6.3.1", (frame(BROKEN),), 1007)
    yield Case("6.3.2", octets(BROKEN), 1007)
    beyond = GREEK + b"\xf4\x90\x80\x80edited"
    for number, cut in ((1, 11), (2, 12), (3, 11), (4, 12)):  # NON-STRICT: judged when it is whole
        rest = cut + 4 - cut % 11
        pieces = (
            frame(beyond[:cut], fin=False),
            frame(beyond[cut:rest], CONTINUATION, fin=False),
            frame(beyond[rest:], CONTINUATION),
        )
        yield Case(f"6.4.{number}", pieces if number < 3 else (frame(beyond),), 1007)
    for length in range(1, len(GREEK) + 1):
        prefix, name = GREEK[:length], f"6.6.{length}"
        whole = length in (2, 5, 7, 9, 11)
        yield (
            fine(name, (frame(prefix),), (prefix, True))
            if whole
            else Case(name, (frame(prefix),), 1007)
        )
    for section, payloads in VALID.items():
        for number, payload in enumerate(payloads, 1):
            yield fine(f"{section}.{number}", (frame(payload),), (payload, True))
    for section, hexes in INVALID.items():
        for number, digits in enumerate(hexes, 1):
            yield Case(f"{section}.{number}", (frame(bytes.fromhex(digits)),), 1007)


def closes() -> Iterator[Case]:
    hello, ping = (HELLO, True), frame(b"", PING)
    yield fine("7.1.1", (frame(HELLO),), hello)
    yield Case("7.1.2", (END, END), 1000)
    yield Case("7.1.3", (END, ping), 1000)
    yield Case("7.1.4", (END, frame(HELLO)), 1000)
    # Differs: `websockets` takes a close within a message for an error, and ends the connection all the same.
    yield Case("7.1.5", (PARTS[0], END, PARTS[1]), 1002)
    large = b"*" * (256 * 1024)
    yield Case("7.1.6", (frame(large), END, ping), 1000, ((large, True),))
    yield Case("7.3.1", (frame(b"", CLOSE),), 1005)
    yield Case("7.3.2", (frame(b"a", CLOSE),), 1002)
    yield Case("7.3.3", (END,), 1000)
    yield Case("7.3.4", (close_frame(1000, b"Hello World!"),), 1000)
    yield Case("7.3.5", (close_frame(1000, b"*" * 123),), 1000)
    yield Case("7.3.6", (close_frame(1000, b"*" * 124),), 1002)
    yield Case("7.5.1", (close_frame(1000, BROKEN),), 1007)
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for number, code in enumerate(good, 1):
        yield Case(f"7.7.{number}", (close_frame(code),), code)
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield Case(f"7.9.{number}", (close_frame(code),), 1002)
    # INFORMATIONAL: RFC 6455 7.4.2 defines no codes from 5000 on.
    yield Case("7.13.1", (close_frame(5000),), 1002)
    yield Case("7.13.2", (frame(struct.pack("!I", 65536), CLOSE),), 1002)


CASES: Final = (
    *framing(),
    *pings(),
    *reserved_bits(),
    *opcodes(),
    *fragmentation(),
    *texts(),
    *closes(),
)
