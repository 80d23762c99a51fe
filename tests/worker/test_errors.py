import pytest

from engine.errors import ModelRefusedError
from jobs.errors import InputError
from worker.errors import (
    InterruptedRun,
    RunError,
    SettingsError,
    exit_code_of,
    first_cause,
    sentence_for,
)


def test_first_cause_is_the_telling_leaf_of_a_group() -> None:
    group = BaseExceptionGroup(
        "outer",
        [KeyboardInterrupt(), ExceptionGroup("inner", [RunError("the reason"), ValueError("x")])],
    )
    assert str(first_cause(group)) == "the reason"


def test_first_cause_of_a_plain_error_is_itself() -> None:
    error = RunError("x")
    assert first_cause(error) is error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RunError("no luck"), "no luck"),
        (InputError("the input x cannot be read"), "the input x cannot be read"),
        (ModelRefusedError("cannot run x: why"), "cannot run x: why"),
        (PermissionError(13, "Permission denied", "/x/y"), "/x/y: Permission denied"),
        (TypeError("a bug"), None),
    ],
)
def test_expected_failures_have_a_sentence_and_bugs_have_none(
    error: Exception, sentence: str | None
) -> None:
    assert sentence_for(error) == sentence


def test_redis_failures_are_named() -> None:
    from redis.exceptions import ConnectionError as RedisConnectionError

    assert sentence_for(RedisConnectionError("refused\nhere")) == "Redis: refused here"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("x"), 2),
        (RunError("x"), 1),
        (InterruptedRun("x", signal_number=2), 130),
        (InterruptedRun("x", signal_number=15), 143),
        (ValueError("x"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code
