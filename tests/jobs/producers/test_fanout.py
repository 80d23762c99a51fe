import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from jobs.errors import InputChangedError
from jobs.producers.fanout import FanoutReport, FanoutSettings, fan_out, keep_fanned_out
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.producers.windows import Item, ProducerSettings
from jobs.queue import BatchState, EnqueueReply, NewJob
from tests.jobs.builders import FakeQueue, make_line, write_lines

FAST = FanoutSettings(first_wait_s=0.0005, longest_wait_s=0.002, look_every_s=0.001)


def job(idx: int) -> NewJob:
    return NewJob(idx=idx, custom_id=f"{idx}", model="m", url="/", cost_tokens=1, body=b"{}")


class Numbers:
    """A producer of `count` jobs in descending order."""

    def __init__(self, count: int, chunk: int = 4) -> None:
        self.items = [job(idx) for idx in reversed(range(count))]
        self.chunk = chunk

    def chunks(self) -> Iterator[list[Item]]:
        for first in range(0, len(self.items), self.chunk):
            yield list(self.items[first : first + self.chunk])


async def test_all_items_arrive_in_order_and_the_total_is_told() -> None:
    queue, positions = FakeQueue(), []
    report = await fan_out(queue, "batch_a", Numbers(10), on_progress=positions.append)
    assert queue.items == Numbers(10).items
    assert (queue.total, report) == (10, FanoutReport(10))
    assert positions == [4, 8, 10]


async def test_a_file_without_lines_completes_with_total_zero() -> None:
    queue = FakeQueue()
    assert await fan_out(queue, "batch_a", Numbers(0)) == FanoutReport(0)
    assert queue.total == 0


@pytest.mark.parametrize("done", range(11))
async def test_a_fan_out_that_died_goes_on_where_the_queue_stands(done: int) -> None:
    queue = FakeQueue()
    queue.items = list(Numbers(10).items[:done])
    assert await fan_out(queue, "batch_a", Numbers(10)) == FanoutReport(10)
    assert queue.items == Numbers(10).items
    assert queue.total == 10


async def test_a_finished_fan_out_reads_nothing_again() -> None:
    queue = FakeQueue(total=10, items=list(Numbers(10).items))
    assert await fan_out(queue, "batch_a", Numbers(99)) == FanoutReport(10)
    assert queue.num_enqueues == 0


async def test_a_full_queue_is_waited_for() -> None:
    queue = FakeQueue(max_items=4)
    running = asyncio.create_task(fan_out(queue, "batch_a", Numbers(50), settings=FAST))
    await asyncio.sleep(0.05)
    assert not running.done()
    assert len(queue.items) == 4
    queue.max_items = 1000
    assert await asyncio.wait_for(running, 5) == FanoutReport(50)
    assert queue.items == Numbers(50).items


async def test_a_full_queue_is_not_asked_all_the_time() -> None:
    queue = FakeQueue(max_items=0)
    settings = FanoutSettings(first_wait_s=0.01, longest_wait_s=10.0)
    running = asyncio.create_task(fan_out(queue, "batch_a", Numbers(5), settings=settings))
    await asyncio.sleep(0.2)
    running.cancel()
    assert 2 <= queue.num_enqueues <= 6


async def test_a_queue_smaller_than_a_chunk_gets_smaller_ones() -> None:
    class Draining(FakeQueue):
        """Never holds more than three."""

        async def enqueue(
            self, batch_id: str, position: int, items: Sequence[Item], *, is_final: bool
        ) -> EnqueueReply:
            if len(items) > 3:
                return EnqueueReply(accepted=False, position=len(self.items), is_full=True)
            return await super().enqueue(batch_id, position, items, is_final=is_final)

    queue = Draining()
    producer = Numbers(40, chunk=16)
    await asyncio.wait_for(fan_out(queue, "batch_a", producer, settings=FAST), 5)
    assert queue.items == producer.items


@pytest.mark.parametrize("state", [BatchState.CANCELLED, BatchState.FAILED])
async def test_a_batch_that_takes_no_more_ends_the_fan_out(state: BatchState) -> None:
    queue = FakeQueue(state=state)
    assert await fan_out(queue, "batch_a", Numbers(10)) == FanoutReport(0, state)
    assert await fan_out(queue, "unknown", Numbers(10)) == FanoutReport(0, "")


async def test_a_queue_that_was_rolled_back_gets_everything_again() -> None:
    class Forgetful(FakeQueue):
        async def enqueue(
            self, batch_id: str, position: int, items: Sequence[Item], *, is_final: bool
        ) -> EnqueueReply:
            if self.num_enqueues in (3, 7):
                del self.items[2:]
            return await super().enqueue(batch_id, position, items, is_final=is_final)

    queue = Forgetful()
    assert await fan_out(queue, "batch_a", Numbers(20)) == FanoutReport(20)
    assert queue.items == Numbers(20).items
    assert queue.num_enqueues > 7


async def test_an_input_that_shrank_is_an_error_not_a_short_batch() -> None:
    queue = FakeQueue(items=list(Numbers(10).items))
    with pytest.raises(InputChangedError, match="10 lines"):
        await fan_out(queue, "batch_a", Numbers(5))
    assert queue.total is None


async def test_an_input_that_changed_meanwhile_is_never_given_a_total(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x", [make_line(number) for number in range(20)])
    settings = ProducerSettings(window_lines=5, chunk_items=5)
    producer = JsonlProducer(open_input(path), settings=settings)
    path.write_bytes(path.read_bytes() + make_line(20) + b"\n")
    queue = FakeQueue()
    with pytest.raises(InputChangedError):
        await fan_out(queue, "batch_a", producer)
    assert queue.total is None


@pytest.mark.parametrize("num_left", [0, 3, 10])
async def test_lines_that_the_queue_forgot_are_sent_again(
    num_left: int, caplog: pytest.LogCaptureFixture
) -> None:
    queue, told = FakeQueue(), []
    keeping = asyncio.create_task(
        keep_fanned_out(queue, "batch_a", Numbers(10), settings=FAST, on_complete=told.append)
    )
    await until(lambda: queue.total == 10)
    queue.items, queue.total = queue.items[:num_left], None
    await until(lambda: queue.total == 10)
    await until(lambda: len(told) == 2)
    keeping.cancel()
    assert queue.items == Numbers(10).items
    assert told == [10, 10]
    assert caplog.text.count("they are sent again") == 1


async def test_a_batch_that_vanished_is_waited_for() -> None:
    queue = FakeQueue()
    keeping = asyncio.create_task(keep_fanned_out(queue, "batch_a", Numbers(4), settings=FAST))
    await until(lambda: queue.total == 4)
    queue.batch_id = "gone"
    await asyncio.sleep(0.01)
    assert not keeping.done()
    queue.batch_id, queue.items, queue.total = "batch_a", [], None
    await until(lambda: queue.total == 4)
    keeping.cancel()
    assert queue.items == Numbers(4).items


async def test_keeping_ends_with_a_batch_that_takes_no_more() -> None:
    queue = FakeQueue(state=BatchState.CANCELLED)
    report = await keep_fanned_out(queue, "batch_a", Numbers(4), settings=FAST)
    assert report.refused_in_state == "cancelled"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
