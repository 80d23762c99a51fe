"""A worker process of a chaos run: the real loop, committer, lease keeper and drain.

Owns: the composition, and the engine that dies in the middle of a step. Must not know: who signals
the process from outside.
"""

import asyncio
import time
from collections.abc import Callable

from engine.step import StepPlan, StepResult
from tests.chaos.connecting import connected, upkeeper
from tests.chaos.kill_points import KillPoints
from tests.chaos.lines import FAKE_MODEL, POISON
from tests.chaos.place import Place
from tests.fakes import FakeExecutor
from tests.worker.doubles import BLOCK_SIZE, fake_machine
from worker.machine import Machine
from worker.metrics import WorkerMetrics
from worker.options import EngineOptions, ModelOptions, engine_config
from worker.shutdown import Shutdown
from worker.work import WorkSettings, work

__all__ = ["fake_machine_of", "run_worker"]

_NUM_BLOCKS = 1024


class DyingExecutor(FakeExecutor):
    """Takes its time for each step, may die in any, and dies of every request that says POISON."""

    def __init__(self, points: KillPoints, step_s: float) -> None:
        super().__init__(_NUM_BLOCKS, BLOCK_SIZE)
        self._points = points
        self._step_s = step_s

    def submit(self, plan: StepPlan) -> StepResult:
        self._points.begin()
        for new in plan.new_requests:
            if POISON.encode() in bytes(new.token_ids[: new.num_prompt_tokens]):
                time.sleep(self._step_s)
                self._points.note("poison")
                self._points.die()
        result = super().submit(plan)
        time.sleep(self._step_s)
        self._points.hit("mid-generation")
        return result


def run_worker(place: Place, name: str) -> Callable[[int], Callable[[], int]]:
    """The main function of each incarnation of the worker called `name`."""

    def make(incarnation: int) -> Callable[[], int]:
        def main() -> int:
            asyncio.run(_serve(place, place.points(name, incarnation)))
            return 0

        return main

    return make


async def _serve(place: Place, points: KillPoints) -> None:
    machine, metrics, shutdown = _machine(place, points), WorkerMetrics(place.model), Shutdown()
    with shutdown.handling_signals():
        async with connected(place, points) as connection, asyncio.TaskGroup() as group:
            maintaining = group.create_task(upkeeper(connection).run())
            settings = WorkSettings(lease_s=place.lease_s, drain_s=place.drain_s)
            await work(machine, connection, metrics, shutdown, settings)
            maintaining.cancel()


def fake_machine_of(place: Place, points: KillPoints, names: tuple[str, ...]) -> Machine:
    """The fake engine of this place."""
    executor = DyingExecutor(points, place.step_s)
    return fake_machine(
        executor, names=names, max_num_seqs=place.max_num_seqs, num_blocks=_NUM_BLOCKS
    )


def _machine(place: Place, points: KillPoints) -> Machine:
    if place.model == FAKE_MODEL:
        return fake_machine_of(place, points, (FAKE_MODEL,))
    from worker.loading import load_machine

    engine = EngineOptions(max_num_seqs=place.max_num_seqs, kv_cache_memory_bytes="64MB")
    return load_machine(engine_config(ModelOptions(model=place.model), engine), (place.model,))
