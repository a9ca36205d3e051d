"""Decides what a viewer's input does to the host, and that nothing stays held: a core.

Flow: agent/input/events.py decodes, the guard returns injector calls as values, agent/input/hands.py
makes them. Every method that needs it takes `now` in seconds of a monotonic clock. After every call
look at `next_deadline`, and call `expire` then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from unicodedata import category

from agent.input.events import (
    MAX_HELD_KEYS,
    Button,
    Carried,
    Event,
    Events,
    Held,
    Key,
    Mode,
    Motion,
    ReleaseAll,
    Text,
    Wheel,
)

SILENCE_S: Final = 0.3
"""Three of the page's 100 ms heartbeats (docs/protocol.md 6.1)."""
EVENTS_PER_S: Final = 500
"""A fast typist makes 40 events a second, a free-spinning wheel about 200."""
MOTIONS_PER_S: Final = 2000
"""A gaming mouse reports at 1 kHz."""
CHARACTERS_PER_S: Final = 100
"""Of TEXT events; no input method is faster for long."""
CHARACTERS_AT_ONCE: Final = 16
"""No more than the keys that X has to spare for them (agent/input/spare_keys.py)."""
BURST_S: Final = 0.5
SUBPIXELS: Final = 16
MAX_STEP_PX: Final = 32_767
"""X11 carries relative motion in 16 bits."""
MAX_TURN: Final = 20 * 120
"""Twenty notches in one event; more is no finger."""
ABSOLUTE_MAX: Final = 65_535
MODIFIERS: Final = frozenset(range(0xE0, 0xE8))
"""The usages of Control, Shift, Alt and Meta."""
_SUM_RANGE: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class PressKey:
    usage: int
    down: bool


@dataclass(frozen=True, slots=True)
class PressButton:
    button: int
    down: bool


@dataclass(frozen=True, slots=True)
class MoveTo:
    """To a fraction (0..1) of the captured screen."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class MoveBy:
    """By pixels."""

    dx: int
    dy: int


@dataclass(frozen=True, slots=True)
class TurnWheel:
    """In 1/120 notch."""

    dx: int
    dy: int


@dataclass(frozen=True, slots=True)
class TypeText:
    """Printable characters."""

    text: str


Call = PressKey | PressButton | MoveTo | MoveBy | TurnWheel | TypeText
Role = Literal["player", "viewer"]


@dataclass(slots=True)
class GuardCounts:
    """What was not done, and why."""

    not_allowed: int = 0
    """Messages of a viewer."""
    gaps: int = 0
    """EVENTS that begin beyond the next expected event: their sender does not follow the protocol."""
    limited: int = 0
    """Events and motions over the rate; events come again, motions are cumulative."""
    out_of_range: int = 0
    elsewhere: int = 0
    """Motions and presses over what was shown before."""
    silences: int = 0
    """Times that everything was released because no message came."""


def _is_typed(character: str) -> bool:
    """Whether it can be typed: no control character, and no break of a line or paragraph, which are keys."""
    return category(character) not in ("Cc", "Cs", "Cn", "Zl", "Zp")


class Bucket:
    """A token bucket of `rate` a second, `most` of them at once."""

    def __init__(self, rate: float, most: float) -> None:
        self._rate = rate
        self._most = most
        self._tokens = self._most
        self._at: float | None = None

    def take(self, now: float, count: int = 1) -> bool:
        """Take so many, or none and say no. More than there ever are: when all are there, and the next wait longer."""
        if self._at is not None:
            self._tokens = min(self._tokens + max(now - self._at, 0.0) * self._rate, self._most)
        self._at = now
        if self._tokens < min(count, self._most):
            return False
        self._tokens -= count
        return True


class _Way:
    """Turns the cumulative sums of one axis into whole pixels; the rest is carried."""

    def __init__(self) -> None:
        self._seen = 0
        self._rest = 0

    def step(self, total: int) -> int:
        half = _SUM_RANGE // 2
        self._rest += (total - self._seen + half) % _SUM_RANGE - half  # the sums wrap in 32 bits
        self._seen = total
        pixels, self._rest = divmod(self._rest, SUBPIXELS)
        return min(max(pixels, -MAX_STEP_PX), MAX_STEP_PX)


class Guard:
    """One viewer's input: what has been applied, what it holds, and when it was last heard."""

    def __init__(self, role: Role) -> None:
        self.counts = GuardCounts()
        self.keys: set[int] = set()
        self.buttons: set[int] = set()
        self.relative = False
        """The last motion was one: the browser draws no pointer of its own."""
        self.screen = 0
        """The number of what is shown (docs/protocol.md 6.6); motion over anything else is not followed."""
        self._allowed = role == "player"
        self._next = 1
        self._done = range(0)
        """Events that the former connection brought: of those only the releases count."""
        self._stamp = -1
        self._heard: float | None = None
        self._across, self._down = _Way(), _Way()
        self._lapsed: set[int] = set()
        """Keys that a silence released, and the page has not: they are still held there."""
        self._events = Bucket(EVENTS_PER_S, EVENTS_PER_S * BURST_S)
        self._motions = Bucket(MOTIONS_PER_S, MOTIONS_PER_S * BURST_S)
        self._characters = Bucket(CHARACTERS_PER_S, CHARACTERS_AT_ONCE)

    @property
    def applied(self) -> int:
        """Sequence number of the newest event that was applied; 0: none was."""
        return self._next - 1

    def carry(self, carried: Carried, applied: int) -> None:
        """The former connection's guard applied events up to `applied`: what of those is carried is not done again."""
        count = min(max(applied + 1 - carried.former, 0), carried.count)
        self._done = range(carried.first, carried.first + count)

    def receive(self, message: Events | Held, now: float) -> tuple[list[Call], int | None]:
        """Apply one message: the injector calls in order, and the ACK to send, if one is due."""
        if not self._allowed:
            self.counts.not_allowed += 1
            return [], None
        self._heard = now
        if isinstance(message, Held):
            calls = [*self._reconcile(message), *self._newest(message.stamp, message.motion, now)]
            return calls, None
        calls = [*self._apply(message, now), *self._newest(message.stamp, message.motion, now)]
        return calls, self._next if message.events else None

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, if no message comes before."""
        if self._heard is None or not (self.keys or self.buttons):
            return None
        return self._heard + SILENCE_S

    def expire(self, now: float) -> list[Call]:
        """Release everything when the deadline has passed."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        self.counts.silences += 1
        lapsed = self._lapsed | self.keys
        calls = self.release_all()
        self._lapsed = lapsed
        return calls

    def release_all(self) -> list[Call]:
        """Release everything that this viewer holds; for the end of a session too."""
        calls = [*self._lift_keys(self.keys), *self._lift_buttons(self.buttons)]
        self.keys.clear()
        self.buttons.clear()
        self._lapsed.clear()
        return calls

    def _apply(self, message: Events, now: float) -> Iterator[Call]:
        if message.first > self._next and message.events:
            self.counts.gaps += 1
            return
        for event in message.events[self._next - message.first :]:
            if self._next in self._done:
                self._next += 1
                if isinstance(event, Key | Button) and not event.down:
                    yield from self._event(event)
                continue
            if not (self._characters_allowed(event, now) and self._events.take(now)):
                self.counts.limited += 1
                return  # not acknowledged, so it comes again
            self._next += 1
            yield from self._event(event)

    def _characters_allowed(self, event: Event, now: float) -> bool:
        if not isinstance(event, Text):
            return True
        return self._characters.take(now, len(event.text))

    def _event(self, event: Event) -> Iterator[Call]:
        match event:
            case Key(down, usage):
                self._lapsed.discard(usage)
                if down:
                    yield from self._press_lapsed(self._lapsed & MODIFIERS)
                if self._changes(self.keys, usage, down=down):
                    yield PressKey(usage, down)
            case Button(down, button, motion):
                yield from self._move(motion)
                if down and self._elsewhere(motion):
                    return  # a click into another picture
                if down:
                    yield from self._press_lapsed(self._lapsed & MODIFIERS)
                if self._changes(self.buttons, button, down=down):
                    yield PressButton(button, down)
            case Wheel(dx, dy):
                yield TurnWheel(
                    min(max(dx, -MAX_TURN), MAX_TURN), min(max(dy, -MAX_TURN), MAX_TURN)
                )
            case ReleaseAll():
                yield from self.release_all()
            case Text(text):
                printable = "".join(filter(_is_typed, text))
                if printable != text:  # a line feed is the key Enter
                    self.counts.out_of_range += 1
                if printable:
                    yield TypeText(printable)

    def _changes(self, held: set[int], code: int, *, down: bool) -> bool:
        """Whether this press or release is one; a repeated press and a foreign release are not."""
        if (code in held) == down:
            return False
        if not down:
            held.remove(code)
            return True
        if len(held) >= MAX_HELD_KEYS:
            self.counts.out_of_range += 1
            return False
        held.add(code)
        return True

    def _reconcile(self, message: Held) -> Iterator[Call]:
        if message.last != self._next - 1:
            return  # of an earlier moment; or of a later one, and the events before it are still to come
        gone_keys = self.keys - message.usages
        gone_buttons = self.buttons - message.buttons
        self.keys -= gone_keys
        self.buttons -= gone_buttons
        yield from self._lift_keys(gone_keys)
        yield from self._lift_buttons(gone_buttons)
        yield from self._press_lapsed(self._lapsed & message.usages)
        self._lapsed.clear()

    def _press_lapsed(self, usages: set[int]) -> Iterator[Call]:
        """Press again what a silence released in the middle of a chord or of a walk.

        Not before the page says that it holds it, or a modifier's chord goes on: the release of a short
        tap may be what comes next, and the letter would be typed twice. Buttons stay up: the pointer is
        elsewhere by now.
        """
        self._lapsed -= usages
        for usage in sorted(usages, reverse=True):  # modifiers first
            if self._changes(self.keys, usage, down=True):
                yield PressKey(usage, down=True)

    def _newest(self, stamp: int, motion: Motion, now: float) -> Iterator[Call]:
        if stamp <= self._stamp:
            return  # overtaken by a newer message
        self._stamp = stamp
        if motion.mode is Mode.NONE:
            return
        if not self._motions.take(now):
            self.counts.limited += 1
            return
        yield from self._move(motion)

    def _move(self, motion: Motion) -> Iterator[Call]:
        if motion.mode is Mode.NONE:
            return
        if self._elsewhere(motion):
            self.counts.elsewhere += 1
            return
        self.relative = motion.mode is Mode.RELATIVE
        if motion.mode is Mode.ABSOLUTE:
            x = min(max(motion.x, 0), ABSOLUTE_MAX) / ABSOLUTE_MAX
            y = min(max(motion.y, 0), ABSOLUTE_MAX) / ABSOLUTE_MAX
            yield MoveTo(x, y)
            return
        dx, dy = self._across.step(motion.x), self._down.step(motion.y)
        if dx or dy:
            yield MoveBy(dx, dy)

    def _elsewhere(self, motion: Motion) -> bool:
        return motion.mode is Mode.ABSOLUTE and motion.screen not in (0, self.screen)

    def _lift_keys(self, usages: set[int]) -> list[Call]:
        # Modifiers (0xE0 to 0xE7) last, so that no half of a chord is typed.
        return [PressKey(usage, down=False) for usage in sorted(usages)]

    def _lift_buttons(self, buttons: set[int]) -> list[Call]:
        return [PressButton(button, down=False) for button in sorted(buttons)]
