"""What installs the agent on a Windows PC but the installer itself: the PowerShell script and winget's manifests."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import tree_sitter_powershell
import yaml
from tree_sitter import Language, Node, Parser

from cluster import __version__
from deploy.windows import winget
from tests.deploy.manifests import ROOT

SCRIPT = ROOT / "deploy/windows/install-agent.ps1"
INSTALLER = (ROOT / "deploy/windows/installer.nsi").read_text()
URL = "https://files.example/setup.exe"


def nodes(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in nodes(child))]


@pytest.fixture(scope="module")
def script() -> list[Node]:
    parser = Parser(Language(tree_sitter_powershell.language()))
    return nodes(parser.parse(SCRIPT.read_bytes()).root_node)


def test_the_script_is_powershell(script: list[Node]) -> None:
    assert len(script) > 300
    assert [node.start_point for node in script if node.is_error or node.is_missing] == []


def test_each_parameter_of_the_script_is_explained(script: list[Node]) -> None:
    [block] = [node for node in script if node.type == "param_block"]
    assert block.text is not None
    parameters = set(re.findall(r"\] \$(\w+)", block.text.decode()))
    assert parameters == {"Url", "Token", "Installer", "Sha256"}
    assert set(re.findall(r"^\.PARAMETER (\w+)$", SCRIPT.read_text(), re.M)) == parameters


def test_the_script_knows_the_exit_codes_of_the_installer() -> None:
    codes = set(re.findall(r"SetErrorLevel (\d)", INSTALLER)) | {"0"}
    assert set(re.findall(r"^    (\d) \{", SCRIPT.read_text(), re.M)) == codes
    assert str(winget.INSTALLED_NOT_JOINED) in codes


def test_a_token_is_never_on_the_command_line_of_the_installer() -> None:
    assert "/TOKEN" not in SCRIPT.read_text()


def test_winget_gets_the_installer_that_was_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installer = tmp_path / "setup.exe"
    installer.write_bytes(b"MZ")
    arguments = ["--url", URL, "--installer", str(installer), "--out", str(tmp_path / "out")]
    assert winget.main(arguments) == 0
    files = {path.name: path for path in map(Path, capsys.readouterr().out.split())}
    read = {name: yaml.safe_load(path.read_text()) for name, path in files.items()}
    assert {content["ManifestType"] for content in read.values()} == {
        "version",
        "installer",
        "defaultLocale",
    }
    for content in read.values():
        assert content["PackageVersion"] == __version__
        assert all(isinstance(value, str | list) for value in content.values())
    content = read[f"{winget.IDENTIFIER}.installer.yaml"]
    [offered] = content["Installers"]
    assert offered["InstallerSha256"] == hashlib.sha256(b"MZ").hexdigest().upper()
    assert offered["InstallerUrl"] == URL
    assert f'Uninstall\\{content["ProductCode"]}"' in INSTALLER
    name = read[f"{winget.IDENTIFIER}.locale.en-US.yaml"]["PackageName"]
    assert f'"DisplayName" "{name}"' in INSTALLER


def test_without_an_installer_winget_is_told_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert winget.main(["--url", URL, "--installer", str(tmp_path / "none.exe")]) == 1
    assert "make installer" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        winget.main(["--url", "http://files.example/setup.exe"])
