"""Keeps the indicator and the shortcut's listener alive, each on a thread, through every loss of the desktop.

Flow: agent/host.py says who is connected and hears of the shortcut.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.presence.base import Indicator, KeyListener, OnKey, Part, PresenceUnavailable
from agent.presence.chord import Chord, keys_of

logger = logging.getLogger(__name__)

AGAIN_AFTER_S: Final = 5.0
CLOSE_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Company:
    """Who is connected, and whether the person here has ended that."""

    players: int = 0
    viewers: int = 0
    ended: bool = False


def line(company: Company, shortcut: str) -> str:
    """What the indicator says; `shortcut` is empty where there is none."""
    people = company.players + company.viewers
    if company.ended:
        allows = f" {shortcut} allows it again." if shortcut else ""
        return f"Remote control is ended.{allows}"
    if not people:
        return ""
    ends = f" {shortcut} ends it." if shortcut else ""
    who = "1 person is" if people == 1 else f"{people} people are"
    what = "sees" if people == 1 else "see"
    if company.players:
        return f"{who} connected and controls this computer.{ends}".replace(
            "are connected and controls", "are connected and control"
        )
    return f"{who} connected and {what} this screen.{ends}"


def shown(shortcut: str) -> str:
    """A shortcut as people read it: Ctrl+Alt+Shift+F11; empty for `off`."""
    if keys_of(shortcut) is None:
        return ""
    return "+".join(part.strip().capitalize() for part in shortcut.split("+"))


class Attendant:
    """`on_shortcut` is called on a thread of its own. A maker is None where the part is not wanted."""

    def __init__(
        self,
        shortcut: str,
        on_shortcut: Callable[[], None],
        open_keys: Callable[[OnKey], KeyListener],
        open_indicator: Callable[[], Indicator] | None,
    ) -> None:
        self._shortcut = shown(shortcut)
        self._on_shortcut = on_shortcut
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._company = Company()
        self._parts: set[Part] = set()
        self._indicator: Indicator | None = None
        self._listener: KeyListener | None = None
        self._threads: list[threading.Thread] = []
        keys = keys_of(shortcut)
        if keys is not None:
            self._keep("shortcut", lambda: self._listen(open_keys(self._hearing(Chord(*keys)))))
        if open_indicator is not None:
            make = open_indicator
            self._keep("indicator", lambda: self._take(make()))

    def show(self, company: Company) -> None:
        """Who is connected from now on."""
        with self._lock:
            self._company = company
            self._say()

    def close(self) -> None:
        """End both; waits CLOSE_LIMIT_S at most."""
        self._stop.set()
        with self._lock:
            parts = list(self._parts)
        for part in parts:
            part.close()
        deadline = time.monotonic() + CLOSE_LIMIT_S
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _hearing(self, chord: Chord) -> OnKey:
        def on_key(usage: int, down: bool) -> None:
            if chord.hear(usage, time.monotonic(), down=down):
                self._on_shortcut()

        return on_key

    def _take(self, indicator: Indicator) -> Indicator:
        with self._lock:
            self._indicator = indicator
            self._say()
        return indicator

    def _listen(self, listener: KeyListener) -> KeyListener:
        with self._lock:
            self._listener = listener
            self._say()
        return listener

    def _say(self) -> None:
        """With the lock: the indicator promises no shortcut that nobody listens for."""
        if self._indicator is not None:
            shortcut = self._shortcut if self._listener is not None else ""
            self._indicator.show(line(self._company, shortcut))

    def _keep(self, name: str, make: Callable[[], Part]) -> None:
        thread = threading.Thread(target=self._run, args=(name, make), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, make: Callable[[], Part]) -> None:
        """Make the part and let it serve, again and again, until `close`."""
        complaint = ""
        while not self._stop.is_set():
            try:
                self._serve(make())
            except PresenceUnavailable as error:
                if str(error) != complaint:
                    logger.warning("no %s: %s", name, error)
                complaint = str(error)
            except Exception as error:
                if repr(error) != complaint:
                    logger.exception("the %s broke, and is made again", name)
                complaint = repr(error)
            self._stop.wait(AGAIN_AFTER_S)

    def _serve(self, part: Part) -> None:
        with self._lock:
            self._parts.add(part)
        if self._stop.is_set():
            part.close()
        try:
            part.serve()
        finally:
            with self._lock:
                self._parts.discard(part)
                if part is self._indicator:
                    self._indicator = None
                if part is self._listener:
                    self._listener = None
                    self._say()
