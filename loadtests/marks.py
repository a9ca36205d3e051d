"""Items that carry the name of their stream and a number, so that whoever hears them can count (a core).

A stream is what one side says in one session. Its number 0 is the offer or the answer; the answer also names the
stream of the offer that it answers, which is the correlation id of the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cluster.protocol.messages import Answer, Candidate, Control, Item, Offer

TALK: Final = "load-talk"
DONE: Final = "load-done"
"""The last item of its stream, so that its number says how many there were."""
MOST_ITEMS: Final = 1 << 20
"""Of a stream: a number from a stranger makes no larger gap."""
_MARK: Final = re.compile(r"x-load[: ]([A-Za-z0-9_\-]{22}) ([0-9]{1,7})(?: ([A-Za-z0-9_\-]{22}))?")
_SDP_HEAD: Final = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
)
_SDP_LINE: Final = "a=rtcp-fb:96 transport-cc\r\n"


@dataclass(frozen=True, slots=True)
class Mark:
    """What an item says of itself."""

    stream: str
    number: int
    answers: str | None = None
    done: bool = False


class Voice:
    """Makes the items of one stream, one after another."""

    def __init__(self, stream: str, sdp_bytes: int) -> None:
        self.stream = stream
        self.said = 0
        self._sdp_bytes = sdp_bytes

    def _next(self) -> str:
        text = f"{self.stream} {self.said}"
        self.said += 1
        return text

    def _sdp(self, answers: str) -> str:
        tail = f"a=x-load:{self._next()}{answers}\r\n"
        lines = max(0, self._sdp_bytes - len(_SDP_HEAD) - len(tail)) // len(_SDP_LINE)
        return _SDP_HEAD + _SDP_LINE * lines + tail

    def offer(self) -> Offer:
        """Number 0 of the side that calls."""
        return Offer(self._sdp(""))

    def answer(self, offer: str) -> Answer:
        """Number 0 of the side that is called; `offer` is the stream of what it answers."""
        return Answer(self._sdp(f" {offer}"))

    def candidate(self) -> Candidate:
        """One ICE candidate (RFC 8839 5.1) with an extension attribute."""
        line = "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host generation 0 x-load "
        return Candidate(line + self._next(), "0", 0)

    def talk(self) -> Control:
        """Something to say in a session that goes on."""
        return Control(TALK, f"x-load {self._next()}")

    def done(self) -> Control:
        """The last one."""
        return Control(DONE, f"x-load {self._next()}")


def read(item: Item) -> Mark | None:
    """The mark of an item; None: it is not one of ours."""
    match item:
        case Offer(text) | Answer(text) | Candidate(text):
            pass
        case Control(_, text):
            if not isinstance(text, str):
                return None
    found = _MARK.search(text)
    if found is None or int(found[2]) >= MOST_ITEMS:
        return None
    done = isinstance(item, Control) and item.action == DONE
    return Mark(found[1], int(found[2]), found[3], done)
