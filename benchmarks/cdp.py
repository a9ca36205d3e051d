"""A headless Chromium driven over the DevTools protocol, as little as a benchmark needs of it."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.processes import Nursery, Process, StartError

START_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 30.0
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a whole decoded frame comes as one base64 string
BINARIES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--remote-debugging-port=0",
)


class PageError(RuntimeError):
    """The page's script threw, or DevTools refused a command."""


def chromium_path() -> str | None:
    """The installed Chromium, or None."""
    return next((path for name in BINARIES if (path := shutil.which(name))), None)


class Page:
    """One tab; calls are synchronous and bounded in time."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last_id = 0

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """One DevTools command and its result; events in between are skipped."""
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while True:
            try:
                text = self._socket.recv(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise PageError(f"{method} did not answer within {CALL_TIMEOUT_S:.0f} s") from None
            reply = json.loads(text)
            if reply.get("id") != self._last_id:
                continue
            if "error" in reply:
                raise PageError(f"{method}: {reply['error'].get('message')}")
            result: dict[str, Any] = reply["result"]
            return result

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited when it is a promise."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details.get("text")
            raise PageError(f"in the page: {text}")
        return result["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float) -> None:
        """Poll until the expression is true; PageError says which one never was."""
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise PageError(f"not true after {timeout_s:.0f} s: {expression}")
            time.sleep(0.05)

    def time_origin_s(self) -> float:
        """The zero of this document's `performance.now()` on CLOCK_MONOTONIC.

        Chromium's TimeTicks are CLOCK_MONOTONIC on Linux, and DevTools tells the navigation start on that
        clock without rounding. A round trip around `performance.now()` checks it.
        """
        metrics = {m["name"]: m["value"] for m in self.call("Performance.getMetrics")["metrics"]}
        origin_s: float = metrics["NavigationStart"]
        best_s, estimate_s = 1.0, 0.0
        for _ in range(20):
            before_s = time.monotonic()
            now_ms = self.evaluate("performance.now()")
            after_s = time.monotonic()
            if after_s - before_s < best_s:
                best_s = after_s - before_s
                estimate_s = (before_s + after_s) / 2 - now_ms / 1000
        if abs(estimate_s - origin_s) > best_s / 2 + 0.001:
            raise PageError(
                f"the page's clock starts at {origin_s:.4f} s by DevTools, "
                f"but at {estimate_s:.4f} s by a round trip of {best_s * 1000:.2f} ms"
            )
        return origin_s


@contextlib.contextmanager
def open_page(
    nursery: Nursery, *, size: tuple[int, int], script: str
) -> Iterator[tuple[Page, Process]]:
    """A fresh Chromium with one blank tab, in which `script` runs before any page's own."""
    binary = chromium_path()
    if binary is None:
        raise StartError("no Chromium: install the package chromium")
    profile = nursery.folder / f"profile-{time.monotonic_ns()}"
    process = nursery.start(
        "chromium", [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    )
    try:
        port = _debugging_port(profile)
        with connect(_page_url(port), max_size=MAX_MESSAGE_BYTES, compression=None) as socket:
            page = Page(socket)
            page.call("Page.enable")
            page.call("Performance.enable", timeDomain="timeTicks")
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=size[0], height=size[1], deviceScaleFactor=1, mobile=False,
            )  # fmt: skip
            page.call("Page.addScriptToEvaluateOnNewDocument", source=script)
            yield page, process
    finally:
        process.stop()
        shutil.rmtree(profile, ignore_errors=True)


def _debugging_port(profile: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    path = profile / "DevToolsActivePort"
    while time.monotonic() < deadline:
        if path.exists() and (lines := path.read_text().splitlines()) and len(lines) >= 2:
            return int(lines[0])
        time.sleep(0.05)
    raise StartError(f"Chromium opened no DevTools port within {START_TIMEOUT_S:.0f} s")


def _page_url(port: int) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as reply:
            targets = json.load(reply)
        for target in targets:
            if target["type"] == "page":
                return str(target["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise StartError("Chromium has no page to drive")
