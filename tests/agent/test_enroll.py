"""`tightbeam-agent enroll` against real nodes: what it stores, what it refuses, and that `run` then needs nothing."""

import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent import enrolment
from agent.enroll import room_of
from agent.enrolment import Enrolment
from agent.settings import SettingsError
from cluster.up import tls
from tests.agent.browser import until
from tests.agent.process import ROOT, agent
from tests.cluster import support

PATTERN = ("--source", "testpattern", "--size", "320x180", "--fps", "30")


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with support.valkey() as server:
        yield server.url


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with folders of its own."""
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}


@asynccontextmanager
async def node_url(redis_url: str) -> AsyncIterator[str]:
    async with support.node(support.base_settings(redis_url)) as node:
        yield node.url.replace("ws", "http", 1)


async def enroll(
    home: dict[str, str], *flags: str, stdin: str = "", **environment: str
) -> tuple[int, str]:
    """Exit code and what it said, on both streams."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", "enroll", *flags,
        cwd=ROOT, env={**os.environ, **home, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
    assert process.returncode is not None
    return process.returncode, said.decode()


def configured(home: dict[str, str], text: str) -> Path:
    path = Path(home["XDG_CONFIG_HOME"], "tightbeam", "agent.toml")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def relative(path: Path) -> str:
    """As seen from where the tests start programs."""
    return os.path.relpath(path, ROOT)


def stored(home: dict[str, str]) -> Enrolment | None:
    return enrolment.read(enrolment.path_of(home))


async def test_an_enrolled_machine_runs_without_a_flag_or_variable_for_the_node(
    redis_url: str, home: dict[str, str]
) -> None:
    token = support.token(room="den")
    async with node_url(redis_url) as url:
        code, said = await enroll(home, "--url", url, "--token", "-", stdin=f"{token}\n")
        assert code == 0, said
        assert "Room den" in said
        assert token not in said
        path = enrolment.path_of(home)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert os.listdir(path.parent) == [path.name]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.cli", "run", *PATTERN,
            cwd=ROOT, env={**os.environ, **home}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with asyncio.timeout(30):
                while b"joined room den" not in (line := await process.stderr.readline()):
                    assert line, "the agent ended"
        finally:
            process.terminate()
            await asyncio.wait_for(process.communicate(), 15)


async def test_the_test_join_leaves_the_room_at_once(redis_url: str, home: dict[str, str]) -> None:
    token = support.token(room="twice")
    async with node_url(redis_url) as url:
        for _ in range(2):  # a place that was kept would be `host-present`
            code, said = await enroll(home, "--url", url, TIGHTBEAM_HOST_TOKEN=token)
            assert code == 0, said


async def test_a_room_with_a_host_is_told_in_words(redis_url: str, home: dict[str, str]) -> None:
    token = support.token(room="taken")
    async with node_url(redis_url) as url:
        flags = (*PATTERN, "--room", "taken")
        async with agent(url, *flags, TIGHTBEAM_HOST_TOKEN=token) as host:
            await until(lambda: host.said("joined room taken"))
            code, said = await enroll(home, "--url", url, TIGHTBEAM_HOST_TOKEN=token)
    assert code == 1
    assert "room taken has a host already" in said
    assert stored(home) is None


async def test_a_wrong_token_is_told_in_words_and_not_stored(
    redis_url: str, home: dict[str, str]
) -> None:
    async with node_url(redis_url) as url:
        code, said = await enroll(home, "--url", url, TIGHTBEAM_HOST_TOKEN="nonsense")
        assert code == 3
        assert "the node does not know this host token" in said
        assert "nonsense" not in said
        other = support.token(room="elsewhere")
        code, said = await enroll(home, "--url", url, "--room", "desk", TIGHTBEAM_HOST_TOKEN=other)
        assert code == 3
        assert "not for room desk" in said
        code, said = await enroll(home, "--url", url)
        assert code == 2
        assert "a host token is needed" in said
    assert stored(home) is None


async def test_a_wrong_url_is_told_in_words(redis_url: str, home: dict[str, str]) -> None:
    async def said(url: str) -> str:
        code, words = await enroll(home, "--url", url, TIGHTBEAM_HOST_TOKEN="t")
        assert code == 1, words
        return words

    with socket.create_server(("127.0.0.1", 0)) as silent:
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        assert "nothing listens at" in await said(f"http://127.0.0.1:{port}")
        assert "did not answer within 4 s" in await said(
            f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
    assert "host name" in await said("http://nobody.invalid:8080")
    async with node_url(redis_url) as url:
        assert "not as a node does (HTTP 403)" in await said(f"{url}/somewhere")
        assert "does not speak TLS" in await said(url.replace("http", "https"))


async def test_a_certificate_that_is_not_trusted_is_told_in_words(
    redis_url: str, home: dict[str, str], tmp_path: Path
) -> None:
    made = tls.ensure(tmp_path / "tls", ["127.0.0.1"])
    settings = support.base_settings(
        redis_url, tls_cert=str(made.certificate), tls_key=str(made.key)
    )
    token = support.token(room="locked")
    async with support.node(settings) as node:
        url = node.url.replace("ws", "https", 1)
        code, said = await enroll(home, "--url", url, TIGHTBEAM_HOST_TOKEN=token)
        assert code == 1
        assert "is not trusted" in said
        assert "--ca-file" in said
        plain = url.replace("https", "http")
        code, said = await enroll(home, "--url", plain, TIGHTBEAM_HOST_TOKEN=token)
        assert code == 1
        assert "does not speak HTTP" in said
        flags = ("--url", url, "--ca-file", relative(made.authority))
        code, said = await enroll(home, *flags, TIGHTBEAM_HOST_TOKEN=token)
        assert code == 0, said
    row = stored(home)
    assert row is not None
    assert row.ca_file == str(made.authority)


async def test_a_file_that_overrules_the_enrolment_is_told(
    redis_url: str, home: dict[str, str]
) -> None:
    path = configured(home, "room = 'kitchen'\n")
    async with node_url(redis_url) as url:
        token = support.token(room="den")
        flags = ("--url", url, "--room", "den")
        code, said = await enroll(home, *flags, TIGHTBEAM_HOST_TOKEN=token)
    assert code == 0
    assert f"uses the room of {path}: room (kitchen)" in said


def test_an_enrolment_that_others_may_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state" / "enrolment.json"
    row = Enrolment("http://127.0.0.1:8080", "desk", None, "secret")
    enrolment.store(row, path)
    assert enrolment.read(path) == row
    assert "secret" not in repr(row)
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="others may read"):
        enrolment.read(path)
    path.chmod(0o600)
    for damaged in (b"", b"[]", b"{}", b'{"url": 1, "room": "a", "token": "t"}', b"\xff"):
        path.write_bytes(damaged)
        with pytest.raises(SettingsError, match="damaged"):
            enrolment.read(path)


def test_the_room_of_a_token_is_read_and_never_believed() -> None:
    assert room_of(support.token(room="den")) == "den"
    for other in ("", "a", "a.b.c", "a.e30.c", "..", "a.W10.c", "a.é.c"):
        assert room_of(other) is None
