"""The systemd unit of the agent: systemd takes it, and it stops trying where trying again does not help."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent import cli
from tests.agent.process import ROOT

UNIT = ROOT / "deploy/linux/tightbeam-agent.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    command = tmp_path / ".local/bin/tightbeam-agent"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}

    def verified(unit: Path) -> tuple[int, str]:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", str(unit)],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    assert verified(UNIT) == (0, "")
    wrong = tmp_path / UNIT.name
    wrong.write_text(UNIT.read_text().replace("RestrictRealtime=yes", "RestrictRealtime=perhaps"))
    assert "Failed to parse boolean value" in verified(wrong)[1]


def test_it_is_not_started_again_for_what_only_a_person_can_change() -> None:
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert codes.split() == [str(cli.EXIT_USAGE), str(cli.EXIT_REFUSED)]
