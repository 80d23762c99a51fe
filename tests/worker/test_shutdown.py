import asyncio
import os
import signal

import pytest

from worker.shutdown import Shutdown


async def test_the_first_signal_stops_and_the_second_forces() -> None:
    shutdown = Shutdown()
    with shutdown.handling_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(shutdown.stopping.wait(), 5)
        assert not shutdown.forced.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(shutdown.forced.wait(), 5)
    assert shutdown.signal_number == signal.SIGTERM


async def test_the_third_signal_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    shutdown = Shutdown()
    for _ in range(3):
        shutdown.receive(signal.SIGINT)
    assert codes == [130]


async def test_stopping_without_a_signal_has_no_signal_number() -> None:
    shutdown = Shutdown()
    shutdown.stop()
    assert shutdown.stopping.is_set()
    assert shutdown.signal_number is None


async def test_a_signal_after_the_work_is_done_is_the_first_one() -> None:
    shutdown = Shutdown()
    shutdown.stop()
    shutdown.receive(signal.SIGINT)
    assert not shutdown.forced.is_set()


async def test_the_handlers_are_gone_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Shutdown().handling_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
