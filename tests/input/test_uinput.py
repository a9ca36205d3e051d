"""The Linux gamepad: its numbers against the kernel's own headers, its behaviour against a strict stand-in."""

import ctypes
import os
import select
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.input import uinput
from agent.input.base import InputUnavailable
from agent.input.pad_events import NEUTRAL, PadState
from agent.input.uinput import FfEffect, InputEvent, UinputFile, UinputGamepad
from tests.eventually import eventually
from tests.input.uinput_kernel import Kernel

STRUCTURES = {
    "input_event": InputEvent, "uinput_setup": uinput.UinputSetup,
    "uinput_abs_setup": uinput.UinputAbsSetup, "ff_effect": FfEffect,
    "uinput_ff_upload": uinput.UinputFfUpload, "uinput_ff_erase": uinput.UinputFfErase,
}  # fmt: skip
OFFSETS = {
    ("input_event", "type"): InputEvent.type.offset, ("input_event", "value"): InputEvent.value.offset,
    ("uinput_setup", "name"): uinput.UinputSetup.name.offset,
    ("uinput_setup", "ff_effects_max"): uinput.UinputSetup.ff_effects_max.offset,
    ("uinput_abs_setup", "absinfo"): uinput.UinputAbsSetup.value.offset,
    ("uinput_abs_setup", "absinfo.maximum"): uinput.UinputAbsSetup.maximum.offset,
    ("uinput_abs_setup", "absinfo.flat"): uinput.UinputAbsSetup.flat.offset,
    ("ff_effect", "id"): FfEffect.id.offset, ("ff_effect", "replay.length"): FfEffect.length_ms.offset,
    ("ff_effect", "replay.delay"): FfEffect.delay_ms.offset,
    ("ff_effect", "u.rumble.strong_magnitude"): FfEffect.of.offset,
    ("ff_effect", "u.rumble.weak_magnitude"): FfEffect.of.offset + 2,
    ("uinput_ff_upload", "retval"): uinput.UinputFfUpload.retval.offset,
    ("uinput_ff_upload", "effect"): uinput.UinputFfUpload.effect.offset,
    ("uinput_ff_upload", "old"): uinput.UinputFfUpload.old.offset,
    ("uinput_ff_erase", "effect_id"): uinput.UinputFfErase.effect_id.offset,
}  # fmt: skip
NUMBERS = (
    "UI_DEV_CREATE", "UI_DEV_DESTROY", "UI_DEV_SETUP", "UI_ABS_SETUP", "UI_SET_EVBIT", "UI_SET_KEYBIT",
    "UI_SET_ABSBIT", "UI_SET_FFBIT", "UI_BEGIN_FF_UPLOAD", "UI_END_FF_UPLOAD", "UI_BEGIN_FF_ERASE",
    "UI_END_FF_ERASE", "EV_SYN", "EV_KEY", "EV_ABS", "EV_FF", "EV_UINPUT", "SYN_REPORT", "UI_FF_UPLOAD",
    "UI_FF_ERASE", "FF_RUMBLE", "FF_GAIN", "BUS_USB", "ABS_X", "ABS_Y", "ABS_Z", "ABS_RX", "ABS_RY", "ABS_RZ",
    "ABS_HAT0X", "ABS_HAT0Y",
)  # fmt: skip
BUTTONS = {
    0: "BTN_A", 1: "BTN_B", 2: "BTN_X", 3: "BTN_Y", 4: "BTN_TL", 5: "BTN_TR", 8: "BTN_SELECT", 9: "BTN_START",
    10: "BTN_THUMBL", 11: "BTN_THUMBR", 16: "BTN_MODE",
}  # fmt: skip


def test_numbers_and_layouts_are_those_of_the_kernels_headers(tmp_path: Path) -> None:
    expected: dict[str, int] = {name: getattr(uinput, name) for name in NUMBERS}
    expected |= {BUTTONS[button]: code for button, code in uinput.KEYS.items()}
    expected |= {
        f"sizeof(struct {name})": ctypes.sizeof(shape) for name, shape in STRUCTURES.items()
    }
    expected |= {
        f"offsetof(struct {name}, {member})": offset for (name, member), offset in OFFSETS.items()
    }
    checks = "\n".join(
        f'_Static_assert(({words}) == {value}, "{words}");' for words, value in expected.items()
    )
    source = tmp_path / "check.c"
    source.write_text(f"#include <stddef.h>\n#include <linux/uinput.h>\n{checks}\n")
    said = subprocess.run(
        ["gcc", "-fsyntax-only", str(source)], check=False, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr


class Felt:
    """What a gamepad told of its motors."""

    def __init__(self) -> None:
        self.motors: list[tuple[float, float]] = []

    def __call__(self, strong: float, weak: float) -> None:
        self.motors.append((round(strong, 3), round(weak, 3)))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def felt() -> Felt:
    return Felt()


@pytest.fixture
def gamepad(kernel: Kernel, felt: Felt) -> Iterator[UinputGamepad]:
    made = UinputGamepad(felt, lambda: kernel)
    yield made
    made.close()


def rumble(number: int, strong: int, weak: int, length_ms: int, delay_ms: int = 0) -> FfEffect:
    effect = FfEffect(uinput.FF_RUMBLE, number, 0, (0, 0), length_ms, delay_ms)
    effect.of.rumble.strong, effect.of.rumble.weak = strong, weak
    return effect


def test_games_see_an_xbox_360_pad(gamepad: UinputGamepad, kernel: Kernel) -> None:
    assert kernel.plugged_in
    assert kernel.identity == (3, 0x045E, 0x028E, 0x0110)
    assert kernel.name == b"Microsoft X-Box 360 pad"
    assert kernel.bits["keys"] == set(uinput.KEYS.values())
    assert kernel.ranges[uinput.ABS_Y] == (-32768, 32767, 16, 128)
    assert kernel.ranges[uinput.ABS_Z] == (0, 255, 0, 0)
    assert kernel.ranges[uinput.ABS_HAT0X] == (-1, 1, 0, 0)
    gamepad.close()
    gamepad.close()
    assert not kernel.plugged_in
    assert kernel.closed
    with pytest.raises(InputUnavailable):
        gamepad.set(NEUTRAL)


def test_every_button_and_axis_is_where_games_look_for_it(
    gamepad: UinputGamepad, kernel: Kernel
) -> None:
    for button, code in uinput.KEYS.items():
        gamepad.set(PadState(1 << button, 0, 0, 0, 0, 0, 0))
        assert kernel.keys == {code}
    gamepad.set(PadState(0x1FFFF, 1, 2, -32768, 4, 5, 32767))
    assert kernel.keys == set(uinput.KEYS.values())
    assert kernel.values == {
        uinput.ABS_X: -32768, uinput.ABS_Y: 4, uinput.ABS_RX: 5, uinput.ABS_RY: 32767,
        uinput.ABS_Z: 1, uinput.ABS_RZ: 2, uinput.ABS_HAT0X: 0, uinput.ABS_HAT0Y: 0,
    }  # fmt: skip
    for button, hat in ((12, (0, -1)), (13, (0, 1)), (14, (-1, 0)), (15, (1, 0))):
        gamepad.set(PadState(1 << button, 0, 0, 0, 0, 0, 0))
        assert (kernel.values[uinput.ABS_HAT0X], kernel.values[uinput.ABS_HAT0Y]) == hat
        assert kernel.keys == set()


def test_only_what_changed_is_said_and_together(gamepad: UinputGamepad, kernel: Kernel) -> None:
    gamepad.set(NEUTRAL)
    assert kernel.frames == []
    gamepad.set(PadState(1, 0, 0, 7, 0, 0, 0))
    gamepad.set(PadState(1, 0, 0, 7, 0, 0, 0))
    assert kernel.frames == [{(uinput.EV_KEY, 0x130): 1, (uinput.EV_ABS, uinput.ABS_X): 7}]


def test_a_rumble_is_felt_for_as_long_as_it_lasts(
    gamepad: UinputGamepad, kernel: Kernel, felt: Felt
) -> None:
    assert kernel.upload(rumble(3, 0xFFFF, 0, 50)) == 0
    assert felt.motors == []
    kernel.play(3, 1)
    eventually(lambda: felt.motors == [(1.0, 0.0), (0.0, 0.0)])


def test_effects_are_stopped_mixed_and_erased_and_the_gain_counts(
    gamepad: UinputGamepad, kernel: Kernel, felt: Felt
) -> None:
    kernel.upload(rumble(0, 0x8000, 0x8000, 0))
    kernel.upload(rumble(1, 0xFFFF, 0, 0))
    kernel.play(0, 1)
    eventually(lambda: felt.motors[-1:] == [(0.5, 0.5)])
    kernel.play(1, 1)
    eventually(lambda: felt.motors[-1] == (1.0, 0.5))
    kernel.gain(0x8000)
    eventually(lambda: felt.motors[-1] == (0.5, 0.25))
    kernel.play(1, 0)
    eventually(lambda: felt.motors[-1] == (0.25, 0.25))
    assert kernel.erase(0) == 0
    eventually(lambda: felt.motors[-1] == (0.0, 0.0))


def test_an_effect_that_the_pad_has_not_is_refused(gamepad: UinputGamepad, kernel: Kernel) -> None:
    periodic = FfEffect(0x51, 0, 0, (0, 0), 100, 0)
    assert kernel.upload(periodic) == -22
    kernel.play(0, 1)
    assert kernel.upload(rumble(1, 1, 1, 1)) == 0  # it still answers


def test_a_device_that_cannot_be_had_is_told_with_what_to_do() -> None:
    def none() -> Kernel:
        raise FileNotFoundError

    def closed() -> Kernel:
        raise PermissionError

    class Old(Kernel):
        """A kernel before 4.5, without UI_DEV_SETUP."""

        def ioctl(self, request: int, argument: int | ctypes.Structure) -> None:
            if request == uinput.UI_DEV_SETUP:
                raise OSError(22, "Invalid argument")
            super().ioctl(request, argument)

    old = Old()
    with pytest.raises(InputUnavailable, match="sudo modprobe uinput"):
        UinputGamepad(lambda strong, weak: None, none)
    with pytest.raises(InputUnavailable, match="60-tightbeam-gamepads"):
        UinputGamepad(lambda strong, weak: None, closed)
    with pytest.raises(InputUnavailable, match="Invalid argument"):
        UinputGamepad(lambda strong, weak: None, lambda: old)
    assert old.closed
    problem = UinputGamepad.probe()
    assert problem is None or uinput.DEVICE in problem


def test_closing_ends_its_thread_and_its_descriptors(kernel: Kernel) -> None:
    before = set(os.listdir("/proc/self/fd"))
    gamepad = UinputGamepad(lambda strong, weak: None, lambda: kernel)
    gamepad.close()
    assert gamepad._thread not in threading.enumerate()
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0


@pytest.mark.skipif(UinputGamepad.probe() is not None, reason=str(UinputGamepad.probe()))
def test_the_real_kernel_takes_the_same() -> None:
    """Where there is a /dev/uinput: what the kernel says is read back from the device that it made."""
    before = set(Path("/dev/input").glob("event*"))
    gamepad = UinputGamepad(lambda strong, weak: None, UinputFile)
    try:
        (made,) = eventually(lambda: set(Path("/dev/input").glob("event*")) - before)
        reader = os.open(made, os.O_RDONLY)
        gamepad.set(PadState(1, 0, 0, 7, 0, 0, 0))
        assert select.select([reader], [], [], 10)[0]
        piece = os.read(reader, 24 * 16)
        seen = [
            InputEvent.from_buffer_copy(piece, at)
            for at in range(0, len(piece), ctypes.sizeof(InputEvent))
        ]
        assert (uinput.EV_KEY, 0x130, 1) in [(row.type, row.code, row.value) for row in seen]
        os.close(reader)
    finally:
        gamepad.close()
