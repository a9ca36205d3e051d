"""The process that starts apps as the user who is signed in, for an agent that is the Windows service's.

The supervisor starts it as `python -m agent.apps.user_process` when it is first wanted (agent/service/user_link.py);
frames of agent/ipc.py on standard input and output. At the end of its input it ends the apps, undoes, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading

from agent import ipc, lifeline
from agent.apps.app import read_apps
from agent.apps.journal import Journal
from agent.apps.runner import AppRunner, AppState
from agent.config_file import user_folder
from agent.service import logfile

logger = logging.getLogger(__name__)


async def serve(read: int, write: int) -> None:
    """Serve the agent on these two pipes to the end of the first."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    pipe = ipc.PipeWriter(write)

    def tell(message: ipc.Message) -> None:
        try:
            pipe.send(message)
        except ipc.IpcError as error:
            logger.warning("%s was not told: %s", type(message).__name__, error)

    def changed(state: AppState) -> None:
        tell(ipc.AppChanged(state.name, state.state, state.group, state.words))

    runner = AppRunner((), Journal(user_folder(os.environ)), changed)

    def take(message: ipc.Message) -> None:
        match message:
            case ipc.RunApp(text):
                for app in read_apps(text):
                    runner.run(app)
            case ipc.EndApp(name):
                runner.end(name)
            case ipc.Ping():
                tell(ipc.Pong())
            case _:
                logger.error("the service sent %s", type(message).__name__)

    def follow() -> None:
        try:
            for message in ipc.messages(read):
                loop.call_soon_threadsafe(take, message)
        except ipc.IpcError as error:
            logger.error("the service's pipe failed: %s", error)  # noqa: TRY400 - no bug of ours
        lifeline.end_within_grace()
        loop.call_soon_threadsafe(stop.set)

    runner.recover()
    threading.Thread(target=follow, name="ipc", daemon=True).start()
    await stop.wait()
    await runner.close()


def main() -> None:
    """The process: its streams are the frames', so whatever prints goes nowhere; it has a log of its own."""
    read, write = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    logfile.open_in(user_folder(os.environ) / "logs")
    with contextlib.suppress(OSError):  # else where the service is
        os.chdir(os.path.expanduser("~"))
    try:
        asyncio.run(serve(read, write))
    except Exception:
        logger.exception("the process for apps failed")
        raise


if __name__ == "__main__":
    main()
