"""An injector that only writes down: for tests, and for hosts where nothing can be injected."""

from __future__ import annotations

from typing import ClassVar

from agent.capture.base import Box


class Recorder:
    """Keeps the last calls, newest last."""

    name: ClassVar[str] = "recorder"

    def __init__(self, most: int = 10_000) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        """At most `most`; the oldest are dropped."""
        self._most = most
        self.area: Box | None = None
        self.closed = False

    @staticmethod
    def probe() -> str | None:
        """Always usable."""
        return None

    def _keep(self, call: str, *arguments: object) -> None:
        self.calls.append((call, arguments))
        del self.calls[: -self._most]

    def key(self, usage: int, *, down: bool) -> None:
        self._keep("key", usage, down)

    def button(self, button: int, *, down: bool) -> None:
        self._keep("button", button, down)

    def move(self, x: float, y: float) -> None:
        self._keep("move", x, y)

    def move_by(self, dx: int, dy: int) -> None:
        self._keep("move_by", dx, dy)

    def wheel(self, dx: int, dy: int) -> None:
        self._keep("wheel", dx, dy)

    def text(self, text: str) -> None:
        self._keep("text", text)

    def sync(self, timeout_s: float = 0.0) -> bool:
        """Nothing ever waits."""
        return True

    def close(self) -> None:
        self.closed = True
