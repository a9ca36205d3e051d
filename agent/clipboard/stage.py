"""The clipboard stage: one thread that owns the host's clipboard backend while any player may use it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agent.clipboard.base import Clipboard, ClipboardUnavailable, Policy

logger = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""How long one `next` may wait; `wake` ends it early."""
FIRST_BACK_OFF_S: Final = 0.5
LAST_BACK_OFF_S: Final = 10.0
MAX_WAITING: Final = 8
"""Texts to be read or written; more are answered with nothing. One user's act brings one."""

OpenClipboard = Callable[[], Clipboard]
Answer = Callable[[str | None], None]
"""Called on the stage's thread: the text that was read or written; None: that could not be."""


@dataclass(frozen=True, slots=True)
class _Order:
    text: str | None = field(repr=False)
    """To be written; None: to be read."""
    answer: Answer


class ClipboardStage:
    """A thread named `clipboard` runs from the first watcher to the last. Methods are for any thread; none blocks."""

    def __init__(self, open_clipboard: OpenClipboard, policy: Policy) -> None:
        self.policy = policy
        """Which ways text may go for players."""
        self._open_clipboard = open_clipboard
        self._lock = threading.Lock()
        self._run: _Run | None = None

    def watch(self, name: str, changed: Callable[[bool], None]) -> None:
        """Tell on the stage's thread when another program has changed the clipboard, and whether it has text."""
        with self._lock:
            first = self._run is None
            run = self._run = self._run or _Run(self._open_clipboard)
            run.watchers[name] = changed
            if first:
                threading.Thread(target=run.work, name="clipboard", daemon=True).start()

    def leave(self, name: str) -> None:
        """Tell a watcher nothing more; unknown ones are ignored. After the last what was written is taken back."""
        with self._lock:
            run = self._run
            if run is None or name not in run.watchers:
                return
            del run.watchers[name]
            if not run.watchers:
                self._run = None
                run.stop()

    def read(self, answer: Answer) -> None:
        """Read the text."""
        self._order(_Order(None, answer))

    def write(self, text: str, answer: Answer) -> None:
        """Put a text into the clipboard."""
        self._order(_Order(text, answer))

    def _order(self, order: _Order) -> None:
        with self._lock:
            taken = self._run is not None and self._run.order(order)
        if not taken:
            order.answer(None)


class _Run:
    """One thread from a first watcher to a last one; it closes what it opened."""

    def __init__(self, open_clipboard: OpenClipboard) -> None:
        self.watchers: dict[str, Callable[[bool], None]] = {}
        self._open_clipboard = open_clipboard
        self._lock = threading.Lock()
        self._orders: deque[_Order] = deque()
        self._stop = threading.Event()
        self._clipboard: Clipboard | None = None
        self._complaint = ""
        self._back_off_s = FIRST_BACK_OFF_S

    def order(self, order: _Order) -> bool:
        """Whether it is taken."""
        with self._lock:
            if self._complaint or len(self._orders) >= MAX_WAITING:
                return False
            self._orders.append(order)
            if self._clipboard is not None:
                self._clipboard.wake()
            return True

    def stop(self) -> None:
        self._stop.set()
        with self._lock:
            if self._clipboard is not None:
                self._clipboard.wake()

    def work(self) -> None:
        while not self._stop.is_set():
            try:
                self._serve()
            except ClipboardUnavailable as problem:
                words = str(problem)
            except Exception as problem:
                logger.error("the clipboard backend broke: %s", type(problem).__name__)  # noqa: TRY400 - a traceback could hold text
                words = f"it failed unexpectedly ({type(problem).__name__})"
            else:
                self._give_up_orders()
                return
            if words != self._complaint:
                logger.info("the clipboard cannot be used: %s", words)
            self._complaint = words
            self._give_up_orders()
            self._stop.wait(self._back_off_s)
            self._back_off_s = min(2 * self._back_off_s, LAST_BACK_OFF_S)

    def _serve(self) -> None:
        """Open the clipboard and do what is asked for until the end. Raises ClipboardUnavailable."""
        clipboard = self._open_clipboard()
        try:
            with self._lock:
                self._clipboard = clipboard
            self._complaint = ""
            while not self._stop.is_set():
                text = clipboard.next(LOOK_S)
                self._back_off_s = FIRST_BACK_OFF_S
                if text is not None:
                    for changed in list(self.watchers.values()):
                        changed(text)
                while (order := self._next_order()) is not None:
                    self._do(clipboard, order)
        finally:
            with self._lock:
                self._clipboard = None
            clipboard.close()

    def _give_up_orders(self) -> None:
        while (order := self._next_order()) is not None:
            order.answer(None)

    def _next_order(self) -> _Order | None:
        with self._lock:
            return self._orders.popleft() if self._orders else None

    @staticmethod
    def _do(clipboard: Clipboard, order: _Order) -> None:
        done: str | None = None
        try:
            if order.text is None:
                done = clipboard.read()
            else:
                clipboard.write(order.text)
                done = order.text
        finally:
            order.answer(done)
