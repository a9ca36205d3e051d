"""A stand-in for the kernel's /dev/uinput, which few test machines have: as strict as drivers/input/misc/uinput.c.

tests/input/test_uinput.py runs the same contract over the real one where there is one.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import threading

from agent.input import uinput
from agent.input.uinput import FfEffect, InputEvent, UinputAbsSetup, UinputFfErase, UinputFfUpload

BITS = {
    uinput.UI_SET_EVBIT: "types", uinput.UI_SET_KEYBIT: "keys",
    uinput.UI_SET_ABSBIT: "axes", uinput.UI_SET_FFBIT: "effects",
}  # fmt: skip


def refused(code: int) -> OSError:
    return OSError(code, errno.errorcode[code])


class Kernel:
    """One open /dev/uinput: a DeviceFile, and what games see and do at the other end."""

    def __init__(self) -> None:
        self.bits: dict[str, set[int]] = {name: set() for name in BITS.values()}
        self.ranges: dict[int, tuple[int, int, int, int]] = {}
        self.identity: tuple[int, int, int, int] | None = None
        self.name = b""
        self.max_effects = 0
        self.plugged_in = False
        self.closed = False
        self.keys: set[int] = set()
        """The buttons that games see pressed."""
        self.values: dict[int, int] = {}
        self.frames: list[dict[tuple[int, int], int]] = []
        """What changed, one entry for each SYN_REPORT."""
        self.effects: dict[int, FfEffect] = {}
        self._agents, self._ours = socket.socketpair()
        self._agents.setblocking(False)
        self._request = 0
        self._uploads: dict[int, UinputFfUpload] = {}
        self._erases: dict[int, UinputFfErase] = {}
        self._answered = threading.Condition()
        self._answers: dict[int, int] = {}

    # The file

    def fileno(self) -> int:
        return self._agents.fileno()

    def ioctl(self, request: int, argument: int | ctypes.Structure) -> None:
        if request in BITS:
            self._before()
            assert isinstance(argument, int)
            self.bits[BITS[request]].add(argument)
        elif request == uinput.UI_ABS_SETUP:
            self._before()
            assert isinstance(argument, UinputAbsSetup)
            self._needs(argument.code in self.bits["axes"] and argument.minimum < argument.maximum)
            ends = argument.minimum, argument.maximum, argument.fuzz, argument.flat
            self.ranges[argument.code] = ends
        elif request == uinput.UI_DEV_SETUP:
            self._before()
            assert isinstance(argument, uinput.UinputSetup)
            self._needs(bool(argument.name))
            self.identity = argument.bustype, argument.vendor, argument.product, argument.version
            self.name, self.max_effects = argument.name, argument.ff_effects_max
        elif request == uinput.UI_DEV_CREATE:
            self._before()
            self._needs(self.identity is not None and self.bits["axes"] <= self.ranges.keys())
            self._needs(self.max_effects > 0 or uinput.EV_FF not in self.bits["types"])
            self.values = dict.fromkeys(self.bits["axes"], 0)
            self.plugged_in = True
        elif request == uinput.UI_DEV_DESTROY:
            self.plugged_in = False
        else:
            self._force_feedback(request, argument)

    def write(self, events: bytes) -> None:
        self._needs(self.plugged_in and len(events) % ctypes.sizeof(InputEvent) == 0)
        frame: dict[tuple[int, int], int] = {}
        for at in range(0, len(events), ctypes.sizeof(InputEvent)):
            event = InputEvent.from_buffer_copy(events, at)
            if event.type == uinput.EV_SYN:
                self.frames.append(frame)
                frame = {}
            elif event.type == uinput.EV_KEY and event.code in self.bits["keys"]:
                (self.keys.add if event.value else self.keys.discard)(event.code)
                frame[event.type, event.code] = event.value
            elif event.type == uinput.EV_ABS and event.code in self.bits["axes"]:
                self.values[event.code] = event.value
                frame[event.type, event.code] = event.value
        assert not frame, "games hear of it only with a SYN_REPORT"

    def read(self, size: int) -> bytes:
        return self._agents.recv(size)

    def close(self) -> None:
        self.plugged_in = False
        self.closed = True
        self._agents.close()
        self._ours.close()

    def _before(self) -> None:
        self._needs(not self.plugged_in)

    @staticmethod
    def _needs(right: bool) -> None:
        if not right:
            raise refused(errno.EINVAL)

    def _force_feedback(self, request: int, argument: int | ctypes.Structure) -> None:
        if request == uinput.UI_BEGIN_FF_UPLOAD:
            assert isinstance(argument, UinputFfUpload)
            self._needs(argument.request_id in self._uploads)
            given = self._uploads[argument.request_id]
            ctypes.pointer(argument)[0] = given
        elif request == uinput.UI_END_FF_UPLOAD:
            assert isinstance(argument, UinputFfUpload)
            self._needs(argument.request_id in self._uploads)
            self._answer(argument.request_id, argument.retval)
        elif request == uinput.UI_BEGIN_FF_ERASE:
            assert isinstance(argument, UinputFfErase)
            self._needs(argument.request_id in self._erases)
            argument.effect_id = self._erases[argument.request_id].effect_id
        elif request == uinput.UI_END_FF_ERASE:
            assert isinstance(argument, UinputFfErase)
            self._answer(argument.request_id, argument.retval)
        else:
            raise refused(errno.ENOTTY)

    def _answer(self, request: int, retval: int) -> None:
        with self._answered:
            self._answers[request] = retval
            self._answered.notify_all()

    # What games do

    def upload(self, effect: FfEffect) -> int:
        """Give the device an effect; what it answers. The kernel makes the game wait for that."""
        self._request += 1
        self._uploads[self._request] = UinputFfUpload(self._request, 0, effect)
        answer = self._ask(uinput.UI_FF_UPLOAD)
        if answer == 0:
            self.effects[effect.id] = effect
        return answer

    def erase(self, number: int) -> int:
        self._request += 1
        self._erases[self._request] = UinputFfErase(self._request, 0, number)
        return self._ask(uinput.UI_FF_ERASE)

    def play(self, number: int, times: int) -> None:
        self._say(uinput.EV_FF, number, times)

    def gain(self, gain: int) -> None:
        self._say(uinput.EV_FF, uinput.FF_GAIN, gain)

    def _ask(self, what: int) -> int:
        request = self._request
        self._say(uinput.EV_UINPUT, what, request)
        with self._answered:
            assert self._answered.wait_for(lambda: request in self._answers, 30), "no answer"
            return self._answers[request]

    def _say(self, kind: int, code: int, value: int) -> None:
        self._ours.send(bytes(InputEvent(0, 0, kind, code, value)))
