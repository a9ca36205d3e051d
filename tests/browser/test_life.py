"""The life of a session in a real Chromium: pairing, loss, return, and that nothing stays behind."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.system import System, descendants, kill
from tests.eventually import eventually
from tests.ports import free_port

pytestmark = pytest.mark.browser
PATTERN = ("--source", "testpattern", "--size", "640x360", "--fps", "30")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser("chromium") as running:
        yield running


@pytest.fixture
def system() -> Iterator[System]:
    with System(*PATTERN) as running:
        yield running


@pytest.fixture
def open_system() -> Iterator[System]:
    with System("--no-pairing", *PATTERN) as running:
        yield running


def plays(page: Page) -> None:
    """More pictures come."""
    before = page.frames()
    eventually(lambda: page.frames() > before + 5, "more frames")


def test_a_link_works_once_and_a_reload_needs_no_new_one(system: System, browser: Browser) -> None:
    page = browser.open(system.link)
    assert page.state == "idle"
    page.connect()
    plays(page)
    assert "token" not in page.evaluate("location.href")

    page.call("reload")
    if page.state == "idle":
        page.call("click", selector="#connect")
    page.wait_for("playing")
    plays(page)

    stranger = browser.open(system.link)
    stranger.call("click", selector="#connect")
    stranger.wait_for("failed")
    assert "link" in stranger.words.lower()
    stranger.close()
    page.close()


TOLD = """(() => {
    globalThis.told = [];
    const tell = () => {
        const now = `${document.body.dataset.state} ${document.getElementById("notice").textContent}`;
        if (told.at(-1) !== now) told.push(now);
    };
    const options = { subtree: true, childList: true, attributeFilter: ["data-state"] };
    new MutationObserver(tell).observe(document.body, options);
})()"""
"""From now on the page remembers its states and notices."""


def test_killing_the_agent_is_told_and_the_next_one_plays(
    open_system: System, browser: Browser
) -> None:
    page = browser.open(open_system.link)
    page.connect()
    page.evaluate(TOLD)
    kill(open_system.agent)

    def told() -> bool:
        return any("interrupted" in line or "lost" in line for line in page.evaluate("told"))

    eventually(told, "words about the connection")
    before = page.frames()
    eventually(lambda: page.frames() > before + 30, "frames of the next agent", 60)
    assert page.state == "playing"
    page.close()


def test_the_hosts_goodbye_ends_the_session_and_nothing_retries(
    open_system: System, browser: Browser
) -> None:
    page = browser.open(open_system.link)
    page.connect()
    open_system.close()
    page.wait_for("ended")
    assert "host" in page.words.lower()
    frames = page.frames()
    page.evaluate("new Promise(done => setTimeout(done, 2000))")
    assert page.state == "ended"
    assert page.frames() == frames
    page.close()


def test_the_picture_goes_on_without_a_node_which_takes_both_back(
    open_system: System, browser: Browser
) -> None:
    page = browser.open(open_system.link)
    page.connect()
    old = open_system.node
    kill(old)
    eventually(lambda: old not in descendants(open_system.process.pid), "the node gone")
    plays(page)
    assert page.state == "playing"

    assert open_system.node != old
    plays(page)
    second = browser.open(open_system.link)
    second.call("click", selector="#connect")
    second.wait_for("playing", timeout_s=40)
    plays(second)
    plays(page)
    assert page.state == "playing"
    second.close()
    # The page is in the room again too: what the host says there reaches it.
    open_system.close()
    page.wait_for("ended")
    page.close()


class ForeignPage(http.server.BaseHTTPRequestHandler):
    """A web page of somebody else."""

    def do_GET(self) -> None:
        body = b"<!doctype html><title>Foreign</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


TRY_TO_JOIN = """new Promise(done => {
    const seen = [];
    const socket = new WebSocket("ws://127.0.0.1:%d/ws", "tightbeam.v1");
    socket.onopen = () => socket.send(JSON.stringify({type: "hello", room: "desk", role: "player"}));
    socket.onmessage = (event) => seen.push(JSON.parse(event.data).type);
    socket.onclose = (event) => done([seen, event.reason]);
    setTimeout(() => done([seen, "still open"]), 5000);
})"""


def test_a_foreign_page_cannot_open_a_session(open_system: System, browser: Browser) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ForeignPage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        page = browser.open(f"http://127.0.0.1:{server.server_port}/")
        seen, reason = page.evaluate(TRY_TO_JOIN % open_system.port)
        assert (seen, reason) == ([], "Origin not allowed")
        page.close()
        own = browser.open(open_system.link)
        seen, _ = own.evaluate(TRY_TO_JOIN % open_system.port)
        assert seen[0] == "welcome"
        own.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_rebound_name_gets_neither_page_nor_session(open_system: System) -> None:
    import socket

    for request in (
        "GET / HTTP/1.1\r\nHost: evil.example:{port}\r\nConnection: close\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: evil.example:{port}\r\nOrigin: http://evil.example:{port}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: tightbeam.v1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", open_system.port), 5) as connection:
            connection.sendall(request.format(port=open_system.port).encode())
            connection.settimeout(5)
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
        assert b"video" not in answer
        assert b"Host not allowed" in answer or b" 4" in answer.partition(b"\r\n")[0]


def test_beyond_loopback_the_page_comes_over_tls(browser: Browser, tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    with System("--host", "0.0.0.0", *PATTERN, env=env) as system:
        assert system.link.startswith("https://")
        page = browser.open(system.link, ignoreCertificate=True)
        page.connect()
        plays(page)
        assert page.evaluate("isSecureContext")
        page.close()


def test_two_systems_do_not_disturb_each_other(open_system: System, browser: Browser) -> None:
    with System("--no-pairing", *PATTERN, port=free_port()) as other:
        first, second = browser.open(open_system.link), browser.open(other.link)
        first.connect()
        second.connect()
        plays(first)
        plays(second)
        second.close()
        plays(first)
        first.close()
