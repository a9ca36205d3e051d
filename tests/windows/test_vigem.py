"""The Windows gamepad under Wine, which has no ViGEmBus, with a stand-in for its client library in C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.windows.wine import ROOT, Desktop

pytestmark = pytest.mark.windows
SOURCE = ROOT / "tests" / "windows" / "vigem_client.c"


@pytest.mark.timeout(400)
def test_the_gamepad_passes_its_tests(windows: Desktop, tmp_path: Path) -> None:
    library = tmp_path / "vigem_client.dll"
    compiler = "x86_64-w64-mingw32-gcc"
    subprocess.run([compiler, "-O1", "-shared", "-o", str(library), str(SOURCE)], check=True)
    windows.python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/windows/inside/test_vigem.py",
        TIGHTBEAM_TEST_VIGEM=f"Z:{library}", limit_s=360,
    )  # fmt: skip
