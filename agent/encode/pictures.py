"""The newest picture of the source, which all encoders share: who reads it, and as of when it is read again.

The newest wins: one that nobody has begun to encode is given back for the next one. Dropping happens here, before
encoding, because dropping an encoded picture would break the decoder's references.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Final

from agent.capture.base import Frame

MIN_STEP_US: Final = 1_000
"""Between two pictures: more than 1/90000 s, so that their RTP timestamps differ."""


@dataclass(slots=True, eq=False)
class Picture:
    """A captured picture, and how many need it."""

    frame: Frame
    holders: int = 0


class Pictures:
    """`newest` stays for key frames while nothing moves. All but `lock` is for those who hold it.

    Not given back at once are the newest picture and one before it in each thread that encodes: captures have room
    for these and for the one that they fill (`MOST_ALIVE`).
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.newest: Picture | None = None
        self.closed = False
        self._newest_us = 0

    def put(self, frame: Frame) -> None:
        """Take over a picture. It is later than all before: they may have been repeated while it was read."""
        if self.closed:
            frame.release()
            return
        frame.captured_us = self._in_order(frame.captured_us)
        before, self.newest = self.newest, self.hold(Picture(frame))
        self.let_go(before)

    def again(self, picture: Picture) -> Frame:
        """The same picture, as of now: its RTP timestamp must be a new one."""
        now_us = time.monotonic_ns() // 1000
        return replace(picture.frame, captured_us=self._in_order(now_us), grab_us=0)

    def hold(self, picture: Picture) -> Picture:
        """Keep it from being given back."""
        picture.holders += 1
        return picture

    def let_go(self, picture: Picture | None) -> None:
        """The counterpart of `hold`: the last one gives it back."""
        if picture is not None:
            picture.holders -= 1
            if not picture.holders:
                picture.frame.release()

    def close(self) -> None:
        """Give back the newest picture, and from now on each one that comes."""
        self.closed = True
        before, self.newest = self.newest, None
        self.let_go(before)

    def _in_order(self, captured_us: int) -> int:
        self._newest_us = max(captured_us, self._newest_us + MIN_STEP_US)
        return self._newest_us
