"""Ends this process when its parent is gone, by any signal: the parent's pipe reports end of file."""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from typing import Final

GRACE_S: Final = 8.0
"""How long an orderly end may take; afterwards the process ends whatever it is doing."""


def end_within_grace(grace_s: float = GRACE_S) -> None:
    """Let a thread end this process after the grace, should the orderly way hang."""
    timer = threading.Timer(grace_s, os._exit, args=(1,))
    timer.daemon = True
    timer.start()


def claim(descriptor: int) -> bool:
    """Whether an inherited pipe is there. First of all, before its number is given to another file."""
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return False
        os.set_inheritable(descriptor, False)
    except OSError:
        return False
    return True


def adopt(read: int, write: int) -> tuple[int, int] | None:
    """Two inherited pipes as descriptors that no child gets, on Windows from their handles; None: there are none."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - of Windows only

        try:
            read, write = msvcrt.open_osfhandle(read, os.O_RDONLY), msvcrt.open_osfhandle(write, 0)
        except OSError:
            return None
    return (read, write) if claim(read) and claim(write) else None


def watch(descriptor: int, on_gone: Callable[[], None]) -> None:
    """Call `on_gone` on a thread when the claimed pipe reports end of file; see `end_within_grace`."""

    def wait() -> None:
        # Not a blocking read: other children share the pipe, and may have made it non-blocking. On
        # Windows, where select knows sockets only, none do.
        while True:
            if sys.platform != "win32":
                select.select([descriptor], [], [])
            try:
                if not os.read(descriptor, 4096):
                    break
            except BlockingIOError:
                continue
        end_within_grace()
        on_gone()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
