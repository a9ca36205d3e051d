"""A real browser, driven from Python through `driver.mjs`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.eventually import eventually

DRIVER = Path(__file__).with_name("driver.mjs")
ROOT = DRIVER.parent.parent.parent


class BrowserError(Exception):
    """What the browser said when a command failed."""


class Page:
    """One tab in its own context (its own storage)."""

    def __init__(self, browser: Browser, number: int) -> None:
        self.browser = browser
        self.number = number

    def call(self, command: str, **parameters: Any) -> Any:
        return self.browser.call(command, page=self.number, **parameters)

    def evaluate(self, expression: str) -> Any:
        return self.call("evaluate", expression=expression)

    @property
    def state(self) -> str:
        """The page's state, as `<body data-state>` tells it."""
        return str(self.evaluate("document.body.dataset.state"))

    @property
    def words(self) -> str:
        """What the page tells its user."""
        return str(self.evaluate("document.getElementById('status').textContent"))

    def wait_for(self, *states: str, timeout_s: float = 60) -> None:
        try:
            eventually(lambda: self.state in states, f"state {states}", timeout_s)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; it is {self.state!r}: {self.words!r}; console: {self.call('console')}"
            ) from None

    def connect(self) -> None:
        """Click the button and wait until pictures come."""
        self.call("click", selector="#connect")
        self.wait_for("playing")
        eventually(lambda: self.frames() > 0, "the first frame")

    def frames(self) -> int:
        """How many frames the page has presented since the first time this was asked."""
        return int(
            self.evaluate("""(() => {
                if (globalThis.presented === undefined) {
                    globalThis.presented = 0;
                    const video = document.getElementById("screen");
                    const count = () => {
                        globalThis.presented += 1;
                        video.requestVideoFrameCallback(count);
                    };
                    video.requestVideoFrameCallback(count);
                }
                return globalThis.presented;
            })()""")
        )

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """The red, green and blue of the video at a fraction of its width and height."""
        rgb = self.evaluate(f"""(() => {{
            const video = document.getElementById("screen");
            const canvas = document.createElement("canvas");
            canvas.width = video.videoWidth; canvas.height = video.videoHeight;
            const context = canvas.getContext("2d");
            context.drawImage(video, 0, 0);
            const pixel = context.getImageData(
                Math.floor({x} * canvas.width), Math.floor({y} * canvas.height), 1, 1);
            return Array.from(pixel.data).slice(0, 3);
        }})()""")
        return rgb[0], rgb[1], rgb[2]

    def screenshot(self, path: Path) -> None:
        self.call("screenshot", path=str(path))

    def close(self) -> None:
        self.call("shut")


class Browser:
    """A headless browser of its own profile; stop it with `close`."""

    def __init__(
        self, name: str = "chromium", env: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self._process = subprocess.Popen(
            [*prefix, "node", str(DRIVER), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            text=True,
        )
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError(f"the browser ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def call(self, command: str, **parameters: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **parameters}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise BrowserError(f"{command}: {answer['error']}")
        return answer["result"]

    def open(self, url: str, width: int = 1280, height: int = 720, **options: Any) -> Page:
        return Page(self, self.call("open", url=url, width=width, height=height, **options))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
