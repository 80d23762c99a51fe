import asyncio
from collections.abc import Sequence

import pytest

from worker.group_call import GroupCall


async def test_calls_that_arrive_during_a_round_trip_share_the_next_one() -> None:
    groups: list[list[int]] = []
    gate = asyncio.Event()

    async def send(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        await gate.wait()
        return [item * 10 for item in items]

    calls = GroupCall(send, max_items=100)
    async with asyncio.TaskGroup() as group:
        runner = group.create_task(calls.run())
        waiting = [group.create_task(calls.submit(item)) for item in range(1)]
        await asyncio.sleep(0.01)
        waiting += [group.create_task(calls.submit(item)) for item in range(1, 6)]
        await asyncio.sleep(0.01)
        gate.set()
        assert await asyncio.gather(*waiting) == [0, 10, 20, 30, 40, 50]
        runner.cancel()
    assert groups == [[0], [1, 2, 3, 4, 5]]


async def test_a_group_is_never_larger_than_allowed() -> None:
    sizes: list[int] = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        return items

    calls = GroupCall(send, max_items=3)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(calls.submit(item)) for item in range(7)]
        await asyncio.sleep(0)
        runner = group.create_task(calls.run())
        assert await asyncio.gather(*waiting) == list(range(7))
        runner.cancel()
    assert sizes == [3, 3, 1]


async def test_an_item_is_sent_even_if_its_caller_was_cancelled() -> None:
    sent: list[int] = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        sent.extend(items)
        return items

    calls = GroupCall(send, max_items=3)
    caller = asyncio.create_task(calls.submit(1))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    runner = asyncio.create_task(calls.run())
    assert await calls.submit(2) == 2
    runner.cancel()
    assert sent == [1, 2]


async def test_a_failure_reaches_every_caller_and_ends_the_service() -> None:
    async def send(_items: Sequence[int]) -> Sequence[int]:
        raise ValueError("no")

    calls = GroupCall(send, max_items=3)
    callers = [asyncio.create_task(calls.submit(item)) for item in range(2)]
    with pytest.raises(ValueError, match="no"):
        await calls.run()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
