"""The whole agent as processes: a node in the test, stock aiortc for a browser, a real X server."""

import asyncio
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.input.keymap import x_keycode
from cluster.protocol.messages import Control, Offer, PeerId
from cluster.protocol.negotiation import Negotiation
from cluster.up import tls
from tests.agent.browser import Browser, until
from tests.agent.node import Node, new_id
from tests.agent.process import agent, alive, gone
from tests.input.browser import STILL, absolute, button, key, relative
from tests.input.window import Window
from tests.xserver import x_display, x_server

A, SHIFT = 4, 225
KEY_A, KEY_SHIFT = x_keycode(A), x_keycode(SHIFT)
PATTERN = ("--source", "testpattern", "--size", "320x180", "--fps", "30")
DESKTOP = ("--no-audio", "--fps", "30")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_display("640x360") as name:
        yield name


@pytest.fixture
def window(display: str) -> Iterator[Window]:
    window = Window(display)
    yield window
    window.close()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node() as node:
        yield node


async def session(node: Node, role: str = "player") -> Browser:
    browser = Browser(node.url, "desk", role)
    await browser.join()
    await browser.offer()
    await browser.connected()
    return browser


async def seen(window: Window, kind: str, detail: int | None) -> None:
    def there() -> bool:
        window.pump()
        return (kind, detail) in window.seen

    await until(there)


async def released(window: Window) -> None:
    """A process that hangs is noticed by 3 s of pings; the rest is for a busy machine."""
    await until(lambda: not window.keys_down() and not window.buttons_down(), 15)


async def test_the_desktop_and_its_input(node: Node, window: Window) -> None:
    async with agent(node.url, *DESKTOP) as host:
        browser = await session(node)
        await browser.watch(1)
        assert browser.size == (640, 360)
        await until(lambda: browser.summaries)
        assert browser.summaries[-1][2:6] == b"\x02\x80\x01\x68"
        assert browser.summaries[-1].endswith(b"\x04x264")

        browser.send_events(key(SHIFT, down=True), key(A, down=True))
        await seen(window, "key down", KEY_A)
        assert window.keys_down() == {KEY_SHIFT, KEY_A}
        browser.send_events(key(A, down=False), key(SHIFT, down=False))
        await seen(window, "key up", KEY_SHIFT)
        await until(lambda: browser.acknowledged == 5)

        there = absolute(round(100 / 640 * 65535), round(50 / 360 * 65535))
        browser.send_events(button(2, down=True, motion=there), button(2, down=False, motion=STILL))
        await seen(window, "button up", 3)
        assert window.pointer() == (100, 50)
        browser.send_events(motion=relative(160, -320))
        await until(lambda: window.pointer() == (110, 30))
        browser.send_events({"kind": "wheel", "dx": 0, "dy": 120})
        await seen(window, "button up", 5)

        busy = host.media_threads()
        await browser.bye()
        await until(lambda: host.said("session 1 ended"))
        assert host.media_threads() < busy
        again = await session(node)
        await again.watch(1)
        await again.close()


async def test_bad_input_is_dropped_and_nothing_else_is_lost(node: Node, window: Window) -> None:
    async with agent(node.url, *DESKTOP):
        browser = await session(node)
        for bad in (b"", b"\x02", b"\x01\x09", b"\x01\x01" + b"\xff" * 60_000, os.urandom(200)):
            browser.input.send(bad)
            browser.stats.send(bad or b"\0")
        browser.input.send("text")
        browser.send_events(key(A, down=True), key(A, down=False))
        await seen(window, "key up", KEY_A)
        await browser.close()


async def test_a_viewer_sees_and_changes_nothing(node: Node, window: Window) -> None:
    async with agent(node.url, *DESKTOP):
        player, viewer = await session(node), await session(node, "viewer")
        await viewer.watch(1)
        viewer.send_events(key(SHIFT, down=True))
        await asyncio.sleep(0.1)
        player.send_events(key(A, down=True), key(A, down=False))
        await seen(window, "key up", KEY_A)
        assert ("key down", KEY_SHIFT) not in window.seen
        assert viewer.acknowledged == 0
        await viewer.close()
        await player.watch(1)
        await player.close()


async def test_held_keys_are_released_when_the_heartbeat_stops(node: Node, window: Window) -> None:
    async with agent(node.url, *DESKTOP):
        browser = await session(node)
        beats = await hold(browser, window)
        beats.cancel()
        await released(window)
        await browser.close()


async def test_held_keys_are_released_when_the_browser_goes(node: Node, window: Window) -> None:
    async with agent(node.url, *DESKTOP):
        browser = await session(node)
        browser.send_events(key(A, down=True), button(1, down=True))
        await seen(window, "button down", 2)
        await browser.bye()
        await released(window)


async def hold(browser: Browser, window: Window) -> asyncio.Task[None]:
    """Keep a key down by heartbeats."""

    async def beat() -> None:
        browser.send_events(key(A, down=True), button(0, down=True))
        while True:
            browser.send_held([0], [A])
            await asyncio.sleep(0.05)

    task = asyncio.create_task(beat())
    await seen(window, "button down", 1)
    return task


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
async def test_held_keys_are_released_when_the_media_process_is_killed(
    node: Node, window: Window, how: signal.Signals
) -> None:
    async with agent(node.url, *DESKTOP) as host:
        browser = await session(node)
        beats = await hold(browser, window)
        os.kill(host.media_pid, how)
        await released(window)
        beats.cancel()
        await until(lambda: any(control.action == "renegotiate" for control in browser.controls))
        await browser.pc.close()
        await browser.offer()
        await browser.connected()
        await browser.watch(1)
        await browser.close()


async def test_a_media_process_that_fails_again_is_not_begun_with_again_at_once(
    node: Node,
) -> None:
    async with agent(node.url, *PATTERN) as host:
        browser = await session(node)
        os.kill(host.media_pid, signal.SIGKILL)
        await until(lambda: browser.controls)
        assert browser.controls[-1].action == "renegotiate"
        await until(lambda: host.said("ready:", 2))
        await browser.pc.close()
        await browser.offer()
        await browser.connected()
        os.kill(host.media_pid, signal.SIGKILL)
        await until(lambda: len(browser.controls) == 2)
        assert browser.controls[-1].action == "busy"
        assert "failed again" in browser.controls[-1].payload["message"]
        await browser.close()


async def test_a_display_that_ends_is_told_to_the_page(node: Node) -> None:
    with x_server("320x240") as server:
        async with agent(node.url, *DESKTOP, DISPLAY=server.name):
            browser = await session(node)
            await browser.watch(1)
            server.kill()
            await until(lambda: browser.controls)
            assert browser.controls[0].action == "notice"
            assert "X server" in browser.controls[0].payload["message"]
            await browser.close()


async def test_a_display_that_stands_still_is_busy_until_it_goes_on(node: Node) -> None:
    with x_server("320x240") as server:
        async with agent(node.url, *DESKTOP, DISPLAY=server.name) as host:
            browser = Browser(node.url, "desk")
            await browser.join()
            media_pid = host.media_pid
            server.process.send_signal(signal.SIGSTOP)
            try:
                await browser.offer()
                await until(lambda: browser.controls)
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert browser.controls[0].action == "busy"
            assert "does not answer" in browser.controls[0].payload["message"]
            await browser.pc.close()
            await browser.offer()
            await browser.connected()
            await browser.watch(1)
            assert host.media_pid == media_pid
            await browser.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_when_the_agent_dies_its_media_process_releases_keys_and_ends(
    node: Node, window: Window, how: signal.Signals
) -> None:
    async with agent(node.url, *DESKTOP) as host:
        browser = await session(node)
        beats = await hold(browser, window)
        child = host.media_pid
        os.kill(host.process.pid, how)
        await released(window)
        await gone(child)
        beats.cancel()
        # By the goodbye on the connection itself, which a killed agent cannot say for it.
        await until(lambda: browser.pc.connectionState == "closed", 15)
        if how is signal.SIGTERM:
            assert await host.exit_code() == 0
            await until(lambda: browser.left == ["bye"])
        assert not host.said("Traceback")
        await browser.close()


async def test_the_agent_ends_with_its_parent(node: Node, window: Window) -> None:
    read, write = os.pipe()
    async with agent(node.url, *DESKTOP, pass_fds=(read,), TIGHTBEAM_PARENT_FD=str(read)) as host:
        os.close(read)
        browser = await session(node)
        beats = await hold(browser, window)
        child = host.media_pid
        os.close(write)
        assert await host.exit_code() == 0
        await released(window)
        await gone(child)
        beats.cancel()
        await until(lambda: browser.left == ["bye"])
        await browser.close()


async def test_losing_signaling_touches_no_session_and_the_same_host_comes_back(
    node: Node,
) -> None:
    async with agent(node.url, *PATTERN) as host:
        browser = await session(node)
        peer = await node.wait_for_host()
        await node.drop_host()
        await browser.watch(10)
        await until(lambda: len(node.hellos) == 3)
        assert await node.wait_for_host() == peer
        assert "resume" in node.hellos[-1]
        assert "token" not in node.hellos[-1]
        await browser.watch(10)
        assert not host.said("ended")
        other = await session(node)
        await other.watch(3)
        await other.close()
        await browser.close()


async def test_a_node_that_forgot_everything_is_joined_anew_and_the_picture_goes_on(
    node: Node,
) -> None:
    async with agent(node.url, *PATTERN, TIGHTBEAM_HOST_TOKEN="t") as host:
        browser = await session(node)
        await node.stop()
        await browser.watch(10)
        node.remember = False
        node.refuse = [{"code": "unauthorized", "message": "another secret"}]
        await node.start()
        await until(lambda: len(node.hellos) >= 4)
        assert node.hellos[-1]["token"] == "t"
        await browser.watch(170)  # longer than a silent connection would be kept
        assert not host.said("ended")
        again = await session(node)
        await again.watch(3)
        await again.close()
        await browser.close()


async def test_a_lost_browser_is_let_go_when_its_media_is_silent_too(node: Node) -> None:
    async with agent(node.url, *PATTERN) as host:
        browser = await session(node)
        browser.socket.transport.abort()
        await browser.watch(30)
        assert not host.said("ended")
        # As if its machine were gone: nothing is sent any more, not even a goodbye.
        for transceiver in browser.pc.getTransceivers():
            transceiver.receiver.transport.transport._connection._protocols[0].transport.abort()
        await until(lambda: host.said("session 1 ended: the browser is gone"), 15)
        browser.closed = True


async def test_malformed_signaling_is_survived(node: Node) -> None:
    async with agent(node.url, *PATTERN) as host:
        browser = Browser(node.url, "desk")
        await browser.join()
        peer = await node.wait_for_host()
        sync = {"type": "sync", "to": peer, "from": browser.peer, "negotiation": new_id(), "has": 0}
        candidate = {"type": "candidate", "candidate": "nonsense", "sdpMid": "0"}
        for bad in (
            "", "{", "[]", '"x"', "null", "{}", '{"type":7}', '{"type":"unknown"}', "\x00" * 1000,
            '{"type":"peer-left"}', '{"type":"peer-joined","peer":"x","role":"player"}',
            '{"type":"hello","room":"desk","role":"host"}', '{"type":"welcome"}', "[" * 5000,
            '{"type":"offer","sdp":"v=0","from":"nobody"}', '{"type":"candidate"}',
            '{"type":"error","code":"bad-message","message":"x"}', '{"type":"pong"}',
            json.dumps({**sync, "at": 0, "items": [{"type": "offer"}]}),
            json.dumps({**sync, "at": 5, "items": [{"type": "offer", "sdp": "v=0"}]}),
            json.dumps({**sync, "at": -1, "items": []}),
            json.dumps({**sync, "at": 0, "items": [candidate]}),
            json.dumps({**sync, "from": new_id(), "at": 0, "items": []}),
        ):  # fmt: skip
            await node.say(peer, bad)
        await browser.offer()
        browser.negotiation.say(Control("nonsense"))
        await browser.connected()
        await browser.watch(3)
        assert len(node.hellos) == 2
        assert host.process.returncode is None
        await browser.close()


async def test_an_offer_that_cannot_be_answered_is_refused_in_words(node: Node) -> None:
    async with agent(node.url, *PATTERN):
        browser = Browser(node.url, "desk")
        await browser.join()
        assert browser.host is not None
        browser.negotiation = Negotiation(PeerId(browser.peer), PeerId(browser.host), new_id())
        browser.negotiation.say(Offer("v=0\r\nnonsense"))
        await until(lambda: browser.controls)
        assert browser.controls[0].action == "busy"
        assert browser.controls[0].payload["message"]
        await browser.offer()
        await browser.connected()
        await browser.close()


async def test_without_a_display_the_browser_is_told_why(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    async with agent(node.url, "--no-audio") as host:
        browser = Browser(node.url, "desk")
        await browser.join()
        await browser.offer()
        await until(lambda: browser.controls)
        assert browser.controls[0].action == "busy"
        assert "DISPLAY" in browser.controls[0].payload["message"]
        assert host.said("DISPLAY")
        await browser.close()


async def test_a_reload_replaces_the_session(node: Node) -> None:
    async with agent(node.url, *PATTERN) as host:
        browser = await session(node)
        await browser.watch(3)
        await browser.offer(early_candidate=True)
        await browser.connected()
        await browser.watch(3)
        await until(lambda: host.said("session 2 connected"))
        await browser.close()


async def test_a_refused_token_ends_the_agent_with_words(node: Node) -> None:
    node.refuse = [{"code": "unauthorized", "message": "no such token"}]
    async with agent(node.url, *PATTERN, TIGHTBEAM_HOST_TOKEN="secret-token") as host:
        assert await host.exit_code() == 3
        assert host.said("tightbeam token host --room desk")
        assert not host.said("secret-token")


async def test_another_host_in_the_room_is_waited_for(node: Node) -> None:
    node.refuse = [{"code": "host-present", "message": "x"}] * 3
    async with agent(node.url, *PATTERN) as host:
        await node.wait_for_host()
        assert len(node.hellos) == 4
        assert host.said("host-present", 3)


async def test_a_node_that_is_not_there_yet_is_waited_for(node: Node) -> None:
    await node.stop()
    async with agent(node.url, *PATTERN) as host:
        await until(lambda: host.said("next attempt", 2))
        await node.start()
        await node.wait_for_host()
        assert alive(host.media_pid)


async def test_sessions_leave_nothing_behind(node: Node, display: str) -> None:
    async with agent(node.url, *DESKTOP) as host:

        def count(what: str) -> int:
            return len(os.listdir(f"/proc/{host.media_pid}/{what}"))

        async def one_session() -> None:
            ended = sum("ended" in line for line in host.log) + 1
            browser = await session(node)
            await browser.watch(1)
            browser.send_events(key(A, down=True), key(A, down=False))
            await until(lambda: browser.acknowledged == 3)
            await browser.bye()
            await until(lambda: host.said("ended", ended))

        await until(lambda: host.said("ready:"))
        descriptors = count("fd")
        for _ in range(3):
            await one_session()
        await until(lambda: count("fd") == descriptors)  # the display's connection is closed too
        threads = count("task")  # with those of its pools
        for _ in range(3):
            await one_session()
        await until(lambda: count("fd") == descriptors and count("task") <= threads)


async def test_over_tls_the_node_must_show_a_certificate_of_the_given_ca(tmp_path: Path) -> None:
    files = tls.ensure(tmp_path / "tls", ["127.0.0.1"])
    node = Node()
    node.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    node.tls.load_cert_chain(files.certificate, files.key)
    async with node:
        async with agent(node.url, *PATTERN) as host:
            await until(lambda: host.said("certificate", 2))
            assert node.hellos == []
        async with agent(node.url, *PATTERN, "--ca-file", str(files.authority)):
            await node.wait_for_host()
        async with agent(node.url, *PATTERN, "--ca-file", str(tmp_path / "none")) as host:
            assert await host.exit_code() == 3
            assert host.said("cannot be read")


async def test_a_descriptor_that_is_no_pipe_is_told_and_not_watched(node: Node) -> None:
    async with agent(node.url, *PATTERN, "--die-with-parent", "99") as host:
        await node.wait_for_host()
        assert host.said("99 is no inherited pipe")
