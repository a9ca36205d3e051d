"""The agent against a real node and its Valkey: from the pairing token to the key that is pressed."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import redis

from agent.input.keymap import x_keycode
from cluster.protocol.telemetry import SessionFigures, Telemetry, decode
from tests.agent.browser import Browser, until
from tests.agent.process import agent
from tests.cluster import support
from tests.coturn import SECRET, coturn
from tests.input.browser import key
from tests.input.window import Window
from tests.xserver import x_display

A = 4
KEY_A = x_keycode(A)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with support.valkey() as server:
        yield server.url


@pytest.fixture
def window() -> Iterator[Window]:
    with x_display("640x360") as name:
        window = Window(name)
        yield window
        window.close()


def _said(redis_url: str, room: str) -> Telemetry:
    """What Redis has of the room's host."""
    kept: Any = redis.Redis.from_url(redis_url).get(f"tb:host:{room}")
    return Telemetry("0", "unknown", 0.0, ()) if kept is None else decode(kept)


def _sessions(redis_url: str, room: str) -> tuple[SessionFigures, ...]:
    return _said(redis_url, room).sessions


async def test_from_the_pairing_token_to_the_pressed_key(redis_url: str, window: Window) -> None:
    async with support.node(support.base_settings(redis_url)) as node:
        url = node.url.replace("ws", "http", 1)
        token = support.token(room="desk")
        async with agent(url, "--no-audio", TIGHTBEAM_HOST_TOKEN=token) as host:
            await until(lambda: host.said("joined room desk"))
            browser = Browser(url, "desk", token=support.pairing(redis_url, "desk"))
            await browser.join()
            await browser.offer(early_candidate=True)
            await browser.connected()
            await browser.watch(2)
            assert browser.size == (640, 360)
            await until(lambda: _sessions(redis_url, "desk"))
            (session,) = _sessions(redis_url, "desk")
            assert (session.path, session.width, session.height) == ("direct", 640, 360)
            assert (session.codec, session.encoder) in (("vp8", "vpx"), ("h264", "x264"))
            assert session.stages_s["encode"] > 0
            assert session.sent_bps > 0
            assert _said(redis_url, "desk").agent == version("tightbeam")

            browser.send_events(key(A, down=True))

            def pressed() -> bool:
                window.pump()
                return ("key down", KEY_A) in window.seen

            await until(pressed)
            await browser.bye()
            await until(lambda: not window.keys_down())
            await until(lambda: host.said("session 1 ended: the browser said goodbye"))
            await until(lambda: _said(redis_url, "desk").state == "idle")


async def test_a_wrong_host_token_is_told_in_words(redis_url: str) -> None:
    async with support.node(support.base_settings(redis_url)) as node:
        url = node.url.replace("ws", "http", 1)
        wrong = support.token(room="elsewhere")
        flags = ("--source", "testpattern", "--log-format", "json")
        async with agent(url, *flags, TIGHTBEAM_HOST_TOKEN=wrong) as host:
            assert await host.exit_code() == 3
            assert host.said("forbidden")
            assert not host.said(wrong)


async def test_a_killed_node_leaves_the_picture_going(redis_url: str) -> None:
    settings = support.base_settings(redis_url, pairing=False)
    pattern = ("--source", "testpattern", "--size", "320x180", "--fps", "30")
    async with support.node(settings) as first:
        url = first.url.replace("ws", "http", 1)
        token = support.token(room="again")
        async with agent(url, *pattern, "--room", "again", TIGHTBEAM_HOST_TOKEN=token) as host:
            await until(lambda: host.said("joined room again"))
            browser = Browser(url, "again")
            await browser.join()
            await browser.offer()
            await browser.connected()
            first.stop()
            await until(lambda: host.said("next attempt"))
            await browser.watch(30)
            assert not host.said("ended")
            await browser.close()


async def test_the_picture_comes_through_the_relay_of_the_welcome(redis_url: str) -> None:
    pattern = ("--source", "testpattern", "--size", "320x180", "--fps", "30", "--room", "far")
    with coturn() as server:
        settings = support.base_settings(
            redis_url, pairing=False, turn_urls=(server.url,), turn_secret=SECRET
        )
        async with support.node(settings) as node:
            url = node.url.replace("ws", "http", 1)
            token = support.token(room="far")
            async with agent(url, *pattern, TIGHTBEAM_HOST_TOKEN=token) as host:
                await until(lambda: host.said("joined room far"))
                browser = Browser(url, "far")
                await browser.join()
                await browser.offer(relayed=True)
                await browser.connected()
                await browser.watch(30)
                transport: Any = browser.pc.getTransceivers()[0].receiver.transport.transport
                assert transport._connection._nominated[1].local_candidate.type == "relay"
                await until(lambda: _said(redis_url, "far").state == "streaming")
                (session,) = _said(redis_url, "far").sessions
                assert session.path == "relay"
                await browser.bye()
                assert not any(SECRET in line for line in host.log)
