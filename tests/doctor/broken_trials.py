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


class EndsByARealTimeSignal(Fine):
    @staticmethod
    def probe() -> str | None:
        os.kill(os.getpid(), signal.SIGRTMIN + 6)
        return None


class Talks(Fine):
    @staticmethod
    def probe() -> str | None:
        return "word " * 20_000


class Breaks(Fine):
    name: ClassVar[str] = "breaks"

    def __init__(self) -> None:
        raise RuntimeError("no such luck")


class Absent(Fine):
    @staticmethod
    def probe() -> str | None:
        return "the device is missing: plug it in"


def named(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), f"tests.doctor.broken_trials:{name}") for name in names)


BACKENDS: dict[backends.Family, tuple[tuple[str, str], ...]] = {
    "capture": named("Crashes", "EndsByARealTimeSignal", "Talks", "Breaks", "Absent", "Fine"),
    "cursor": named("Hangs"),
}

if __name__ == "__main__":
    backends.BACKENDS.update(BACKENDS)
    trials.main()
