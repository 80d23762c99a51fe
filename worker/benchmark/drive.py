"""Work items through an engine, with the times of every token.

Owns: arrivals and clocks. Must not know: how the engine came to be, how results are shown.
"""

import asyncio
import os
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from time import monotonic

from engine.async_engine import AsyncEngine
from engine.request import Request, SamplingParams, StopRules
from worker.benchmark.workloads import WorkItem

__all__ = ["Measured", "drive"]


@dataclass(slots=True)
class TokenClock:
    """When each token of a request came; stands where a stop matcher would, and never stops it."""

    times_s: list[float] = field(default_factory=list)
    text: str = ""
    stop_string: None = None

    def append(self, token_id: int) -> bool:
        """Take down the time of one more token."""
        self.times_s.append(monotonic())
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a workload. Lists are seconds: one entry for each request, `between_tokens_s` one
    for each token but the first. Cores are averages over the run, of this process and all others.
    """

    wall_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    num_preemptions: int
    first_token_s: list[float]
    between_tokens_s: list[float]
    end_to_end_s: list[float]
    own_cores: float
    foreign_cores: float


async def drive(
    engine: AsyncEngine, items: list[WorkItem], *, rate: float | None = None, seed: int = 0
) -> Measured:
    """Run every item to its forced length and wait for all.

    Without `rate` (requests per second, Poisson arrivals) all arrive at once. Times count from a
    request's arrival. The engine is started and idle. Raises EngineError.
    """
    before = engine.stats()
    offsets_s = _arrivals(len(items), rate, Random(seed))
    clocks = [TokenClock() for _ in items]
    busy, own, begun_s = _busy_s(), _own_s(), monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_run(engine, item, clock, begun_s + offset_s))
            for item, clock, offset_s in zip(items, clocks, offsets_s, strict=True)
        ]
    wall_s = monotonic() - begun_s
    own, busy = _own_s() - own, _busy_s() - busy
    after = engine.stats()
    arrivals_s = [task.result() for task in tasks]
    times = [clock.times_s for clock in clocks]
    return Measured(
        wall_s=wall_s,
        prompt_tokens=sum(len(item.prompt_token_ids) for item in items),
        output_tokens=sum(len(each) for each in times),
        cached_tokens=after.prefix_cache_hits - before.prefix_cache_hits,
        num_preemptions=after.num_preemptions - before.num_preemptions,
        first_token_s=[t[0] - at for t, at in zip(times, arrivals_s, strict=True)],
        between_tokens_s=[b - a for t in times for a, b in pairwise(t)],
        end_to_end_s=[t[-1] - at for t, at in zip(times, arrivals_s, strict=True)],
        own_cores=own / wall_s,
        foreign_cores=max(0.0, busy - own) / wall_s,
    )


async def _run(engine: AsyncEngine, item: WorkItem, clock: TokenClock, arrival_s: float) -> float:
    await asyncio.sleep(max(0.0, arrival_s - monotonic()))
    request = Request(
        request_id=item.name,
        prompt_token_ids=item.prompt_token_ids,
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(
            max_tokens=item.num_output_tokens, min_tokens=item.num_output_tokens, ignore_eos=True
        ),
        stop_matcher=clock,
        arrival_s=arrival_s,
    )
    await engine.run(request)
    return arrival_s


def _arrivals(count: int, rate: float | None, rng: Random) -> list[float]:
    if rate is None:
        return [0.0] * count
    offsets, now_s = [], 0.0
    for _ in range(count):
        offsets.append(now_s)
        now_s += rng.expovariate(rate)
    return offsets


def _own_s() -> float:
    """CPU seconds of this process."""
    times = os.times()
    return times.user + times.system


def _busy_s() -> float:
    """CPU seconds of every process since the machine started; 0 where the system does not say."""
    try:
        with Path("/proc/stat").open(encoding="ascii") as file:
            ticks = [int(each) for each in file.readline().split()[1:9]]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, soft_irq, steal = ticks
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
