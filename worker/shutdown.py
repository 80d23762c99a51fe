"""How a process ends: the first signal drains, the second forces, the third kills.

Owns: SIGINT and SIGTERM of the process while its event loop runs. Must not know: what is drained.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Shutdown"]

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Shutdown:
    """The process's wish to end. `stopping` asks for a drain, `forced` for an end without one."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.forced = asyncio.Event()
        self.signal_number: int | None = None

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM over while the block runs."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.receive, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def receive(self, number: int) -> None:
        """Note one signal: stop, then force, then exit at once."""
        name = signal.Signals(number).name
        if self.signal_number is None:
            self.signal_number = number
            _log.info("%s: stopping; once more to stop without waiting", name)
            self.stopping.set()
        elif not self.forced.is_set():
            _log.warning("%s again: giving running work back now", name)
            self.forced.set()
        else:
            self.exit_now()

    def stop(self) -> None:
        """Ask for the same end without a signal: the work is done, or has failed."""
        self.stopping.set()

    def exit_now(self) -> None:
        """End the process at once, without waiting for any thread."""
        os._exit(1 if self.signal_number is None else 128 + self.signal_number)
