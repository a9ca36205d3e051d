"""How busy NVIDIA's first graphics card and its encoder are, for the host's telemetry: by the driver's NVML.

Source: NVML API reference (docs.nvidia.com/deploy/nvml-api). Other makers' cards are not asked.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger(__name__)

EVERY_S: Final = 2.0
STALE_S: Final = 10.0
"""A driver that has not answered for so long hangs, or its card is gone."""
LIBRARY: Final = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_SEARCH_SYSTEM32: Final = 0x800  # of LoadLibraryEx: no other folder may plant one


@dataclass(frozen=True, slots=True)
class Load:
    """Used shares, 0 to 1; None: not known."""

    card: float | None = None
    encoder: float | None = None


class _Utilization(ctypes.Structure):
    """nvmlUtilization_t, in percent of the last sample period."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Nvml:
    """The card. Raises OSError when there is no driver, or it refuses."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY, winmode=_SEARCH_SYSTEM32)
        self._device = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(0), ctypes.byref(self._device))

    def load(self) -> Load:
        """Of its last sample period, a sixth of a second to a second. May block as long as the driver does."""
        rates = _Utilization()
        self._call("nvmlDeviceGetUtilizationRates", self._device, ctypes.byref(rates))
        encoder, period_us = ctypes.c_uint(), ctypes.c_uint()
        self._call(
            "nvmlDeviceGetEncoderUtilization",
            self._device,
            ctypes.byref(encoder),
            ctypes.byref(period_us),
        )
        return Load(min(rates.gpu, 100) / 100, min(encoder.value, 100) / 100)

    def _call(self, name: str, *arguments: object) -> None:
        try:
            result = getattr(self._library, name)(*arguments)
        except AttributeError:
            raise OSError(f"{LIBRARY} has no {name}: the driver is too old") from None
        if result != 0:
            raise OSError(f"{name}: NVML's error {result}")


class GraphicsCard:
    """Looks from a thread of its own: a driver may take its time, or hang. Without a driver there is no thread."""

    def __init__(self) -> None:
        self._newest = (0.0, Load())
        self._stopped = threading.Event()
        threading.Thread(target=self._follow, name="graphics card", daemon=True).start()

    def load(self) -> Load:
        """The newest; nothing is known of what did not answer for STALE_S."""
        at, load = self._newest
        return load if time.monotonic() - at < STALE_S else Load()

    def close(self) -> None:
        """Look no more. Idempotent."""
        self._stopped.set()

    def _follow(self) -> None:
        try:
            card = Nvml()
        except OSError as error:
            logger.debug("no figures of a graphics card: %s", error)
            return
        try:
            while not self._stopped.wait(EVERY_S):
                self._newest = (time.monotonic(), card.load())
        except OSError as error:
            logger.warning("no more figures of the graphics card: %s", error)
