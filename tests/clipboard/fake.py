"""A clipboard without a desktop; it passes the contract of the real ones (test_backends.py)."""

from __future__ import annotations

import threading
from typing import ClassVar

from agent.clipboard.base import MAX_TEXT_BYTES, ClipboardUnavailable


class FakeClipboard:
    """See `Clipboard`; also the other program."""

    name: ClassVar[str] = "fake"

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._text: str | None = None
        self._ours = False
        self._changed = False
        self._woken = False
        self._gone = False
        self.closed = False

    def copy(self, text: str) -> None:
        with self._condition:
            self._text, self._ours, self._changed = text, False, True
            self._condition.notify_all()

    def paste(self) -> str | None:
        with self._condition:
            return self._text

    def vanish(self) -> None:
        """The desktop is gone."""
        with self._condition:
            self._gone = True
            self._condition.notify_all()

    def next(self, timeout_s: float) -> bool | None:
        with self._condition:
            self._condition.wait_for(lambda: self._changed or self._woken or self._gone, timeout_s)
            self._woken = False
            if self._gone:
                raise ClipboardUnavailable("the desktop is gone")
            changed, self._changed = self._changed, False
            return self._text is not None if changed else None

    def read(self) -> str | None:
        text = self.paste()
        return None if text is None or len(text.encode()) > MAX_TEXT_BYTES else text

    def write(self, text: str) -> None:
        with self._condition:
            self._text, self._ours, self._changed = text, True, False

    def wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def close(self) -> None:
        with self._condition:
            if self._ours:
                self._text, self._ours = None, False
            self.closed = True
