"""No network at all for half a minute, and a minute of a bad one: the session comes back, or never went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.system import System
from tests.eventually import eventually
from tests.faults.detour import Watch, connections, lead
from tests.lossy_relay import LossyRelay, losses
from tests.outages.network import NAMESPACES_NEED, Namespace, namespaces_work

pytestmark = [pytest.mark.browser, pytest.mark.faults, pytest.mark.timeout(300)]
PATTERN = ("--source", "testpattern", "--size", "640x360", "--fps", "30")


@pytest.fixture
def there() -> Iterator[Namespace]:
    """Where the browser lives."""
    with Namespace() as namespace:
        yield namespace


def plays(page: Page) -> None:
    """More pictures come."""
    before = page.frames()
    eventually(lambda: page.frames() > before + 10, "more frames", 40)


def wait(page: Page, seconds: float) -> None:
    page.evaluate(f"new Promise((done) => setTimeout(done, {seconds * 1000}))")


@pytest.mark.skipif(not namespaces_work(), reason=NAMESPACES_NEED)
@pytest.mark.parametrize("seconds", [8, 30])
def test_a_page_without_network_comes_back_without_a_click(
    seconds: int, there: Namespace, tmp_path: Path
) -> None:
    """Signaling and media at once; after 10 s the page is a new peer to the host (docs/protocol.md 3.1)."""
    env = {"XDG_STATE_HOME": str(tmp_path)}
    with (
        System("--host", there.here, *PATTERN, env=env) as system,
        Browser("chromium", prefix=there.prefix) as browser,
    ):
        page = browser.open(system.link, ignoreCertificate=True)
        page.connect()
        plays(page)
        there.swallow()
        wait(page, seconds)
        assert page.state in ("playing", "lost", "joining", "waiting", "negotiating")
        assert page.words
        there.heal()
        page.wait_for("playing", timeout_s=60)
        plays(page)
        (log,) = tmp_path.rglob("agent.log")

        def ended() -> bool:
            opened, closed = (log.read_text().count(word) for word in (" connected", " ended: "))
            return opened == closed + 1

        eventually(ended, "the end of every session but the last", 60)
        page.close()


def test_a_minute_of_five_percent_loss_in_bursts_ends_nothing() -> None:
    with (
        System("--no-pairing", *PATTERN) as system,
        Browser("chromium") as browser,
        LossyRelay(delay_s=0.02) as relay,
    ):
        page = browser.open(system.link)
        lead(page, relay)
        page.connect()
        plays(page)
        watch = Watch(page)
        relay.drop, relay.drop_other = losses(0.05, burst=3), losses(0.05, burst=3, seed=2)
        for _ in range(12):
            wait(page, 5)
            plays(page)
        assert relay.dropped > 0.02 * (relay.dropped + relay.passed)
        assert watch.states == ["playing"]
        assert connections(page) == ["connected"]
        page.close()
