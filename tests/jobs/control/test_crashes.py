"""A control plane that is killed at every single one of its calls to Redis, before or after the
call takes effect: every line of the batch still ends in exactly one result."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.control.look import Look
from jobs.redis_calls import RedisCalls
from tests.jobs.conftest import fake_client
from tests.jobs.endpoint import WORK, Endpoint, line, lines, make_endpoint

NUM_LINES = 3
IDS = sorted([*(f"r{n}" for n in range(NUM_LINES)), "bad"])


class KilledError(BaseException):
    """No handler of the program's own sees it, as none would see a SIGKILL."""


class Killer:
    """Kills at the `at`-th call from now. `num_calls` counts those that were seen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, is_after: bool) -> None:
        self.at: int | None = None
        self.num_calls = 0
        patiently = RedisCalls._patiently

        async def counting(calls: RedisCalls, make: Callable[[], Awaitable[Any]]) -> Any:
            if self.at is None:
                return await patiently(calls, make)
            is_fatal = self.num_calls == self.at
            self.num_calls += 1
            if is_fatal and not is_after:
                raise KilledError
            result = await patiently(calls, make)
            if is_fatal:
                raise KilledError
            return result

        monkeypatch.setattr(RedisCalls, "_patiently", counting)


async def work_off(endpoint: Endpoint, killer: Killer) -> None:
    """Do what looks say, and be the worker; a kill is followed by a new process."""
    for _ in range(60):
        look = Look(endpoint.control)
        armed, killer.at = killer.at, None
        await endpoint.answer(await endpoint.take())
        killer.at = armed
        try:
            steps = await look.steps()
            for needed in steps:
                await WORK[needed.kind](endpoint.control, needed.batch_id)
            if not steps and not await endpoint.control.batches.open_ids():
                return
        except KilledError:
            killer.at = None
            endpoint.control.stores.clear()
    raise AssertionError("the batch does not end")


async def live(folder: Path, killer: Killer, at: int, *, is_cancelled: bool) -> None:
    """One batch from its order to its end, with one kill."""
    redis = fake_client()
    endpoint = make_endpoint(redis, folder)
    data = lines(NUM_LINES) + line("bad", body={"temperature": 99})
    batch_id = await endpoint.order(await endpoint.upload(data))
    if is_cancelled:
        await endpoint.client.post(f"/v1/batches/{batch_id}/cancel")
    killer.at, killer.num_calls = at, 0
    await work_off(endpoint, killer)
    killer.at = None
    batch = await endpoint.batch(batch_id)
    output = await endpoint.content(batch.output_file_id)
    errors = await endpoint.content(batch.error_file_id)
    assert sorted(row["custom_id"] for row in [*output, *errors]) == IDS, f"killed at {at}"
    assert batch.status == ("cancelled" if is_cancelled else "completed")
    assert batch.request_counts.total == len(IDS)
    assert batch.request_counts.completed == len(output)
    listed = (await endpoint.client.get("/v1/files?purpose=batch_output")).json()["data"]
    assert len(listed) == bool(output) + bool(errors), "no file is there twice"
    await endpoint.client.aclose()
    endpoint.control.thread.shutdown()
    await redis.aclose()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_after", "is_cancelled"),
    [(False, False), (True, True)],
    ids=["before-run", "after-cancelled"],
)
def test_a_kill_at_any_call_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool, is_cancelled: bool
) -> None:
    killer = Killer(monkeypatch, is_after=is_after)
    asyncio.run(live(tmp_path / "none", killer, 10**9, is_cancelled=is_cancelled))
    num_calls = killer.num_calls
    assert num_calls > 20
    for at in range(num_calls):
        asyncio.run(live(tmp_path / str(at), killer, at, is_cancelled=is_cancelled))
