"""`tightbeam up`: what it starts, what it prints, and that nothing of it outlives it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import html
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cluster import guard
from cluster.settings import Settings
from cluster.store import valkey
from cluster.up import children, links, tls
from cluster.up import main as up_main
from cluster.up.main import address_of
from tests.cluster.support import hello
from tests.eventually import eventually, until

LINK = re.compile(r"(http\S+)/#room=(\S+)&token=(\S{22})")


def _environment(tmp_path: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TIGHTBEAM")}
    return env | {"XDG_STATE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def _read_until(output: IO[str], words: str) -> str:
    """What a program says until these words."""
    text = ""
    while words not in text:
        line = output.readline()
        assert line, f"it ended early: {text}"
        text += line
    return text


@contextlib.contextmanager
def _up(tmp_path: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "cluster.cli", "up", "--source", "testpattern", *flags]
    process = subprocess.Popen(
        command,
        env=_environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield process, _read_until(process.stdout, "Ctrl-C ends everything")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _gone(pids: set[int]) -> None:
    eventually(lambda: all(guard._parent_of(pid) is None for pid in pids))


def _ws(url: str) -> str:
    return url.replace("http", "ws", 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_outlives_up(tmp_path: Path, number: signal.Signals) -> None:
    with _up(tmp_path, "--port", "0") as (process, text):
        assert len(LINK.findall(text)) == 1
        eventually(
            lambda: len(guard.descendants(process.pid)) >= 6
        )  # 3 guards, Valkey, node, agent
        tree = guard.descendants(process.pid)
        process.send_signal(number)
        status = process.wait(30)
        assert status == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        _gone(tree)
        if number != signal.SIGKILL:
            assert process.stdout is not None
            assert "Traceback" not in process.stdout.read()


def test_link_works_once_pair_makes_another_and_a_killed_node_comes_back(tmp_path: Path) -> None:
    with _up(tmp_path, "--port", "0", "--room", "den") as (process, text):
        match = LINK.search(text)
        assert match is not None
        url, room, token = match.groups()
        assert room == "den"

        async def join(**keys: str) -> dict[str, object]:
            return (await hello(_ws(url), "den", **keys)).welcome

        welcome = asyncio.run(join(token=token))
        assert welcome["type"] == "welcome"
        assert asyncio.run(join(token=token))["code"] == "unauthorized"
        fresh = subprocess.run(
            [sys.executable, "-m", "cluster.cli", "pair"],
            env=_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        match = LINK.search(fresh.stdout)
        assert match is not None
        assert asyncio.run(join(token=match[3]))["type"] == "welcome"
        node = _find(process.pid, "cluster.cli\0node")
        os.kill(node, signal.SIGKILL)
        again = asyncio.run(join(session=str(welcome["session"])))
        assert again["type"] == "welcome"


def _find(root: int, words: str) -> int:
    """The process with these words on its command line, which may be about to start."""

    def look() -> int | None:
        for pid in guard.descendants(root):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_text()
                if words in line and "guard.py" not in line:
                    return pid
        return None

    return eventually(look, f"a process with {words!r}") or 0


def _run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", *arguments],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_refusals_are_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = _run(tmp_path, "up", "--source", "testpattern", "--port", port)
    assert result.returncode == 1
    assert "cannot listen on" in result.stderr
    assert "--port" in result.stderr
    result = _run(tmp_path, "up", "--no-pairing", "--host", "0.0.0.0")
    assert result.returncode == 1
    assert "--no-pairing" in result.stderr
    assert "127.0.0.1 only" in result.stderr
    result = _run(tmp_path, "pair")
    assert result.returncode == 1
    assert "start it first" in result.stderr
    result = _run(tmp_path, "token", "player", "--room", "r")
    assert "REDIS_URL" in result.stderr
    others = [_run(tmp_path, "up", "--size", "big"), _run(tmp_path, "up", "--room", "a b")]
    for refused in (result, *others):
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr


def test_a_port_that_is_none_and_an_address_that_is_not_ours_are_told_apart(tmp_path: Path) -> None:
    for port in ("70000", "-1"):
        result = _run(tmp_path, "node", "--port", port)
        assert (result.returncode, "Traceback" in result.stderr) == (1, False)
        assert "--port: expected 0 to 65535" in result.stderr
    result = _run(tmp_path, "node", "--host", "203.0.113.1", "--port", "0")  # RFC 5737
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "--host" in result.stderr
    assert "another program" not in result.stderr


def test_killed_valkey_is_started_again_and_the_link_made_anew(tmp_path: Path) -> None:
    with _up(tmp_path, "--port", "0") as (process, _):
        os.kill(_find(process.pid, "valkey-server"), signal.SIGKILL)
        assert process.stdout is not None
        words = _read_until(process.stdout, "#room=")
        assert "not used yet is void" in words
        assert _find(process.pid, "valkey-server")


def test_valkey_that_goes_on_ending_ends_its_node_in_words(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "node", "--port", "0"],
        env=_environment(tmp_path) | {"REDIS_URL": ""},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        _read_until(process.stderr, "listens")
        for killed in range(valkey.RESTARTS):
            if killed:
                _read_until(process.stderr, "is back, empty")
            tree = guard.descendants(process.pid)
            os.kill(_find(process.pid, "valkey-server"), signal.SIGKILL)
        assert process.wait(30) == 1
        words = process.stderr.read()
        assert f"the embedded Valkey server has ended {valkey.RESTARTS} times" in words
        assert "Traceback" not in words
        _gone(tree)
    finally:
        process.kill()
        process.wait()


def test_open_keeps_the_link_off_every_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$@" > {seen}.part && mv {seen}.part {seen}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with _up(tmp_path, "--port", "0", "--open") as (_, text):
        eventually(seen.exists)
        page = tmp_path / "tightbeam" / links.REDIRECT_FILE
        assert seen.read_text().strip() == page.as_uri()
        assert page.stat().st_mode & 0o077 == 0
        match = LINK.search(text)
        assert match is not None
        assert html.escape(match[0]) in page.read_text()
    assert not page.exists()


def _handshake(made: tls.Certificates, name: str) -> None:
    """A TLS handshake in memory with a client that trusts the authority."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(made.certificate, made.key)
    client_side = ssl.create_default_context(cafile=str(made.authority))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(back, there, server_hostname=name)
    server = server_side.wrap_bio(there, back, server_side=True)
    for side in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() is not None


def test_own_authority_speaks_for_this_machine_only(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    names = ["192.168.1.5", "desk", "desk.local", "2001:db8::1"]
    made = tls.ensure(folder, names)
    for name in names:
        _handshake(made, name)
    changed = tls.ensure(folder, ["192.168.1.7", "desk", "desk.local", "2001:db8:1::1"])
    assert changed.fingerprint == made.fingerprint
    _handshake(changed, "192.168.1.7")
    authority, key = tls._authority(folder, ["desk"], ["desk"])
    for foreign in ("example.com", "203.0.113.9"):
        tls._issue(folder, authority, key, [foreign, "desk"])
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
            _handshake(made, foreign)
    assert tls.ensure(folder, ["203.0.113.9", "desk"]).fingerprint != made.fingerprint


@pytest.mark.parametrize(
    ("names", "host", "name"),
    [
        (["*.example.com", "desk.example.com"], "0.0.0.0", "desk.example.com"),
        (["*.example.com"], "desk.example.com", "desk.example.com"),
        (["a.example.com", "192.168.1.5"], "192.168.1.5", "192.168.1.5"),
        (["192.168.1.5"], "0.0.0.0", "192.168.1.5"),
        (["*.example.com"], "0.0.0.0", None),
        (["*.example.com"], "a.b.example.com", None),
    ],
)
def test_given_certificate_names_the_link(
    tmp_path: Path, names: list[str], host: str, name: str | None
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    own = tls._name("self-signed")
    alternatives = x509.SubjectAlternativeName([tls._alternative_name(name) for name in names])
    certificate = (
        tls._builder(own, own, key.public_key(), 1)
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_file = tmp_path / "given.pem", tmp_path / "given.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    tls._write_key(key_file, key)
    if name is None:
        with pytest.raises(ValueError, match=r"\*\.example\.com.*--host"):
            tls.read_given(pem, host)
        return
    assert tls.read_given(pem, host) == tls.Given(name, has_root=True)
    settings = Settings(host=host, port=1, tls_cert=str(pem), tls_key=str(key_file))
    _, address = address_of(settings, tmp_path)
    assert address.ca_file == str(pem)
    assert address.agent_url == f"https://{name}:1"
    _handshake(tls.Certificates(pem, pem, key_file, ""), name)


def test_given_certificate_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    pem = tmp_path / "given.pem"
    pem.write_text("nothing")
    with pytest.raises(ValueError, match=r"--tls-cert.*PEM"):
        tls.read_given(pem, "desk")


async def test_long_log_is_put_aside_when_its_program_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LOG_BYTES", 10)
    lifeline = children.Lifeline()
    command = children.Command("echo", ["echo", "three"], dict(os.environ), tmp_path / "echo.log")
    for _ in range(4):
        await (await children.Child.start(command, lifeline)).wait()
    lifeline.cut()
    assert (tmp_path / "echo.log.1").read_text() == "three\n" * 2
    assert command.log_file.read_text() == "three\n" * 2


async def test_a_program_that_hangs_is_killed_when_its_keeper_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "STOP_SLACK_S", 0.1)
    lifeline = children.Lifeline()
    said = tmp_path / "sleep.log"
    argv = ["sh", "-c", "echo up; exec sleep 60"]
    command = children.Command("sleep", argv, dict(os.environ), said, grace_s=0.1)
    kept = children.Kept(command, lifeline)
    keeping = asyncio.create_task(kept.run())
    await until(lambda: said.exists() and said.read_text() == "up\n")
    guard = kept._child
    assert guard is not None
    os.kill(guard.process.pid, signal.SIGSTOP)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    lifeline.cut()
    assert guard.process.returncode == -signal.SIGKILL


def test_certificates_are_kept_renewed_for_new_names_and_private(tmp_path: Path) -> None:
    first = tls.ensure(tmp_path / "tls", ["192.168.1.5", "desk.local"])
    again = tls.ensure(tmp_path / "tls", ["192.168.1.5", "desk.local"])
    before = first.certificate.read_bytes()
    assert again == first
    assert again.certificate.read_bytes() == before
    other = tls.ensure(tmp_path / "tls", ["192.168.1.6", "desk.local"])
    assert other.fingerprint == first.fingerprint
    assert other.certificate.read_bytes() != before
    given = tls.read_given(other.certificate, "0.0.0.0")
    assert (given.name, given.has_root) == ("desk.local", False)
    for file in (tmp_path / "tls").iterdir():
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("display", "words"),
    [(":0", "only the windows of X11 programs"), ("", "Sharing a private X11 desktop instead")],
)
async def test_wayland_session_is_told_what_can_be_shared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    display: str,
    words: str,
) -> None:
    class NoDesktop:
        environment: ClassVar[dict[str, str]] = {"DISPLAY": ":private"}

        def __init__(self, *_: object) -> None:
            pass

        async def start(self, _env: object) -> None:
            pass

        async def stop(self) -> None:
            pass

    monkeypatch.setattr(up_main, "Desktop", NoDesktop)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", display)
    options = argparse.Namespace(source="x11", size=None)
    lifeline = children.Lifeline()
    with socket.socket() as listener:
        up = up_main.Up(options, Settings(port=1), listener, tmp_path)
        async with up._desktop(lifeline) as (env, desktop):
            assert env["DISPLAY"] == (display or ":private")
            assert (desktop is None) == bool(display)
    lifeline.cut()
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("host", "environ", "mode"),
    [
        ("127.0.0.1", {}, None),
        ("0.0.0.0", {}, "secure"),
        ("0.0.0.0", {"TIGHTBEAM_MODE": "scalable"}, "scalable"),
    ],
)
def test_node_of_a_desktop_in_the_network_is_no_meeting_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    environ: dict[str, str],
    mode: str | None,
) -> None:
    monkeypatch.delenv("TIGHTBEAM_MODE", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    options = argparse.Namespace(room="desk", source="testpattern", size=None, fps=60, bitrate=None)
    lifeline = children.Lifeline()
    with socket.socket() as listener:
        up = up_main.Up(options, Settings(host=host, port=1), listener, tmp_path)
        node = up._node_command("unix:///none", lifeline)
        agent = up._agent_command(dict(os.environ), lifeline)
    lifeline.cut()
    assert node.env.get("TIGHTBEAM_MODE") == mode
    assert "JWT_SECRET" in node.env
    assert {"JWT_SECRET", "TIGHTBEAM_SECRET"}.isdisjoint(agent.env)


def test_secret_is_made_once_and_private(tmp_path: Path) -> None:
    folder = links.state_directory({"XDG_STATE_HOME": str(tmp_path)})
    secret = links.own_secret(folder)
    assert links.own_secret(folder) == secret
    assert len(secret) == 64
    assert (folder / "secret").stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_private_desktop_and_tls_beyond_loopback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cluster.cli", "up", "--host", "0.0.0.0", "--port", "0"]
    env = {
        k: v for k, v in _environment(tmp_path).items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        text = _read_until(process.stdout, "Ctrl-C ends everything")
        assert "private desktop of 1280x720" in text
        assert "https://" in text
        assert "certificate authority" in text
        tree = guard.descendants(process.pid)
        names = set()
        for pid in tree:
            with contextlib.suppress(FileNotFoundError):  # it has ended since
                names.add(Path(f"/proc/{pid}/comm").read_text().strip())
        assert {"Xvfb", "openbox", "xterm", "xclock", "pulseaudio"} <= names
    finally:
        process.kill()
        process.wait()
    _gone(tree)
