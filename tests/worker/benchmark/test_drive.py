"""Driving an engine: forced lengths, arrivals, and the clocks."""

import pytest

from engine.async_engine import AsyncEngine
from tests.fakes import FakeEngine
from worker.benchmark.drive import Measured, drive
from worker.benchmark.workloads import Shape, custom_items

ITEMS = custom_items(Shape(prompt=(20, 30), output=(4, 9), shared_prefix=16), 12, 250, seed=3)


async def measure(rate: float | None = None) -> Measured:
    engine = AsyncEngine(FakeEngine(num_blocks=256).core)
    engine.start()
    try:
        return await drive(engine, ITEMS, rate=rate)
    finally:
        await engine.close()


async def test_every_token_is_counted_and_timed() -> None:
    measured = await measure()
    num_output = sum(item.num_output_tokens for item in ITEMS)
    assert measured.output_tokens == num_output
    assert measured.prompt_tokens == sum(len(item.prompt_token_ids) for item in ITEMS)
    assert len(measured.first_token_s) == len(measured.end_to_end_s) == len(ITEMS)
    assert len(measured.between_tokens_s) == num_output - len(ITEMS)
    assert measured.cached_tokens >= 16 * 8
    pairs = zip(measured.first_token_s, measured.end_to_end_s, strict=True)
    assert all(0 < first < end <= measured.wall_s for first, end in pairs)


async def test_a_rate_spreads_the_arrivals() -> None:
    measured = await measure(rate=100.0)
    assert measured.wall_s > 0.05  # eleven gaps of 10 ms on average
    assert max(measured.end_to_end_s) < measured.wall_s
    assert measured.wall_s == pytest.approx((await measure(rate=100.0)).wall_s, rel=0.5)
