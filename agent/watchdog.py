"""Knows what the media process holds down on the host, and releases it when that process is gone.

XTEST state outlives a killed client, so without this a key held by a player would stay down. The
media process tells by `HeldInput` before each press; the pipe keeps it past the death of its writer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from agent.input.base import Injector, InputUnavailable
from agent.ipc import HeldInput

logger = logging.getLogger(__name__)

RELEASE_LIMIT_S: Final = 3.0


class Watchdog:
    """Uses an injector of its own, opened when it is needed."""

    def __init__(
        self, open_injector: Callable[[], Injector], free_pointer: Callable[[], None] = lambda: None
    ) -> None:
        """`free_pointer` takes away what may keep the pointer in the window that process showed."""
        self._open_injector = open_injector
        self._free_pointer = free_pointer
        self._held = HeldInput((), ())

    def note(self, held: HeldInput) -> None:
        """What is held from now on."""
        self._held = held

    def release(self) -> None:
        """Release what was last known to be held. Waits for a display server RELEASE_LIMIT_S at most."""
        self._free_pointer()
        held, self._held = self._held, HeldInput((), ())
        if not (held.keys or held.buttons):
            return
        thread = threading.Thread(target=self._release, args=(held,), name="watchdog", daemon=True)
        thread.start()
        thread.join(RELEASE_LIMIT_S)
        if thread.is_alive():
            logger.error("held input could not be released: the display server does not answer")

    def _release(self, held: HeldInput) -> None:
        try:
            injector = self._open_injector()
        except InputUnavailable as error:
            logger.warning("held input could not be released: %s", error)
            return
        try:
            for usage in held.keys:
                injector.key(usage, down=False)
            for button in held.buttons:
                injector.button(button, down=False)
            if injector.sync(RELEASE_LIMIT_S):
                logger.info("released %d keys and buttons", len(held.keys) + len(held.buttons))
            else:
                logger.warning("held input could not be released: the display server takes none")
        except InputUnavailable as error:
            logger.warning("held input could not be released: %s", error)
        finally:
            injector.close()
