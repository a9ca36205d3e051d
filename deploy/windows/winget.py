"""Writes the winget manifests of a built installer: three YAML files, as winget-pkgs and private sources take them.

    python -m deploy.windows.winget --url https://files.example/tightbeam-agent-setup-0.1.0.exe

Source: the manifest schemas 1.6.0 of winget-cli (singleton files are not used; version, installer, defaultLocale).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from cluster import __version__
from deploy.release import ROOT

IDENTIFIER: Final = "Tightbeam.Agent"
SCHEMA: Final = "1.6.0"
NAME: Final = "Tightbeam host agent"
PRODUCT_CODE: Final = "TightbeamAgent"
"""The installer's key below `Uninstall` in the registry (deploy/windows/installer.nsi)."""
INSTALLED_NOT_JOINED: Final = 3


def manifests(url: str, sha256: str) -> dict[str, dict[str, Any]]:
    """The content of each file by its name; `sha256` is hexadecimal."""
    common = {"PackageIdentifier": IDENTIFIER, "PackageVersion": __version__}

    def kind(name: str) -> dict[str, str]:
        return {"ManifestType": name, "ManifestVersion": SCHEMA}

    return {
        f"{IDENTIFIER}.yaml": {**common, "DefaultLocale": "en-US", **kind("version")},
        f"{IDENTIFIER}.installer.yaml": {
            **common,
            "Platform": ["Windows.Desktop"],
            "MinimumOSVersion": "10.0.17134.0",
            "InstallerType": "nullsoft",
            "Scope": "machine",
            "ElevationRequirement": "elevationRequired",
            "UpgradeBehavior": "install",
            "ProductCode": PRODUCT_CODE,
            # Without a node and a token there is nothing to join yet.
            "InstallerSuccessCodes": [INSTALLED_NOT_JOINED],
            "Installers": [
                {"Architecture": "x64", "InstallerUrl": url, "InstallerSha256": sha256.upper()}
            ],
            **kind("installer"),
        },
        f"{IDENTIFIER}.locale.en-US.yaml": {
            **common,
            "PackageLocale": "en-US",
            "Publisher": "The Tightbeam authors",
            "PackageName": NAME,
            "License": "Apache-2.0; the installer as a whole GPL-3.0-or-later (FFmpeg with x264 and x265)",
            "ShortDescription": "Shares this PC's screen and sound with the browsers that you allow.",
            "InstallationNotes": "Join a node as an administrator: "
            '"C:\\Program Files\\Tightbeam\\tightbeam-agent.cmd" enroll --url https://node.example, '
            "then the same with: service start",
            **kind("defaultLocale"),
        },
    }


def write(folder: Path, url: str, sha256: str) -> list[Path]:
    """Write the files into `folder`/VERSION, where winget looks for them; their paths."""
    target = folder / __version__
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in manifests(url, sha256).items():
        kind = content["ManifestType"]
        head = f"# yaml-language-server: $schema=https://aka.ms/winget-manifest.{kind}.{SCHEMA}.schema.json\n"
        written.append(target / name)
        written[-1].write_text(head + yaml.safe_dump(content, sort_keys=False, width=200))
    return written


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: written; 1: no installer was built; 2: usage."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.windows.winget",
        description="Writes the winget manifests of the installer that `make installer` built.",
        epilog="Try them on a PC: winget install --manifest FOLDER",
    )
    parser.add_argument("--url", required=True, help="where the installer will be found (https)")
    parser.add_argument(
        "--installer",
        type=Path,
        default=ROOT / "dist" / f"tightbeam-agent-setup-{__version__}.exe",
        help="the file (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "winget", help="a folder")
    options = parser.parse_args(arguments)
    if not options.url.startswith("https://"):
        parser.error("--url: winget loads installers by https only")
    if not options.installer.is_file():
        print(f"There is no {options.installer}: run `make installer` first.", file=sys.stderr)
        return 1
    digest = hashlib.sha256(options.installer.read_bytes()).hexdigest()
    for path in write(options.out, options.url, digest):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
