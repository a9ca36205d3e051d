"""One side of one session in either dialect: what it says when, and what it has heard of the other (a core).

The caller offers and gives its candidates, the callee answers with its own. Then both talk until the caller is done:
it says so in its last item, the callee does the same, and each knows how many items the other has said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from cluster.protocol.messages import MAX_ITEMS, Item, Offer
from loadtests import marks
from loadtests.marks import Voice
from loadtests.receipt import Receipt
from loadtests.tally import Tally

ANSWER_LIMIT_S: Final = 30.0
"""As the longest outage that a session is meant to live through, and the joins after it."""
DONE_LIMIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Script:
    """What a side says. Times in seconds."""

    candidates: int = 10
    sdp_bytes: int = 3000
    hold_s: float = 30.0
    """From the answer until the caller is done."""
    talk_every_s: float = 5.0
    heartbeat_s: float = 2.5
    """Without a message, after which the node is asked whether it lives: that of agent and page."""

    def __post_init__(self) -> None:
        talks = self.hold_s / self.talk_every_s if self.talk_every_s else 0
        if talks + self.candidates + 2 > MAX_ITEMS:
            raise ValueError(
                f"a side would say {talks + self.candidates + 2:.0f} items in a session, of which a log takes"
                f" {MAX_ITEMS}: ask for a longer --talk-every or a shorter --hold"
            )


class End(Enum):
    """How a session ended for this side."""

    WHOLE = auto()
    """Both were heard to the end, or somebody left on purpose."""
    UNFINISHED = auto()
    GIVEN_UP = auto()


class Conversation:
    """One side. `say` takes its items; call `advance` at `next_deadline`, and `close` once."""

    def __init__(
        self, script: Script, voice: Voice, say: Callable[[Item], None], *, calls: bool
    ) -> None:
        self.done = False
        """Whether this side has said its last."""
        self.heard_done = False
        self.answered_after_s: float | None = None
        """From the offer to its answer; the caller's."""
        self.other: str | None = None
        """The other's stream."""
        self.receipt = Receipt()
        self._script = script
        self._voice = voice
        self._say = say
        self._calls = calls
        self._offered_at = 0.0
        self._end_at: float | None = None
        self._talk_at: float | None = None
        self._limit: float | None = None
        self._total: int | None = None

    @property
    def whole(self) -> bool:
        """Whether both have said their last, and this side has heard the other's."""
        return self.done and self.heard_done

    def begin(self, now: float) -> None:
        """The caller's offer and candidates."""
        self._offered_at = now
        self._limit = now + ANSWER_LIMIT_S
        self._say(self._voice.offer())
        self._candidates()

    def _candidates(self) -> None:
        for _ in range(self._script.candidates):
            self._say(self._voice.candidate())

    def hear(self, item: Item, now: float) -> None:
        """An item has come."""
        mark = marks.read(item)
        if mark is None or (self.other is not None and mark.stream != self.other):
            return
        self.other = mark.stream
        if not self.receipt.take(mark.number):
            return
        if mark.answers == self._voice.stream and self._calls:
            self.answered_after_s = now - self._offered_at
            self._end_at = now + self._script.hold_s
            self._established(now)
        elif isinstance(item, Offer) and not self._calls:
            self._say(self._voice.answer(mark.stream))
            self._candidates()
            self._established(now)
        if mark.done:
            self._total = mark.number + 1
            self.heard_done = True
            self._finish(now)

    def _established(self, now: float) -> None:
        self._limit = None
        if self._script.talk_every_s:
            self._talk_at = now + self._script.talk_every_s

    def _finish(self, now: float) -> None:
        if self.done:
            return
        self.done = True
        self._talk_at = self._end_at = None
        self._limit = now + DONE_LIMIT_S
        self._say(self._voice.done())

    def end(self, now: float) -> None:
        """The caller is done sooner than planned, if it has its answer."""
        if self._end_at is not None:
            self._end_at = min(self._end_at, now)

    def advance(self, now: float) -> bool:
        """Say what is due; False: a limit has passed, nothing more will come of this session."""
        if self._end_at is not None and now >= self._end_at:
            self._finish(now)
        if self._talk_at is not None and now >= self._talk_at:
            self._say(self._voice.talk())
            self._talk_at = now + self._script.talk_every_s
        return self._limit is None or now < self._limit

    def next_deadline(self) -> float | None:
        """When `advance` has something to do."""
        times = [t for t in (self._end_at, self._talk_at, self._limit) if t is not None]
        return min(times, default=None)

    def close(self, end: End, tally: Tally) -> None:
        """Count: it is over. One that was whole stays so, however its sockets ended."""
        how = End.WHOLE if self.whole else end
        heard = self.receipt
        tally.sessions += self._calls
        tally.items += heard.received
        tally.doubled += heard.doubled
        tally.reordered += heard.reordered
        tally.lost += heard.skipped if self._total is None else heard.lost(self._total)
        tally.unfinished += how is End.UNFINISHED
        tally.given_up += how is End.GIVEN_UP
