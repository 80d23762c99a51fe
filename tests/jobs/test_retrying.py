import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobs.errors import RedisUnavailableError
from jobs.retrying import Retrying, is_passing

PASSING = [
    RedisConnectionError("refused"),
    RedisTimeoutError("no reply"),
    BusyLoadingError("LOADING"),
    ReadOnlyError("READONLY"),
    ResponseError("CLUSTERDOWN The cluster is down"),
    ResponseError(
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'"
    ),
    OutOfMemoryError("OOM command not allowed"),
    ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    ResponseError("ERR Error running script: @user_script: 5: OOM command not allowed"),
    ConnectionResetError("reset"),
    TimeoutError("late"),
]
LASTING = [
    ResponseError("WRONGTYPE Operation against a key"),
    ResponseError("ERR unknown command"),
    NoScriptError("NOSCRIPT"),
    ValueError("ours"),
    FileNotFoundError("ours"),
]


def failing(*errors: BaseException) -> Callable[[], Awaitable[str]]:
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return pauses


@pytest.mark.parametrize("error", PASSING, ids=repr)
async def test_what_passes_is_waited_for(error: Exception) -> None:
    assert is_passing(error)
    assert await Retrying().call(failing(error, error)) == "done"


@pytest.mark.parametrize("error", LASTING, ids=repr)
async def test_what_lasts_is_raised_at_once(error: Exception) -> None:
    assert not is_passing(error)
    with pytest.raises(type(error)):
        await Retrying().call(failing(error))


async def test_trouble_and_its_end_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    retrying = Retrying()
    assert await retrying.call(failing(*[RedisConnectionError("refused")] * 20)) == "done"
    assert not retrying.is_waiting
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "refused" in caplog.text


async def test_what_goes_well_meanwhile_does_not_end_the_trouble(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without memory is read from, but not written to: that is one trouble, said once."""
    caplog.set_level(logging.INFO)
    retrying = Retrying()
    reads: list[str] = []

    async def read_meanwhile(_seconds: float) -> None:
        assert retrying.is_waiting
        reads.append(await retrying.call(failing()))

    monkeypatch.setattr(asyncio, "sleep", read_meanwhile)
    await retrying.call(failing(*[OutOfMemoryError("OOM command not allowed")] * 5))
    assert reads == ["done"] * 5
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_wait_that_is_given_up_is_not_called_a_success(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    retrying = Retrying()
    with pytest.raises(ResponseError):
        await retrying.call(failing(RedisConnectionError(), ResponseError("WRONGTYPE")))
    assert not retrying.is_waiting
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_pauses_grow_to_a_bound(no_pauses: list[float]) -> None:
    await Retrying().call(failing(*[RedisConnectionError()] * 30))
    assert no_pauses[0] <= 0.02
    assert 0.4 <= no_pauses[-1] <= 1.0
    assert max(no_pauses) <= 1.0


async def test_patience_may_have_an_end() -> None:
    retrying = Retrying(give_up_s=0.0)
    with pytest.raises(RedisUnavailableError, match="refused") as caught:
        await retrying.call(failing(RedisConnectionError("refused")))
    assert isinstance(caught.value.__cause__, RedisError)
