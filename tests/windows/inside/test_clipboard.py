"""The clipboard of Windows: the contract, and what programs keep from histories and other machines."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.clipboard import windows
from agent.clipboard.windows import WindowsClipboard
from agent.win32 import kernel32, user32
from tests.clipboard.contract import changed, keep_the_contract


class Program(WindowsClipboard):
    """Another program, with a window of its own."""

    def copy(self, text: str) -> None:
        self.write(text)

    def paste(self) -> str | None:
        return self.read()

    def copy_marked(self, text: str, format_name: str, value: int) -> None:
        """With a format beside the text that has a DWORD in it."""
        self.write(text)
        kind = user32.RegisterClipboardFormatW(format_name)
        block = kernel32.GlobalAlloc(2, 4)
        ctypes.memmove(kernel32.GlobalLock(block), value.to_bytes(4, "little"), 4)
        kernel32.GlobalUnlock(block)
        with self._opened() as is_open:
            assert is_open
            assert user32.SetClipboardData(kind, block)


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program()
    yield program
    program.close()


def test_windows_keeps_the_contract(program: Program) -> None:
    keep_the_contract(WindowsClipboard(), program)


def test_lines_end_as_windows_has_them(program: Program) -> None:
    clipboard = WindowsClipboard()
    clipboard.write("one\ntwo\r\nthree\0")
    with program._opened():
        block = user32.GetClipboardData(13)
        payload = windows._bytes_of(block, 100)
    assert payload is not None
    assert payload.decode("utf-16-le").partition("\0")[0] == "one\r\ntwo\r\nthree"
    assert program.read() == "one\ntwo\nthree"
    clipboard.close()
    assert program.read() is None


@pytest.mark.parametrize(
    ("name", "value", "for_us"),
    [
        ("ExcludeClipboardContentFromMonitorProcessing", 1, False),
        ("ExcludeClipboardContentFromMonitorProcessing", 0, False),
        ("Clipboard Viewer Ignore", 1, False),
        ("CanIncludeInClipboardHistory", 0, False),
        ("CanIncludeInClipboardHistory", 1, True),
        ("CanUploadToCloudClipboard", 0, False),
        ("CanUploadToCloudClipboard", 1, True),
    ],
)
def test_what_a_program_keeps_to_this_machine_is_not_for_us(
    program: Program, name: str, value: int, for_us: bool
) -> None:
    clipboard = WindowsClipboard()
    program.copy_marked("a password", name, value)
    assert changed(clipboard, for_us)
    assert clipboard.read() == ("a password" if for_us else None)
    clipboard.close()


def test_the_probe_passes_here() -> None:
    assert WindowsClipboard.probe() is None
