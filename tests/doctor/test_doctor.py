"""`tightbeam-agent doctor` on a real desktop with a real node and coturn, and where things are missing or broken."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import backends
from agent.doctor import local
from tests.agent.process import NOTHING_STORED, ROOT
from tests.cluster import support
from tests.coturn import SECRET, coturn
from tests.doctor import broken_trials
from tests.ports import free_port
from tests.pulse import PulseServer, pulse_server
from tests.xserver import x_display

BROKEN = (sys.executable, "-m", "tests.doctor.broken_trials")
Rows = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with support.valkey() as server:
        yield server.url


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[PulseServer]:
    with pulse_server(tmp_path) as server:
        yield server


async def doctor(*flags: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", "doctor", *flags,
        cwd=ROOT, env={**os.environ, "DISPLAY": "", **NOTHING_STORED, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def examined(*flags: str, **environment: str) -> tuple[int, dict[str, Any], Rows]:
    code, said = await doctor("--json", *flags, **environment)
    found = json.loads(said)
    assert found["ready"] == (code == 0)
    return code, found, {(row["family"], row["name"]): row for row in found["checks"]}


async def test_a_machine_with_everything_is_ready(redis_url: str, pulse: PulseServer) -> None:
    with coturn() as server, x_display("640x360") as display:
        urls = (f"stun:127.0.0.1:{server.port}", *server.urls.values())
        settings = support.base_settings(redis_url, turn_urls=urls, turn_secret=SECRET)
        async with support.node(settings) as node:
            code, found, rows = await examined(
                "--url", node.url.replace("ws", "http", 1), "--room", "healthy",
                DISPLAY=display, TIGHTBEAM_HOST_TOKEN=support.token(room="healthy"),
                SSL_CERT_FILE=str(server.authority), **pulse.environment,
            )  # fmt: skip
    assert code == 0, found
    assert found["problems"] == []
    gamepads = rows["gamepad", "uinput"]["state"] == "works"  # few machines have a /dev/uinput
    assert found["notes"] == ([] if gamepads else ["no gamepads"])
    assert rows["display", "session"]["figures"] == {"display": display}
    assert rows["capture", "x11"]["figures"]["width"] == 640
    assert "silent" in rows["audio", "pulse"]["words"]
    assert rows["injector", "xtest"]["state"] == "works"
    for name, changes in (("x264 H264", 0), ("vpx VP8", 1), ("vpx VP9", 1)):
        row = rows["encoder", name]
        figures = row["figures"]
        assert row["state"] == "works", row
        assert 1_500_000 < figures["before_bps"] < 4_000_000
        assert 400_000 < figures["after_bps"] < 1_000_000
        assert figures["keyframes_by_change"] == changes
    assert rows["encoder", "nvenc H264"]["state"] == "absent"
    network = {name: row["state"] for (family, name), row in rows.items() if family == "network"}
    turns = f"turns:127.0.0.1:{server.tls_port}?transport=tcp"
    names = {"node", "nat", urls[0], server.url, f"{server.url}?transport=tcp", turns}
    assert network == dict.fromkeys(names, "works")
    assert rows["network", "nat"]["figures"]["mapping"] == "none"


async def test_a_machine_without_a_desktop_is_told_what_is_missing() -> None:
    code, said = await doctor("--only", "display", "--only", "capture", "--only", "injector")
    assert code == 1
    assert "DISPLAY is not set" in said
    assert "Not ready: no picture: the source x11 cannot be captured." in said
    assert "Not ready: no input" in said
    assert "encoder" not in said
    code, said = await doctor("--only", "display", XDG_SESSION_TYPE="wayland")
    assert code == 0
    assert "a Wayland session" in said


async def test_what_is_not_configured_is_not_needed() -> None:
    only = ("--only", "capture", "--only", "injector", "--only", "network")
    code, said = await doctor("--source", "testpattern", *only)
    assert code == 0, said
    assert "no node is configured" in said


async def test_a_node_that_does_not_answer_or_refuses_is_a_problem(redis_url: str) -> None:
    code, said = await doctor("--only", "network", "--url", f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert "nothing listens at" in said
    assert "Not ready: no signaling" in said
    async with support.node(support.base_settings(redis_url)) as node:
        url = node.url.replace("ws", "http", 1)
        wrong = support.token(room="elsewhere")
        code, said = await doctor("--only", "network", "--url", url, TIGHTBEAM_HOST_TOKEN=wrong)
        assert code == 1
        assert "not for room desk" in " ".join(said.split())
        assert wrong not in said


async def test_the_servers_are_tried_while_this_machines_agent_is_in_the_room(
    redis_url: str,
) -> None:
    with coturn() as server:
        urls = (f"stun:127.0.0.1:{server.port}", server.url)
        settings = support.base_settings(redis_url, turn_urls=urls, turn_secret=SECRET)
        async with support.node(settings) as node:
            running = await support.host(node.url, "shared")
            code, found, rows = await examined(
                "--only", "network", "--url", node.url.replace("ws", "http", 1), "--room", "shared",
                TIGHTBEAM_HOST_TOKEN=support.token(room="shared"),
            )  # fmt: skip
            await running.socket.close()
    assert code == 0, found
    assert "has a host already" in rows["network", "node"]["words"]
    for name in (*urls, "nat"):
        assert rows["network", name]["state"] == "works", rows


async def test_a_backend_that_hangs_is_ended_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "cursor", broken_trials.BACKENDS["cursor"])
    (row,) = await local.backend_checks(["cursor"], BROKEN, limit_s=3.0)
    assert row.state == "fails"
    assert "did not come to an end within 3 s" in row.words


async def test_a_backend_that_ends_its_process_ends_neither_the_doctor_nor_the_next_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(backends.BACKENDS, "capture", broken_trials.BACKENDS["capture"])
    rows = await local.backend_checks(["capture"], BROKEN, limit_s=80.0)
    crashes, by_real_time, talks, breaks, absent, fine = rows
    assert [row.state for row in rows] == [*["fails"] * 4, "absent", "works"]
    assert "SIGSEGV" in crashes.words
    assert f"signal {signal.SIGRTMIN + 6}" in by_real_time.words
    assert "a line of over 64 KiB" in talks.words
    assert breaks.words == "it broke: RuntimeError: no such luck"
    assert absent.words == "the device is missing: plug it in"
    assert fine.figures["width"] == 1280


async def test_a_line_that_its_process_did_not_end_is_no_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(backends.BACKENDS, "cursor", broken_trials.BACKENDS["cursor"])
    command = (sys.executable, "-c", "print('{\"family\":', end='')")
    (row,) = await local.backend_checks(["cursor"], command, limit_s=30.0)
    assert (row.state, row.words) == ("fails", "it ended its process: exit code 0")
