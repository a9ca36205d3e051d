"""Wakes a thread that waits for a descriptor, from any other thread."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import Any


class WakePipe:
    """One thread calls `wait`; `wake` and `close` may be called from any."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._lock = threading.Lock()
        self._closed = False

    def wait(self, other: Any, timeout_s: float | None) -> bool:
        """Sleep until `other` (a descriptor or what has a `fileno`) can be read; whether `wake` was called."""
        limit_s = None if timeout_s is None else max(0.0, timeout_s)
        ready, _, _ = select.select([other, self._read], [], [], limit_s)
        if self._read not in ready:
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        return True

    def wake(self) -> None:
        """Make the running or next `wait` return; harmless after `close`."""
        with self._lock:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._write, b"w")

    def close(self) -> bool:
        """Give the descriptors back; whether they were still there."""
        with self._lock:
            if self._closed:
                return False
            self._closed = True
            os.close(self._read)
            os.close(self._write)
            return True
