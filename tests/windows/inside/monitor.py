"""An audio backend for tests: Wine records no output, but shows the monitor of PulseAudio's as an input."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

from agent.audio.wasapi import CAPTURE, WasapiSource


class MonitorSource(WasapiSource):
    """The default input, by all of WasapiSource's code."""

    name = "monitor"
    flow = CAPTURE
