"""What a release is made of: the same wheel twice, whole archives, and an installation from the wheel alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import pytest
import yaml

from cluster import __version__
from deploy import release
from tests.deploy import manifests
from tests.deploy.manifests import ROOT
from tests.eventually import eventually
from tests.ports import free_port


def _wheel(source: Path, folder: Path) -> bytes:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    [wheel] = folder.glob("*.whl")
    return wheel.read_bytes()


def test_the_same_sources_give_the_same_wheel(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    wanted = ("cluster", "agent", "client", "loadtests", "LICENSE", "README.md", "pyproject.toml")
    for name in wanted:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(ROOT / name, copy / name)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert _wheel(ROOT, tmp_path / "a") == _wheel(copy, tmp_path / "b")


def test_there_is_one_version() -> None:
    text = (ROOT / "docs/kubernetes.md").read_text()
    assert f"localhost/tightbeam:{__version__}" in text
    for overlay in manifests.OVERLAYS:
        path = manifests.K8S / "overlays" / overlay / "kustomization.yaml"
        assert yaml.safe_load(path.read_text())["images"][0]["newTag"] == __version__


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist") / "dist"
    release.build(folder)
    return folder


def test_a_release_takes_the_place_of_the_former_and_leaves_the_installer(tmp_path: Path) -> None:
    installer = tmp_path / "tightbeam-agent-setup-0.0.9.exe"
    former = ("SHA256SUMS", "tightbeam-0.0.9-py3-none-any.whl", "tightbeam-0.0.9.tar.gz")
    for name in (installer.name, *former):
        (tmp_path / name).touch()
    assert {path.name for path in release.made(tmp_path)} == set(former)


@pytest.mark.release
def test_a_release_is_whole(dist: Path, tmp_path: Path) -> None:
    name = release.NAME
    assert {path.name.replace("-py3-none-any", "") for path in dist.iterdir()} == {
        f"{name}.whl", f"{name}.tar.gz", f"{name}-kubernetes.tar.gz", f"{name}-container.tar.gz",
        f"{name}.cdx.json", f"{name}-licences.txt", "SHA256SUMS",
    }  # fmt: skip
    for line in (dist / "SHA256SUMS").read_text().splitlines():
        digest, _, file = line.partition("  ")
        assert hashlib.sha256((dist / file).read_bytes()).hexdigest() == digest

    with tarfile.open(dist / f"{name}-kubernetes.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    for overlay in manifests.OVERLAYS:
        folder = tmp_path / f"{name}-kubernetes" / "deploy/k8s/overlays" / overlay
        assert manifests.kustomize(folder) == manifests.overlay_text(overlay)

    with tarfile.open(dist / f"{name}-container.tar.gz") as tar:
        inside = {member.name.removeprefix(f"{name}-container/") for member in tar}
    assert {"Containerfile", ".dockerignore", "deploy/image/requirements.lock"} <= inside
    assert [file for file in inside if file.startswith("dist/tightbeam-")]

    bill = json.loads((dist / f"{name}.cdx.json").read_text())
    own = bill["metadata"]["component"]
    assert (own["name"], own["version"]) == ("tightbeam", __version__)
    assert all(component["version"] for component in bill["components"])
    [links] = [each["dependsOn"] for each in bill["dependencies"] if each["ref"] == own["bom-ref"]]
    assert links
    known = {component["name"].lower() for component in bill["components"]}
    assert {"uvicorn", "redis", "av", "aiortc", "locust"} <= known
    assert not {"ruff", "mypy", "hatchling"} & known
    licences = (dist / f"{name}-licences.txt").read_text()
    assert "\nuvicorn\n" in licences


@pytest.mark.release
def test_a_release_is_the_same_twice(dist: Path, tmp_path: Path) -> None:
    release.build(tmp_path / "again")
    assert (tmp_path / "again/SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()


def _installed(dist: Path, folder: Path, extra: str) -> Path:
    """The programs of an environment that has the wheel and what that extra needs."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=100)
    [wheel] = dist.glob("*.whl")
    pins = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line]
    (folder / "pins").write_text("".join(f"{line.rstrip(chr(92)).rstrip()}\n" for line in pins))
    wanted = f"tightbeam[{extra}] @ {wheel.as_uri()}" if extra else f"tightbeam @ {wheel.as_uri()}"
    install = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        str(folder / "pins"),
        wanted,
    ]
    subprocess.run([folder / "bin/pip", *install], check=True, timeout=500)
    return folder / "bin"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
        env={"HOME": "/tmp"},
    )


@pytest.mark.release
@pytest.mark.timeout(600)
def test_the_wheel_alone_says_what_is_missing(dist: Path, tmp_path: Path) -> None:
    programs = _installed(dist, tmp_path / "env", "")
    assert _run(programs / "tightbeam", "--version").stdout == f"tightbeam {__version__}\n"
    done = _run(programs / "tightbeam", "node")
    assert done.returncode == 1
    assert "pip install 'tightbeam[cluster]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.release
@pytest.mark.timeout(600)
def test_a_node_runs_from_the_wheel(dist: Path, tmp_path: Path) -> None:
    programs = _installed(dist, tmp_path / "env", "cluster")
    port = free_port()
    log = tmp_path / "log"
    with log.open("wb") as out:
        node = subprocess.Popen(
            [programs / "tightbeam", "node", "--port", str(port)],
            stdout=out, stderr=out, cwd="/", env={"HOME": str(tmp_path)},
        )  # fmt: skip

    def page() -> str:
        assert node.poll() is None, log.read_text()
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/") as reply,
        ):
            return str(reply.read().decode())
        return ""

    try:
        assert "<title>" in eventually(page, "the node serves its page")
    finally:
        node.terminate()
        node.wait(20)


@pytest.mark.release
@pytest.mark.timeout(600)
def test_the_agent_runs_from_the_wheel(dist: Path, tmp_path: Path) -> None:
    programs = _installed(dist, tmp_path / "env", "agent")
    done = _run(programs / "tightbeam-agent", "run", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    done = _run(programs / "python", "-c", "import agent.media_process, agent.host, agent.session")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.release
@pytest.mark.timeout(600)
def test_the_load_test_runs_from_the_wheel(dist: Path, tmp_path: Path) -> None:
    programs = _installed(dist, tmp_path / "env", "load")
    where = _run(programs / "python", "-c", "import loadtests; print(loadtests.__path__[0])").stdout
    done = _run(programs / "locust", "-f", f"{where.strip()}/locustfile.py", "--list")
    assert done.returncode == 0, done.stderr
