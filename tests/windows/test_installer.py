"""The installer under Wine: silently installed, joined to a real node, installed again, and gone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import __version__
from tests.cluster import support
from tests.cluster.processes import NodeProcess
from tests.eventually import eventually
from tests.windows.wine import DRIVE_C, PYTHON, ROOT, Desktop

pytestmark = [pytest.mark.windows, pytest.mark.timeout(400)]
SETUP = ROOT / "dist" / f"tightbeam-agent-setup-{__version__}.exe"
PROGRAM = DRIVE_C / "Program Files" / "Tightbeam"
FOLDER = DRIVE_C / "ProgramData" / "Tightbeam"
LOG = FOLDER / "logs" / "agent.log"
INSTALLED = (
    "reg",
    "query",
    r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\TightbeamAgent",
)
RANDOM = "bcryptprimitives.dll"
GONE_LIMIT_S = 60.0


def install_log() -> str:
    return (FOLDER / "logs" / "install.log").read_bytes().decode("utf-16-le", errors="replace")


def install(windows: Desktop, *flags: str, code: int = 0) -> None:
    try:
        windows.run(str(SETUP), "/S", *flags, code=code)
    except AssertionError as error:
        raise AssertionError(f"{error}; its log:\n{install_log()}") from None


def joined(times: int) -> None:
    def seen() -> bool:
        return LOG.exists() and LOG.read_text().count("joined room desk") >= times

    eventually(seen, f"{times} joins", 120)


def uninstall(windows: Desktop, *flags: str) -> None:
    """The uninstaller goes on as a copy of itself."""
    if (PROGRAM / "uninstall.exe").exists():
        windows.run(str(PROGRAM / "uninstall.exe"), "/S", *flags)
        eventually(lambda: not PROGRAM.exists(), "an end of the program's files", GONE_LIMIT_S)


@pytest.fixture
def clean(windows: Desktop) -> Iterator[None]:
    """A Windows that stays, and in which neither program nor configuration are."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    # Wine's lack (tests/windows/bcryptprimitives.c), not the installer's.
    shutil.copy(PYTHON.parent / RANDOM, DRIVE_C / "windows" / "system32" / RANDOM)
    with windows.start("-u", "-c", "print('up'); import sys; sys.stdin.read()") as keeper:
        keeper.until("up")
        try:
            yield
        finally:
            uninstall(windows, "/PURGE")


def test_installed_silently_it_joins_and_an_upgrade_and_an_uninstall_are_whole(
    windows: Desktop, node: NodeProcess, clean: None
) -> None:
    token = support.token(room="desk")
    install(windows, f"/URL={node.http}", f"/TOKEN={token}")
    assert token not in install_log()
    assert "firewall rule" in install_log()
    joined(1)
    assert f"DisplayVersion    REG_SZ    {__version__}" in windows.run(*INSTALLED)

    (FOLDER / "agent.toml").write_text("audio = false\n")
    left_over = PROGRAM / "python" / "Lib" / "site-packages" / "of_the_former_version.py"
    left_over.touch()
    install(windows)
    assert not left_over.exists()
    joined(2)

    uninstall(windows)
    assert "not installed" in windows.python("-m", "agent.cli", "service", "status", code=3)
    windows.run(*INSTALLED, code=1)
    assert (FOLDER / "agent.toml").exists()
    assert (FOLDER / "enrolment.json").exists()


def test_a_node_that_is_not_there_leaves_an_installation_that_says_so(
    windows: Desktop, clean: None
) -> None:
    install(windows, "/URL=http://127.0.0.1:9", "/TOKEN=secret.secret.secret", code=3)
    assert "The service does not run yet" in install_log()
    assert "stopped" in windows.run(
        str(PROGRAM / "python" / "python.exe"), "-P", "-m", "agent.cli", "service", "status", code=3
    )
    uninstall(windows, "/PURGE")
    assert not FOLDER.exists()


def test_a_folder_that_somebody_else_prepared_is_put_aside(windows: Desktop, clean: None) -> None:
    aside = FOLDER.with_name("Tightbeam.1")
    shutil.rmtree(aside, ignore_errors=True)
    FOLDER.mkdir()
    (FOLDER / "agent.toml").touch()
    try:
        install(windows)
        assert not (FOLDER / "agent.toml").exists()
        assert (aside / "agent.toml").exists()
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def test_a_program_is_signed_with_the_certificate_that_is_given(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Tightbeam test",
         "-addext", "extendedKeyUsage=codeSigning", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    source, program = tmp_path / "main.c", tmp_path / "program.exe"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["x86_64-w64-mingw32-gcc", source, "-o", program], check=True)
    variables = {"TIGHTBEAM_SIGN_CERTIFICATE": str(certificate), "TIGHTBEAM_SIGN_KEY": str(key)}
    subprocess.run(
        ["sh", ROOT / "deploy" / "windows" / "sign.sh", program],
        check=True,
        env={**os.environ, **variables},
    )
    verified = subprocess.run(
        ["osslsigncode", "verify", "-CAfile", certificate, "-in", program],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "CN=Tightbeam test" in verified.stdout
