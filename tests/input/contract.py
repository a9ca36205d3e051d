"""What every injector promises, whatever it injects into."""

from __future__ import annotations

from collections.abc import Callable

from agent.input.base import Injector

A = 4


def keep_the_contract(make: Callable[[], Injector], problem: str | None) -> None:
    """Make every call, within its range and at its ends; ends with nothing held. `problem`: the probe's."""
    assert problem is None
    injector = make()
    injector.key(A, down=True)
    injector.key(A, down=False)
    injector.key(65535, down=True)
    injector.button(0, down=True)
    injector.button(0, down=False)
    injector.move(0.0, 0.0)
    injector.move(1.0, 1.0)
    injector.move_by(-32767, 32767)
    injector.wheel(-2400, 2400)
    injector.text("aÄ€日😀")
    assert injector.sync(10.0)
    injector.close()
    injector.close()
