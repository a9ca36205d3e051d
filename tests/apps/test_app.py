"""What an `[[apps]]` table may say."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from agent.apps.app import App, read_apps, write_apps

DOCUMENT = (Path(__file__).parents[2] / "docs/agent.md").read_text(encoding="utf-8")


def read(**row: Any) -> App:
    (app,) = read_apps(json.dumps([row]))
    return app


def test_every_key_is_read_and_written_again() -> None:
    app = read(
        name="Game",
        command=["game", "--full", ""],
        share="monitor",
        directory="/srv",
        environment={"LANG": "C"},
        prepare=[["mode", "1280x720"], ["mute"]],
        undo=[["mode", "auto"]],
        limit_s=5,
    )
    assert app == App(
        "Game", ("game", "--full", ""), "monitor", "/srv", {"LANG": "C"},
        (("mode", "1280x720"), ("mute",)), (("mode", "auto"),), 5,
    )  # fmt: skip
    assert read_apps(write_apps((app,))) == (app,)
    line = read(name="Line", command="echo $HOME | wc", shell=True, undo=["true"])
    assert (line.command, line.undo) == (("echo $HOME | wc",), (("true",),))
    assert read_apps(write_apps((line,))) == (line,)
    assert read_apps("") == ()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"command": ["a"]}, "needs a name"),
        ({"name": "a"}, "needs a command"),
        ({"name": "a", "command": "echo; rm"}, "command: expected a list"),
        ({"name": "a", "command": []}, "command: expected a list"),
        ({"name": "a", "command": [""]}, "command: expected a text"),
        ({"name": "a", "command": ["a", 1]}, "command: expected texts"),
        ({"name": "a", "command": ["a"], "shell": True, "undo": [["b", "c"]]}, "a line for it"),
        ({"name": "a", "command": ["a"], "shell": 1}, "shell: expected true or false"),
        ({"name": "a", "command": ["a"], "share": "all"}, "share: expected window or monitor"),
        ({"name": "a", "command": ["a"], "limit_s": 0}, "limit_s: expected a whole number"),
        ({"name": "a", "command": ["a"], "prepare": "a"}, "prepare: expected a list"),
        ({"name": "a", "command": ["a"], "environment": {"a=b": ""}}, "environment: expected"),
        ({"name": "a", "command": ["a"], "comand": ["a"]}, "has no key 'comand'"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read(**row)


def test_names_are_told_apart() -> None:
    with pytest.raises(ValueError, match="another name"):
        read_apps(json.dumps([{"name": "a", "command": ["a"]}] * 2))


def test_the_documentation_has_every_key_and_no_other() -> None:
    table = DOCUMENT.partition("## Apps")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert rows == [entry.name for entry in fields(App)]
