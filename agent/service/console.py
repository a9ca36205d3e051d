"""Starts the agent in the session at the screen, and the process for apps as the user who is signed in there.

Windows alone; as in the services of other streaming hosts. Not yet run on real Windows: there the supervisor is
in session 0, which has no screen. Wine has one session.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from collections.abc import Sequence
from ctypes import wintypes
from functools import partial
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.service.console is for Windows")

from agent.service import job
from agent.service.process import Made, Pipes, Process, create, handle
from agent.service.session_token import agent_token, user_token
from agent.service.user_link import UserLink
from agent.win32 import checked, kernel32

logger = logging.getLogger(__name__)

PYTHON: Final = (sys.executable, "-P", "-m")
AGENT: Final = (*PYTHON, "agent.cli", "run", "--die-with-parent", "0", "--user-pipes")
FOR_APPS: Final = (*PYTHON, "agent.apps.user_process")
NO_SESSION: Final = 0xFFFFFFFF
"""WTSGetActiveConsoleSessionId: "there is no session attached to the physical console"."""

kernel32.WTSGetActiveConsoleSessionId.restype = wintypes.DWORD
kernel32.ProcessIdToSessionId.argtypes = [wintypes.DWORD, ctypes.POINTER(wintypes.DWORD)]


class WindowsConsole:
    """Console of agent/service/supervisor.py."""

    def session(self) -> int | None:
        number = int(kernel32.WTSGetActiveConsoleSessionId())
        return None if number == NO_SESSION else number

    def start(self, session: int) -> Process:
        """The agent, with as little as the screen asks for. Raises OSError."""
        with Pipes() as pipes:
            _, giving = pipes.to_child()
            _, taking = pipes.from_child()
            answers, answering = pipes.to_child()
            asking, asked = pipes.from_child()
            command = (*AGENT, f"{handle(answers)},{handle(asking)}")
            made = _create(session, command, pipes.theirs)
            try:
                job.limit(made.process)
            except OSError as error:
                logger.warning("the agent has no job object that limits it: %s", error)
            made.resume()
        link = UserLink(partial(self.start_for_apps, session), asked, answering)
        threading.Thread(target=link.run, name="apps", daemon=True).start()
        return Process(made, giving, taking)

    def start_for_apps(self, session: int) -> Process:
        """The process that starts apps, as the user who is signed in there. Raises OSError, in words."""
        with Pipes() as pipes, user_token(session) as (token, environment):
            _, giving = pipes.to_child()
            _, taking = pipes.from_child()
            made = create(FOR_APPS, pipes.theirs, token, environment)
            made.resume()
        return Process(made, giving, taking)


def _create(session: int, command: Sequence[str], inherited: Sequence[int]) -> Made:
    try:
        with agent_token(session) as token:
            return create(command, inherited, token)
    except OSError as error:
        if session != _own_session():  # another one's screen would not be seen
            raise
        logger.warning(
            "the agent runs in the service's own session, with all of its rights: %s", error
        )
        return create(command, inherited)


def _own_session() -> int:
    number = wintypes.DWORD()
    checked(kernel32.ProcessIdToSessionId(os.getpid(), ctypes.byref(number)))
    return number.value
