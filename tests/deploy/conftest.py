"""The image is built once for all tests of this folder."""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys

import pytest

from tests.deploy import container
from tests.deploy.container import Build, Image
from tests.deploy.manifests import ROOT


def ignored(path: str) -> bool:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines.pop(0) == "*"
    return not any(fnmatch.fnmatch(path, line.removeprefix("!")) for line in lines)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    context, folder = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("image")
    wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(context / "dist")]
    subprocess.run(wheel, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (context / "deploy" / "image").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/image/requirements.lock", context / "deploy/image")
    for path in (each for each in context.rglob("*") if each.is_file()):
        assert not ignored(path.relative_to(context).as_posix())
    container.fetch_wheels(ROOT / "deploy/image/requirements.lock")
    return Build(context, folder).run((ROOT / "Containerfile").read_text())
