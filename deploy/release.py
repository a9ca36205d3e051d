"""`make dist`: a release into dist/: wheel, sdist, manifests, container context, SBOM, licences, sums.

The same tree gives the same wheel, sdist and archives, byte by byte: names in order, one time, no owner.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from cluster import __version__

ROOT: Final = Path(__file__).parents[1]
TOOLS: Final = ROOT / ".cache" / "release" / "bin"
NAME: Final = f"tightbeam-{__version__}"
EXTRAS: Final = ("cluster", "agent", "load")
EPOCH_S: Final = int(os.environ.get("SOURCE_DATE_EPOCH", "1580601600"))
"""Of every file in an archive, in Unix seconds; unset, what hatchling takes, too."""
MANIFESTS: Final = (
    "deploy/k8s/base",
    "deploy/k8s/components",
    "deploy/k8s/install.yaml",
    "deploy/k8s/overlays/dev",
    "deploy/k8s/overlays/prod",
    "deploy/k8s/secret.sh",
    "deploy/observability/kustomization.yaml",
    "deploy/observability/prometheusrule.yaml",
    "deploy/observability/dashboards",
    "docs/kubernetes.md",
)
CONTAINER: Final = ("Containerfile", ".dockerignore", "deploy/image")


def archive(target: Path, files: Iterable[tuple[str, Path]]) -> None:
    """A .tar.gz of files by their names in it."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in sorted(files):
            member = tarfile.TarInfo(f"{target.name.removesuffix('.tar.gz')}/{name}")
            member.size, member.mtime = path.stat().st_size, EPOCH_S
            member.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)
    target.write_bytes(gzip.compress(raw.getvalue(), mtime=EPOCH_S))


def _below(*names: str) -> list[tuple[str, Path]]:
    """The files of the project at or below these paths."""
    found = []
    for name in names:
        top = ROOT / name
        paths = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        found += [(path.relative_to(ROOT).as_posix(), path) for path in paths]
    return [(name, path) for name, path in found if "__pycache__" not in name]


def runtime() -> dict[str, Distribution]:
    """What is installed here because one of the extras needs it, by name; not this project itself."""
    found: dict[str, Distribution] = {}
    waiting = [(distribution("tightbeam"), extra) for extra in ("", *EXTRAS)]
    seen = set()
    while waiting:
        package, extra = waiting.pop()
        if (package.name, extra) in seen:
            continue
        seen.add((package.name, extra))
        for text in package.requires or []:
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                needed = distribution(wanted.name)
                found[needed.name] = needed
                waiting += [(needed, each) for each in ("", *wanted.extras)]
    return dict(sorted(found.items()))


def _tool(*command: str) -> None:
    done = subprocess.run(
        [TOOLS / command[0], *command[1:]], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


def _write_bill(target: Path, packages: set[NormalizedName]) -> None:
    """The SBOM (CycloneDX): of all that is installed here, what belongs to the project."""
    options = [
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--output-reproducible",
        "-o",
        str(target),
    ]
    _tool("cyclonedx-py", "environment", *options, sys.executable)
    bill = json.loads(target.read_text())
    own = bill["metadata"]["component"]
    own["version"] = __version__
    bill["components"] = [
        each for each in bill["components"] if canonicalize_name(each["name"]) in packages
    ]
    known = {own["bom-ref"], *(each["bom-ref"] for each in bill["components"])}
    bill["dependencies"] = [
        each | {"dependsOn": [ref for ref in each.get("dependsOn", []) if ref in known]}
        for each in bill["dependencies"]
        if each["ref"] in known
    ]
    target.write_text(json.dumps(bill, indent=2) + "\n")


def made(folder: Path) -> list[Path]:
    """What this makes, of any version; the Windows installer beside it is another target's."""
    return sorted([*folder.glob("tightbeam-[0-9]*"), *folder.glob("SHA256SUMS")])


def build(folder: Path) -> None:
    """Make a release in `folder` in place of the one there; raises RuntimeError with a tool's words."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in made(folder):
        path.unlink()
    hatchling = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-t",
        "sdist",
        "-d",
        str(folder),
    ]
    subprocess.run(hatchling, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("*.whl")
    archive(folder / f"{NAME}-kubernetes.tar.gz", _below(*MANIFESTS))
    context = [*_below(*CONTAINER), (f"dist/{wheel.name}", wheel)]
    archive(folder / f"{NAME}-container.tar.gz", context)

    packages = runtime()
    _write_bill(folder / f"{NAME}.cdx.json", set(map(canonicalize_name, packages)))
    licences = ["--python", sys.executable, "--format=plain-vertical", "--with-license-file"]
    licences += [
        "--no-license-path",
        "--with-urls",
        "--output-file",
        str(folder / f"{NAME}-licences.txt"),
    ]
    _tool("pip-licenses", *licences, "--packages", *packages)

    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made(folder)
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    build(out)
    print("".join(f"{path}\n" for path in made(out)), end="")
