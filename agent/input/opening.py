"""Opens something on a thread of its own, because opening may block for ever: an injector, a gamepad."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from agent.input.base import InputUnavailable

logger = logging.getLogger(__name__)


class _Closes(Protocol):
    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=_Closes)


class Opening(Generic[Opened]):
    """Begins at once, on a thread of this name. When `ended` is set, look at `opened` and `problem`."""

    def __init__(self, open_it: Callable[[], Opened], name: str) -> None:
        self.began = time.monotonic()
        self.ended = threading.Event()
        self.opened: Opened | None = None
        self.problem = ""
        self._open_it = open_it
        self._name = name
        self._abandoned = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def abandon(self) -> None:
        """Nobody wants it any more: what is opened, or will be, is closed."""
        with self._lock:
            self._abandoned = True
            opened, self.opened = self.opened, None
        if opened is not None:
            opened.close()

    def _run(self) -> None:
        try:
            self._keep(self._open_it())
        except InputUnavailable as error:
            self.problem = str(error)
        except Exception as error:
            logger.exception("the %s broke", self._name)
            self.problem = f"it failed unexpectedly ({type(error).__name__}): see the log"
        finally:
            self.ended.set()

    def _keep(self, opened: Opened) -> None:
        with self._lock:
            if not self._abandoned:
                self.opened = opened
                return
        opened.close()
