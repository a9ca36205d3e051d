"""The doctor's process with backends that hang, crash and break; run as a module by test_doctor.py."""

import os
import signal
import time
from typing import ClassVar

from agent import backends
from agent.capture.testpattern import TestPatternCapture
from agent.doctor import trials


class Fine(TestPatternCapture):
    pass


class Hangs(Fine):
    @staticmethod
    def probe() -> str | None:
        time.sleep(600)
        return None


class Crashes(Fine):
    @staticmethod
    def probe() -> str | None:
        os.kill(os.getpid(), signal.SIGSEGV)
        return None


class Breaks(Fine):
    name: ClassVar[str] = "breaks"

    def __init__(self) -> None:
        raise RuntimeError("no such luck")


class Absent(Fine):
    @staticmethod
    def probe() -> str | None:
        return "the device is missing: plug it in"


NAMES = ("Hangs", "Crashes", "Breaks", "Absent", "Fine")
BACKENDS = tuple((name.lower(), f"tests.doctor.broken_trials:{name}") for name in NAMES)

if __name__ == "__main__":
    backends.BACKENDS["capture"] = BACKENDS
    trials.main()
