"""The root of the media process on a test's own loop, and a look at what its sessions get."""

from __future__ import annotations

import os

from agent import ipc
from agent.media import Media
from agent.session import Session


class Pipe(ipc.PipeWriter):
    """Keeps the answers, and takes all else that the agent would be told for said."""

    def __init__(self) -> None:
        read, write = os.pipe()
        os.close(read)
        super().__init__(write)
        os.close(write)
        self.answers: dict[int, str] = {}

    def send(self, message: ipc.Message) -> None:
        if isinstance(message, ipc.SessionAnswer):
            self.answers[message.session] = message.sdp


def session(root: Media, number: int) -> Session:
    return root._sessions[number]


def rung_of(root: Media, number: int) -> str:
    run = root._shared.video._run
    assert run is not None
    return run.encode._viewers[str(number)].tier
