"""`tightbeam-agent enroll`: a join with the host token, and if that works, the token is kept for `run`."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
import os
from collections.abc import Mapping
from typing import Final, TextIO

from agent import enrolment, settings
from agent.enrolment import Enrolment
from agent.host_token import VARIABLE
from agent.settings import Settings, SettingsError, Value
from agent.signaling import SignalingSettings
from agent.trial import try_join

MAX_TOKEN_CHARACTERS: Final = 8192
FROM_STDIN: Final = "-"


def read_token(flag: str | None, environment: Mapping[str, str], stdin: TextIO) -> str:
    """From the flag, standard input (`-`), the environment, or else asked for. Raises SettingsError."""
    token = environment.get(VARIABLE, "") if flag is None else flag
    if flag == FROM_STDIN or (not token and not stdin.isatty()):
        token = stdin.readline(MAX_TOKEN_CHARACTERS + 1)
    elif not token:
        token = getpass.getpass("Host token: ")
    token = token.strip()
    if not token or len(token) > MAX_TOKEN_CHARACTERS or not token.isprintable():
        raise SettingsError(
            f"a host token is needed: give it to --token - on standard input, or set {VARIABLE};"
            " `tightbeam token host` makes one"
        )
    return token


def room_of(token: str) -> str | None:
    """The room that a host token of `tightbeam token` names. It is not verified here: the node does that."""
    try:
        body = token.split(".")[1]
        room = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["room"]
    except (ValueError, IndexError, KeyError, TypeError):
        return None
    return room if isinstance(room, str) and settings.ROOM_PATTERN.fullmatch(room) else None


def enroll(chosen: Settings, token: str, environment: Mapping[str, str]) -> str:
    """Join and store; what to tell the user. Raises JoinFailed and SettingsError."""
    ca_file = None if chosen.ca_file is None else os.path.abspath(chosen.ca_file)
    asyncio.run(try_join(SignalingSettings(chosen.url, chosen.room, token, ca_file)))
    path = enrolment.path_of(environment)
    try:
        enrolment.store(Enrolment(chosen.url, chosen.room, ca_file, token), path)
    except OSError as error:
        raise SettingsError(f"the enrolment cannot be stored: {error}") from error
    where = settings.masked(chosen.url)
    return f"Room {chosen.room} of {where} takes this machine as its host. The token is in {path}."


def overruled(
    environment: Mapping[str, str], file: Mapping[str, Value], stored: Enrolment
) -> str | None:
    """Why `run` would go elsewhere than to what was enrolled, in words, or None."""
    values = settings.load({}, environment, file, stored).values
    for name, wanted in (("url", stored.url), ("room", stored.room)):
        if values[name].text != wanted:
            return (
                f"but `tightbeam-agent run` uses the {name} of {values[name].origin}"
                f" ({settings.masked(values[name].text)}): change that"
            )
    return None
