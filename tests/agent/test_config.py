"""The configuration file, what beats what, `tightbeam-agent config`, and that docs/agent.md has every key."""

import re
import sys
from pathlib import Path

import pytest

from agent import config_file, host_token, settings
from agent.apps.app import App
from agent.cli import main, parser
from agent.enrolment import Enrolment
from tests.agent.process import ROOT

OTHER: dict[str, tuple[str, object]] = {
    "url": ('"https://node.example"', "https://node.example"),
    "room": ('"attic"', "attic"),
    "ca_file": ('"/ca.pem"', "/ca.pem"),
    "source": ('"testpattern"', "testpattern"),
    "size": ('"640x360"', (640, 360)),
    "fps": ("30", 30),
    "bitrate": ("2.5", 2_500_000),
    "congestion": ('"loss"', "loss"),
    "audio": ("false", False),
    "udp_ports": ('"50000-50099"', (50_000, 50_099)),
    "clipboard": ('"to-host"', "to-host"),
    "indicator": ("false", False),
    "panic": ('"Ctrl+Alt+Pause"', "Ctrl+Alt+Pause"),
    "log_format": ('"json"', "json"),
    "apps": ('[{ name = "Editor", command = ["vi"] }]', (App("Editor", ("vi",)),)),
}
"""Of each key another value than its default: as TOML, and what the agent makes of it."""


def test_a_users_own_notes_are_in_no_folder_of_all_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"LOCALAPPDATA": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    assert config_file.user_folder(environment) == tmp_path / "tightbeam"
    monkeypatch.setattr(sys, "platform", "win32")
    assert config_file.user_folder(environment) == tmp_path / "Tightbeam"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine's user."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "ProgramData"):
        monkeypatch.setenv(variable, str(tmp_path))
    for key in settings.KEYS:
        monkeypatch.delenv(key.variable, raising=False)
    for variable in (host_token.VARIABLE, config_file.VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


def configured(path: Path, *flags: str, **environment: str) -> settings.Settings:
    file = config_file.read(str(path), {})
    return settings.load(vars(parser().parse_args(["run", *flags])), environment, file).settings


def test_every_key_of_the_file_has_an_effect(tmp_path: Path) -> None:
    assert set(OTHER) == {key.name for key in settings.KEYS if key.types}
    default = configured(written(tmp_path / "empty.toml", ""))
    for name, (toml, expected) in OTHER.items():
        got = configured(written(tmp_path / "one.toml", f"{name} = {toml}\n"))
        field = {"bitrate": "bitrate_bps"}.get(name, name)
        assert getattr(got, field) == expected != getattr(default, field)


def test_flag_beats_environment_beats_file_beats_enrolment_beats_default() -> None:
    file = settings.file_values({"room": "file", "fps": 50}, "agent.toml")
    stored = Enrolment("https://enrolled", "enrolled", None, "t")
    flags = vars(parser().parse_args(["run", "--room", "flag"]))
    none = vars(parser().parse_args(["run"]))
    variables = {"TIGHTBEAM_ROOM": "variable"}
    places = [
        settings.load(flags, variables, file, stored),
        settings.load(none, variables, file, stored),
        settings.load(none, {}, file, stored),
        settings.load(none, {}, {}, stored),
        settings.load(none, {}),
    ]
    assert [place.values["room"].text for place in places] == [
        "flag", "variable", "file", "enrolled", "desk",
    ]  # fmt: skip
    assert [place.values["room"].origin for place in places] == [
        "--room", "TIGHTBEAM_ROOM", "agent.toml: room", "enrolment", "default",
    ]  # fmt: skip


def test_a_stored_token_goes_to_its_node_and_room_and_nowhere_else() -> None:
    stored = Enrolment("https://node.example", "desk", None, "secret")

    def token(**environment: str) -> str | None:
        return settings.load({}, environment, {}, stored).settings.token

    assert token() == "secret"
    assert token(TIGHTBEAM_URL="https://node.example/") == "secret"
    assert token(TIGHTBEAM_URL="https://other.example") is None
    assert token(TIGHTBEAM_ROOM="attic") is None
    assert token(TIGHTBEAM_ROOM="attic", TIGHTBEAM_HOST_TOKEN="given") == "given"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("roon = 'desk'", "there is no setting 'roon'; there are: apps, audio, bitrate, ca_file"),
        ("parent_fd = 3", "there is no setting 'parent_fd'"),
        ("[video]\nfps = 60", "there is no setting 'video'"),
        ("token = 'x'", "there is no setting 'token'"),
        ("fps = '60'", "fps: expected a whole number, got '60'"),
        ("fps = true", "fps: expected a whole number, got True"),
        ("bitrate = '8'", "bitrate: expected a whole number or a number, got '8'"),
        ("audio = 0", "audio: expected true or false, got 0"),
        ("panic = 'f11'", "panic: expected off, or two or more of ctrl, shift, alt, super and one"),
        ("fps = 0", "fps: expected a whole number from 1 to 240, got '0'"),
        ("bitrate = nan", "bitrate: expected a number of Mbit/s from 0.1 to 200, got 'nan'"),
        ("room = 'a b'", "room: expected 1 to 64 letters"),
        ("fps = ", "is no TOML"),
        ("fps = 1\nfps = 2", "is no TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_words(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "agent.toml", text)
    assert main(["run", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert words in said


@pytest.mark.parametrize(
    "text",
    [
        "[apps]\nname = 'Game'\ncommand = ['game']\nenvironment = { API_KEY = 'very-secret' }\n",
        "[[apps]]\nname = 'Game'\ncommand = ['game']\nenvironment = { API_KEY = ['very-secret'] }\n",
    ],
    ids=["one bracket", "a value that is no text"],
)
def test_a_slip_in_an_app_showed_its_environment(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "agent.toml", text)
    assert main(["run", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}: apps: " in said
    assert "very-secret" not in said


def test_a_file_that_is_not_utf8_or_not_there_is_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    assert main(["config", "--config", str(path)]) == 2
    assert "there is no configuration file" in capsys.readouterr().err
    path.write_bytes(b"room = '\xff'")
    assert main(["config", "--config", str(path)]) == 2
    assert "is no TOML" in capsys.readouterr().err


def test_the_default_file_is_read_and_config_prints_what_can_be_read_again(
    own_folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = "Tightbeam" if settings.SOURCES[0] == "dxgi" else "tightbeam"
    path = written(own_folders / folder / "agent.toml", "fps = 30\naudio = false\n")
    monkeypatch.setenv("TIGHTBEAM_BITRATE", "2.50")
    monkeypatch.setenv(host_token.VARIABLE, "very-secret")
    url = "https://me:pass-word@node.example"
    assert main(["config", "--room", "attic", "--url", url]) == 0
    printed = capsys.readouterr().out
    assert "very-secret" not in printed
    assert "pass-word" not in printed
    origins = dict(re.findall(r"^(?:# )?([a-z_]+) = .*  # (.*)$", printed, re.MULTILINE))
    assert origins["room"] == "--room"
    assert origins["fps"] == f"{path}: fps"
    assert origins["bitrate"] == "TIGHTBEAM_BITRATE"
    assert origins["congestion"] == "default"
    assert "# host token: ********" in printed
    assert "# TIGHTBEAM_HOST_TOKEN" in printed
    again = configured(written(own_folders / "again.toml", printed))
    assert (again.room, again.fps, again.bitrate_bps, again.audio) == (
        "attic",
        30,
        2_500_000,
        False,
    )


@pytest.mark.parametrize("key", [key.name for key in settings.KEYS if key.types == (bool,)])
def test_config_printed_one_switch_with_the_value_of_another(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "agent.toml", f"{key} = false\n")
    assert main(["config", "--config", str(path)]) == 0
    again = configured(written(tmp_path / "again.toml", capsys.readouterr().out))
    assert again == configured(path)
    assert not getattr(again, key)


def test_the_documentation_has_every_key_and_no_other() -> None:
    text = (ROOT / "docs/agent.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| `(--[a-z-]+)` \| `(TIGHTBEAM_\w+)` \| (?:`([^`]*)`)? *\| (.+) \|$",
        text,
        re.MULTILINE,
    )
    keys = [key for key in settings.KEYS if key.types and list not in key.types]
    defaults = [("x11" if key.name == "source" else key.default) for key in keys]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        (key.name, key.variable, default) for key, default in zip(keys, defaults, strict=True)
    ]
    for name, flag, *_ in rows:
        value = {
            "source": "testpattern",
            "congestion": "loss",
            "log_format": "json",
            "clipboard": "off",
        }.get(name, "1")
        given = [flag] if name in ("audio", "indicator") else [flag, value]
        assert getattr(parser().parse_args(["run", *given]), name) is not None


def test_help_says_what_beats_what(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "A flag beats its environment variable (TIGHTBEAM_URL, TIGHTBEAM_ROOM, ...), which beats"
        in said
    )
    assert "which beats what `enroll` stored" in said
