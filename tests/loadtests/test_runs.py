"""Locust as it is started by hand, against real nodes: what a run finds, says, writes and answers with."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import secrets
import signal
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.processes import Nursery
from loadtests.credentials import Issuer
from tests import eventually, haproxy
from tests.cluster.processes import NodeProcess, node_process
from tests.cluster.support import valkey
from tests.loadtests import editor
from tests.loadtests.editor import Edit
from tests.outages.cluster import status
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
JWT_SECRET = secrets.token_urlsafe(32)
LIMIT_S = 90
PATIENT = ("--max-answer-p95", "30000", "--max-join-p95", "30000")  # the machine may be busy
SHORT = ("-r", "20", "--hold", "1", "--talk-every", "0.5", *PATIENT)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One that asks everybody for a token."""
    env = {"TIGHTBEAM_PAIRING": "1", "TIGHTBEAM_MODE": "secure", "JWT_SECRET": JWT_SECRET}
    with (
        valkey() as redis,
        node_process(redis.url, tmp_path_factory.mktemp("node"), **env) as started,
    ):
        eventually.eventually(started.ready, "ready")
        yield started


@asynccontextmanager
async def locust(host: str, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    argv = ["-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py"), "--host", host]
    env = {"PATH": os.environ["PATH"], "JWT_SECRET": JWT_SECRET, "HOME": "/nonexistent"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, *options, env=env, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # its workers, too
            await process.wait()


@dataclass
class Outcome:
    code: int | None
    text: str
    counts: dict[str, dict[str, int]]


async def run(folder: Path, host: str, *options: str) -> Outcome:
    """A whole run without web UI."""
    files = ("--csv", str(folder / "out"), "--html", str(folder / "out.html"))
    async with locust(host, "--headless", "--only-summary", *SHORT, *files, *options) as process:
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    with (folder / "out_delivery.csv").open() as table:
        rows = {row.pop("dialect"): row for row in csv.DictReader(table)}
    counts = {name: {key: int(n) for key, n in row.items()} for name, row in rows.items()}
    return Outcome(process.returncode, output.decode(), counts)


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def make(folder: Path, *names: str) -> list[Path]:
    made = [folder / name for name in names]
    for path in made:
        path.mkdir()
    return made


async def test_good_run_and_one_beyond_its_threshold(node: NodeProcess, tmp_path: Path) -> None:
    good, slow = make(tmp_path, "good", "slow")
    outcomes = await asyncio.gather(
        run(good, node.http, "-u", "20", "-t", "8s"),
        run(slow, node.http, "-u", "4", "-t", "5s", "--max-answer-p95", "0.001"),
    )
    assert outcomes[0].code == 0, outcomes[0].text
    for dialect, counts in outcomes[0].counts.items():
        assert counts["sessions"] > 0
        assert counts["items"] > 20 * counts["sessions"]
        if dialect == "plain":  # has no word for leaving, which all do at the end
            del counts["given_up"]
        assert sum(counts.values()) == counts["sessions"] + counts["items"], (dialect, counts)
    with (good / "out_stats.csv").open() as table:
        times = {(row["Type"], row["Name"]): row for row in csv.DictReader(table)}
    for dialect in ("tightbeam", "plain"):
        assert float(times[dialect, "offer to answer"]["95%"]) > 0
    assert outcomes[1].code == 1
    assert "threshold: 95 % of answers within" in outcomes[1].text
    texts = [path.read_text() for path in all_files(tmp_path)]
    assert len(texts) == 12
    texts += [outcome.text for outcome in outcomes]
    assert not any("eyJhbGciOi" in text for text in texts)  # the head that all HS256 tokens have


FAULTS: list[tuple[Edit, tuple[str, ...], tuple[str, ...]]] = [
    # A log that lacks an item gets its last one again, once for every session.
    (editor.drop, ("lost", "doubled"), ("lost",)),
    (editor.double, (), ("doubled",)),
    (editor.swap, ("reordered",), ("reordered",)),
]
"""What a relay does, and what is counted in the Tightbeam and in the plain dialect."""


async def test_faults_of_a_relay_are_counted_and_fail_the_run(
    node: NodeProcess, tmp_path: Path
) -> None:
    folders = make(tmp_path, *(edit.__name__ for edit, _, _ in FAULTS))
    await asyncio.gather(
        *(check_fault(node, folder, *fault) for folder, fault in zip(folders, FAULTS, strict=True))
    )


async def check_fault(
    node: NodeProcess, folder: Path, edit: Edit, tightbeam: tuple[str, ...], plain: tuple[str, ...]
) -> None:
    users = ["PlainHostUser", "PlainViewerUser"]
    users += ["HostUser", "ViewerUser"] if tightbeam else []
    async with editor.editor(node.url, edit, 10) as url:
        outcome = await run(folder, url, "-u", "8", "-t", "5s", *users)
    assert outcome.code == 1
    for dialect, names in (("tightbeam", tightbeam), ("plain", plain)):
        counts = outcome.counts[dialect]
        assert counts["sessions"] > 0 or not names
        for name in ("lost", "doubled", "reordered"):
            assert (counts[name] > 0) == (name in names), (dialect, counts)
    for name in {*tightbeam, *plain}:
        assert f"items {name}" in outcome.text  # among Locust's failures


async def test_storm_on_two_processes_loses_nothing(node: NodeProcess, tmp_path: Path) -> None:
    port = str(free_port())
    outcome = await run(
        tmp_path, node.http, "-u", "24", "-t", "12s", "--shape", "reconnect-storm", "--steps", "2",
        "--processes", "2", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
        "--master-port", port, "--hold", "3", "HostUser", "ViewerUser",
    )  # fmt: skip
    assert outcome.code == 0, outcome.text
    counts = outcome.counts["tightbeam"]
    assert counts["sessions"] > 12
    assert counts["items"] > 20 * counts["sessions"]
    assert "resume" in outcome.text


@pytest.mark.skipif(haproxy.BINARY is None, reason=haproxy.NEEDS)
async def test_rooms_and_tokens_of_a_file_by_tls_through_haproxy(
    node: NodeProcess, tmp_path: Path
) -> None:
    issuer, lines = Issuer(JWT_SECRET), []
    for room in ("one", "two"):
        for role in ("host", "viewer"):
            lines.append(f"{room} {role} {issuer.token(room, role, time.time())}")
    tokens = tmp_path / "tokens"
    tokens.write_text("\n".join(lines))
    users = ("HostUser", "ViewerUser")
    address = urllib.parse.urlsplit(node.http)
    with Nursery(tmp_path) as nursery:
        nodes = [(str(address.hostname), int(address.port or 0))]
        front = await asyncio.to_thread(haproxy.start, nursery, nodes, haproxy.Front(tls=True))
        health = f"{front.url}/healthz"
        await eventually.until(lambda: status(health, front.authority) == 200, "HAProxy answers")
        outcome = await run(
            tmp_path, front.url, "--ca-file", str(front.authority),
            "-u", "4", "-t", "5s", "--token-file", str(tokens), *users,
        )  # fmt: skip
    assert front.url.startswith("https:")
    assert outcome.code == 0, outcome.text
    assert outcome.counts["tightbeam"]["sessions"] > 1


async def test_pure_mode_and_a_run_in_which_nobody_gets_in(
    node: NodeProcess, tmp_path: Path
) -> None:
    pure, barred = make(tmp_path, "pure", "barred")
    users = ("PlainHostUser", "PlainViewerUser")
    tokens = tmp_path / "tokens"
    tokens.write_text("room host not-a-token\nroom viewer not-a-token\n")
    with valkey() as redis, node_process(redis.url, tmp_path, TIGHTBEAM_MODE="pure") as alone:
        await eventually.until(alone.ready, "ready")
        outcomes = await asyncio.gather(
            run(pure, alone.http, "-u", "2", "-t", "5s", "--plain-mode", "pure", *users),
            run(barred, node.http, "-u", "2", "-t", "4s", "--token-file", str(tokens),
                "--stop-timeout", "1", "HostUser", "ViewerUser"),
        )  # fmt: skip
    assert outcomes[0].code == 0, outcomes[0].text
    assert outcomes[0].counts["plain"]["sessions"] > 0
    assert outcomes[1].code == 1
    assert "no session came about" in outcomes[1].text
    assert "unauthorized" in outcomes[1].text
    assert "not-a-token" not in outcomes[1].text


def ask(url: str, form: dict[str, str] | None = None) -> str:
    body = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url, body, timeout=10) as reply:
        return str(reply.read().decode())


async def test_web_ui(node: NodeProcess) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    web = ("--web-host", "127.0.0.1", "--web-port", str(port))

    def answers() -> bool:
        try:
            return "Locust" in ask(url)
        except OSError:
            return False

    def has_sessions() -> bool:
        stats = json.loads(ask(f"{url}/stats/requests"))
        names = {row["name"] for row in stats["stats"]}
        return "offer to answer" in names and stats["user_count"] == 8

    async with locust(node.http, *web, *SHORT) as process:
        await asyncio.to_thread(eventually.eventually, answers, "the page")
        page = await asyncio.to_thread(ask, url)
        for shown in ("hold", "shape", "reconnect-storm", "max_lost", "Seconds from answer to bye"):
            assert shown in page
        assert "token_file" not in page
        assert JWT_SECRET not in page
        form = {"user_count": "8", "spawn_rate": "8", "host": node.http, "hold": "0.5"}
        started = json.loads(await asyncio.to_thread(ask, f"{url}/swarm", form))
        assert started["success"], started
        await asyncio.to_thread(eventually.eventually, has_sessions, "sessions in the statistics")
        assert json.loads(await asyncio.to_thread(ask, f"{url}/stop", {}))["success"]
        process.terminate()
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 0, output.decode()
