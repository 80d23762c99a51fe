import asyncio
import threading

import pytest

from worker.library.errors import HeadraceError
from worker.library.portal import Portal


async def add(left: int, right: int) -> int:
    await asyncio.sleep(0)
    return left + right


def test_coroutines_run_for_callers_without_a_loop() -> None:
    portal = Portal("test-portal")
    assert portal.call(add(1, 2)) == 3
    with pytest.raises(TypeError):
        portal.call(add(1, "x"))  # type: ignore[arg-type]
    portal.close()
    portal.close()
    assert "test-portal" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(HeadraceError, match="closed"):
        portal.call(add(1, 2))


async def test_a_caller_inside_another_loop_is_served() -> None:
    portal = Portal("test-portal")
    assert portal.call(add(1, 2)) == 3
    portal.close()


def test_closing_cancels_what_still_runs() -> None:
    portal = Portal("test-portal")
    ended = threading.Event()
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def call() -> None:
        with pytest.raises(BaseException):  # noqa: B017 - a cancellation
            portal.call(wait())

    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(5)
    portal.close()
    assert ended.wait(5)
    thread.join(5)


@pytest.mark.parametrize("place", ["in main thread", "in another", "in its own"])
def test_one_that_nobody_holds_ends_wherever_it_was_dropped(place: str) -> None:
    ended = threading.Event()

    async def last() -> None:
        ended.set()

    holders = [Portal("test-portal", last)]
    (thread,) = [each for each in threading.enumerate() if each.name == "test-portal"]

    async def drop() -> None:
        holders.clear()

    if place == "in main thread":
        holders.clear()
    elif place == "in another":
        threading.Thread(target=holders.clear).start()
    else:
        asyncio.run_coroutine_threadsafe(drop(), holders[0]._loop)
    thread.join(5)
    assert not thread.is_alive()
    assert ended.is_set()
