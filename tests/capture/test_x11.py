"""Capture of a real X server: damage, colours, size changes, death, shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.capture import mit_shm, x11_wire
from agent.capture.base import (
    MOST_ALIVE,
    Box,
    CaptureUnavailable,
    Failed,
    Frame,
    NothingNew,
    Pixels,
    SourceChanged,
)
from agent.capture.x11 import X11Capture
from tests.eventually import eventually
from tests.xserver import XServer, x_server


@pytest.fixture
def server() -> Iterator[XServer]:
    with x_server("320x240") as server:
        yield server


@pytest.fixture
def capture(server: XServer) -> Iterator[X11Capture]:
    capture = X11Capture(60, server.name)
    first = capture.next(5.0)
    assert isinstance(first, Frame)
    first.release()
    yield capture
    capture.close()


def settle(capture: X11Capture) -> None:
    """Take pictures until nothing changes any more."""
    while not isinstance(outcome := capture.next(0.1), NothingNew):
        assert isinstance(outcome, Frame)
        outcome.release()


def test_painted_rectangle_is_captured_in_its_place_and_colour(
    server: XServer, capture: X11Capture
) -> None:
    server.paint(100, 50, 20, 10, 0x123456)
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame)
    assert outcome.pixels[55, 110, :3].tolist() == [0x56, 0x34, 0x12]
    assert outcome.pixels[55, 99, :3].tolist() == [0, 0, 0]
    outcome.release()


def test_frame_says_what_changed_and_is_whole(server: XServer, capture: X11Capture) -> None:
    held = []
    for number, (x, y) in enumerate(((20, 30), (200, 100), (60, 150), (90, 10), (5, 200))):
        server.paint(x, y, 16, 8, number + 1)
        outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
        assert outcome.changed == Box(x, y, x + 16, y + 8)
        held.append((outcome, x, y))
        assert outcome.pixels[y, x, 0] == number + 1
        if len(held) == 2:
            for frame, _, _ in held:
                frame.release()
    last = held[-1][0].pixels[..., 0]
    assert [last[y, x] for _, x, y in held] == [1, 2, 3, 4, 5]


def test_picture_around_two_changes_is_read_at_once(server: XServer, capture: X11Capture) -> None:
    server.paint(10, 20, 5, 5, 1)
    server.paint(300, 200, 5, 5, 2)
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame)
    while outcome.pixels[202, 302, 0] != 2:
        outcome.release()
        outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
    assert outcome.pixels[22, 12, 0] == 1
    assert outcome.changed is not None
    assert outcome.changed.joined(Box(10, 20, 305, 205)) == Box(10, 20, 305, 205)
    outcome.release()


def test_static_screen_gives_nothing_new(capture: X11Capture) -> None:
    assert isinstance(capture.next(0.1), NothingNew)


def test_paint_while_waiting_ends_the_wait(server: XServer, capture: X11Capture) -> None:
    timer = threading.Timer(0.1, lambda: server.paint(0, 0, 5, 5, 0xFF0000))
    timer.start()
    outcome = capture.next(30.0)
    assert isinstance(outcome, Frame)
    outcome.release()
    timer.join()


def test_change_during_the_read_is_not_lost(
    server: XServer, capture: X11Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = capture._read_shared

    def read_then_paint(segment: mit_shm.Segment, changed: Box) -> Pixels:
        pixels = read(segment, changed)
        server.paint(0, 0, 5, 5, 0x020202)
        return pixels

    with monkeypatch.context() as patch:
        patch.setattr(capture, "_read_shared", read_then_paint)
        server.paint(0, 0, 5, 5, 0x010101)
        first = capture.next(5.0)
    second = capture.next(5.0)
    for outcome, value in ((first, 1), (second, 2)):
        assert isinstance(outcome, Frame)
        assert outcome.pixels[0, 0, 0] == value
        outcome.release()


def test_wake_without_change_keeps_waiting_until_the_timeout(capture: X11Capture) -> None:
    capture.wake()
    assert isinstance(capture.next(0.05), NothingNew)


def test_new_screen_size_is_a_changed_source(server: XServer, capture: X11Capture) -> None:
    server.resize(200, 160)
    outcome = capture.next(5.0)
    while isinstance(outcome, Frame):
        outcome.release()
        outcome = capture.next(5.0)
    assert isinstance(outcome, SourceChanged)
    again = X11Capture(60, server.name)
    assert again.size == (200, 160)
    again.close()


def test_death_of_the_server_is_a_failure_in_words(server: XServer, capture: X11Capture) -> None:
    server.kill()
    outcome = capture.next(5.0)
    assert isinstance(outcome, Failed)
    assert "X server" in outcome.reason


def test_stopped_server_is_a_failure_and_not_a_hang(
    server: XServer, capture: X11Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(x11_wire, "REPLY_LIMIT_S", 0.2)
    server.paint(0, 0, 5, 5, 0xFF)
    capture._waker.wait(capture._server, 5.0)  # the damage event has arrived
    server.process.send_signal(signal.SIGSTOP)
    try:
        outcome = capture.next(30.0)
        while isinstance(outcome, Frame):  # the server stops when the kernel gets to it
            outcome.release()
            capture._changed = True
            outcome = capture.next(30.0)
        assert isinstance(outcome, Failed)
        assert "not answered" in outcome.reason
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_pointer_is_drawn_and_its_movement_counts_only_when_asked(
    server: XServer, capture: X11Capture
) -> None:
    server.move_pointer(50, 50)
    settle(capture)
    server.move_pointer(60, 60)
    assert isinstance(capture.next(0.1), NothingNew)
    capture.draw_cursor = True
    settle(capture)
    server.move_pointer(100, 100)
    outcome = capture.next(5.0)
    assert isinstance(outcome, Frame)
    outcome.release()
    capture.draw_cursor = False
    settle(capture)


SHM_DEST = 0o1000
"""The kernel's mark of a segment that goes away with its last user (linux/shm.h)."""


def shared_segments() -> dict[int, tuple[int, int]]:
    """The permissions and the number of users of every System V segment, by its id."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {int(row[1]): (int(row[2], 8), int(row[6])) for row in rows}


def test_shared_memory_is_marked_for_removal_while_in_use(server: XServer) -> None:
    capture = X11Capture(60, server.name)
    assert capture.shared_memory
    for segment in capture._ring:
        permissions, attached = shared_segments()[segment.shmid]
        assert permissions & SHM_DEST
        assert attached == 2
    capture.close()


def test_killed_process_leaves_no_shared_memory(server: XServer) -> None:
    program = (
        "import sys, time\n"
        "from agent.capture.x11 import X11Capture\n"
        "capture = X11Capture(60, sys.argv[1])\n"
        "print(*[segment.shmid for segment in capture._ring], flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, server.name],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    segments = [int(word) for word in child.stdout.readline().split()]
    child.kill()
    child.wait(timeout=10)
    child.stdout.close()
    assert len(segments) == MOST_ALIVE

    eventually(lambda: not set(segments) & set(shared_segments()))


def test_server_without_shared_memory_is_read_over_the_connection() -> None:
    with x_server("320x240", extra=("-extension", "MIT-SHM")) as server:
        capture = X11Capture(60, server.name)
        assert not capture.shared_memory
        server.paint(10, 10, 10, 10, 0xAABBCC)
        outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
        assert outcome.pixels[15, 15, :3].tolist() == [0xCC, 0xBB, 0xAA]
        outcome.release()
        capture.close()


def test_other_depths_are_refused_in_words() -> None:
    refused = pytest.raises(CaptureUnavailable, match="depth 16")
    with x_server("320x240", depth=16) as server, refused:
        X11Capture(60, server.name)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "DISPLAY is not set"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "Wayland"),
        ({"XDG_SESSION_TYPE": "wayland"}, "Wayland"),
        ({"DISPLAY": ":64999"}, "cannot open the X display"),
        ({"DISPLAY": "nonsense"}, "cannot open the X display"),
    ],
)
def test_probe_says_why_not(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reason = X11Capture.probe()
    assert reason is not None
    assert words in reason


def test_probe_passes_on_a_real_server(server: XServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", server.name)
    assert X11Capture.probe() is None


def test_descriptors_are_given_back(server: XServer) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    X11Capture(60, server.name).close()
    before = descriptors()
    for _ in range(5):
        X11Capture(60, server.name).close()
    assert descriptors() == before


def test_rate_is_limited_under_a_flood_of_changes(server: XServer) -> None:
    capture = X11Capture(10, server.name)
    times: list[float] = []
    while len(times) < 6:
        server.paint(0, 0, 5, 5, len(times) * 40 + 1)
        outcome = capture.next(0.005)
        if isinstance(outcome, Frame):
            times.append(time.monotonic())
            outcome.release()
    assert times[-1] - times[1] > 4 / 10 / 1.2
    capture.close()


def test_rows_that_were_not_foreseen_are_read_as_well(server: XServer, capture: X11Capture) -> None:
    for y, height in ((20, 10), (20, 10), (120, 40), (0, 240), (60, 1), (60, 1)):
        server.paint(0, y, 320, height, y + height)
        outcome = capture.next(5.0)
        assert isinstance(outcome, Frame)
        assert outcome.changed == Box(0, y, 320, y + height)
        assert set(outcome.pixels[y : y + height, :, 0].flat) == {y + height}
        outcome.release()
