"""What Windows starts as the service: `python -P -m agent.service`. The root of the supervisor's process."""

from __future__ import annotations

import logging
import os
import sys

if sys.platform != "win32":
    sys.exit("agent.service is the Windows service; on this system run `tightbeam-agent run`")

from agent import config_file
from agent.service import events, logfile
from agent.service.console import WindowsConsole
from agent.service.dispatcher import Dispatcher
from agent.service.supervisor import Supervisor
from agent.win32 import program_data


def _make() -> Supervisor:
    # The worker looks for its configuration there, too. The variable of a service is another one under Wine.
    os.environ["PROGRAMDATA"] = program_data()
    logfile.open_in(config_file.state_folder(os.environ) / "logs")
    logging.getLogger("agent.service").info("started")
    return Supervisor(
        WindowsConsole(), lambda words: events.report(events.Event.AGENT_FAILED, words)
    )


if not Dispatcher(_make).run():
    sys.exit("this is the service's own process: use `tightbeam-agent service start`")
