"""The ways between page and host that are no usual ones: IPv6 only, hidden addresses, few open ports."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.browser.browser import Browser, Page
from tests.browser.system import System
from tests.eventually import eventually
from tests.faults.detour import lead, path
from tests.outages.network import NAMESPACES_NEED, Namespace, namespaces_work

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not namespaces_work(), reason=NAMESPACES_NEED),
]
PATTERN = ("--no-pairing", "--source", "testpattern", "--size", "640x360", "--fps", "30")
OFFERED = "connections[0].localDescription.sdp"


@pytest.fixture
def there() -> Iterator[Namespace]:
    """Where host and page are."""
    with Namespace() as namespace:
        yield namespace


def run(there: Namespace, *command: str) -> None:
    subprocess.run([*there.prefix, *command], check=True, capture_output=True)


def play(page: Page) -> None:
    lead(page)
    page.connect()
    before = page.frames()
    eventually(lambda: page.frames() > before + 10, "more frames")


def test_pictures_come_over_ipv6_to_a_port_of_the_range(there: Namespace) -> None:
    run(there, "ip", "address", "add", "fd00:7b::1/64", "dev", "eth0", "nodad")
    run(there, "iptables", "-A", "OUTPUT", "-p", "udp", "-j", "DROP")
    env = {"TIGHTBEAM_UDP_PORTS": "50000-50003"}
    with (
        System(*PATTERN, env=env, prefix=there.prefix) as system,
        Browser("chromium", prefix=there.prefix) as browser,
    ):
        page = browser.open(system.link)
        play(page)
        _, host = path(page)
        assert host["address"] == "fd00:7b::1"
        assert 50_000 <= host["port"] <= 50_003
        page.close()


@pytest.mark.parametrize("multicast", [True, False])
def test_a_browser_that_hides_its_addresses_is_reached(there: Namespace, multicast: bool) -> None:
    """Its `.local` names are resolved, or left alone where no multicast goes: it finds the host by itself."""
    run(there, "ip", "route", "add", "default", "via", there.here)
    if not multicast:
        run(there, "iptables", "-A", "INPUT", "-p", "udp", "--dport", "5353", "-j", "DROP")
    with (
        System(*PATTERN, prefix=there.prefix) as system,
        Browser("chromium", {"HIDE_ADDRESSES": "1"}, there.prefix) as browser,
    ):
        page = browser.open(system.link)
        play(page)
        assert ".local " in page.evaluate(OFFERED)
        assert there.there not in page.evaluate(OFFERED)
        page.close()
