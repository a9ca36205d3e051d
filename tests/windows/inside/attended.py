"""A Windows desktop with the agent's indicator and shortcut, and a text field that has the focus.

Prints `typed` at the first key, `shortcut` whenever that is pressed, and `injected` when it has pressed it by
SendInput itself, which it does for each line on standard input. Ends with that.
"""

from __future__ import annotations

import queue
import sys
import threading
import time

if sys.platform != "win32":
    raise ImportError("for Windows")

from agent.input.sendinput import SendInputInjector
from agent.presence.attendant import Attendant, Company
from agent.presence.windows_indicator import WindowsIndicator
from agent.presence.windows_keys import WindowsKeys
from tests.windows.inside.window import Window

CHORD = (0xE0, 0xE2, 0xE1, 0x44)
"""Ctrl, Alt, Shift, F11."""


def read(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def main() -> None:
    window, injector = Window(), SendInputInjector()
    attendant = Attendant(
        "ctrl+alt+shift+f11",
        lambda: print("shortcut", flush=True),
        WindowsKeys,
        WindowsIndicator,
    )
    attendant.show(Company(players=1))
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=read, args=(lines,), daemon=True).start()
    print("here", flush=True)
    typed = False
    while True:
        window.pump()
        time.sleep(0.01)
        if window.keys and not typed:
            typed = True
            print("typed", flush=True)
        if lines.empty():
            continue
        if not lines.get():
            break
        for down in (True, False):
            for usage in CHORD if down else CHORD[::-1]:
                injector.key(usage, down=down)
                window.pump()
        print("injected", flush=True)
    attendant.close()
    threads = [thread for thread in attendant._threads if thread.is_alive()]
    print(f"threads left: {len(threads)}", flush=True)
    window.close()


if __name__ == "__main__":
    main()
