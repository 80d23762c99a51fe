from dataclasses import replace
from pathlib import Path

import pytest

from jobs.queue import BatchState, BatchStatus
from worker.continuation import farewell, unknown_farewell
from worker.options import (
    BatchOptions,
    EngineOptions,
    ModelOptions,
    QueueOptions,
    ServiceOptions,
)
from worker.settings import RunSettings, ServiceSettings


@pytest.fixture
def settings() -> RunSettings:
    return RunSettings(
        file=Path("my file.jsonl"),
        output="redis",
        fresh=False,
        batch=BatchOptions(dedupe=True, job_deadline_seconds=90),
        process=ServiceSettings(
            model=ModelOptions(model="org/model", served_model_name=["one", "two"]),
            engine=EngineOptions(),
            queue=QueueOptions(redis="redis://host:6379/0", namespace="team"),
            service=ServiceOptions(),
            blobs="s3://bucket/bodies",
        ),
        resume_command="headrace run 'my file.jsonl' -o redis",
    )


def status(total: int | None, **more: bool) -> BatchStatus:
    return BatchStatus(
        batch_id="b",
        state=BatchState.IN_PROGRESS,
        total=total,
        num_enqueued=40,
        num_ok=3,
        num_err=0,
        num_cancelled=0,
        num_expired=0,
        num_outbox=3,
        tenant="default",
        sink="redis",
        created_at_ms=0,
        expires_at_ms=None,
        **more,
    )


PLACE = "--redis redis://host:6379/0 --namespace team --blobs s3://bucket/bodies"
WORKER = f"headrace worker {PLACE} --model org/model --served-model-name one --served-model-name "
ENQUEUE = (
    f"headrace enqueue 'my file.jsonl' --batch-id b -o redis {PLACE} --dedupe "
    "--job-deadline-seconds 90"
)


def test_what_was_sent_needs_a_worker_only(settings: RunSettings) -> None:
    sentence = farewell(settings, "b", status(40))
    assert sentence.endswith(f"continue with: {WORKER}two")


@pytest.mark.parametrize("now", [status(None), status(40, is_cut_short=True)])
def test_lines_that_were_not_sent_are_not_forgotten(
    settings: RunSettings, now: BatchStatus
) -> None:
    sentence = farewell(settings, "b", now)
    assert "with the 40 lines that were sent" in sentence
    assert WORKER in sentence
    assert sentence.endswith(ENQUEUE)


def test_a_batch_that_redis_has_lost_is_not_promised(settings: RunSettings) -> None:
    sentence = farewell(settings, "b", None)
    assert "has lost batch b" in sentence
    assert sentence.endswith(settings.resume_command)


def test_nothing_is_promised_of_a_server_that_does_not_answer(settings: RunSettings) -> None:
    sentence = unknown_farewell(settings, "b")
    assert "if it still knows batch b" in sentence
    assert WORKER in sentence
    assert sentence.endswith(ENQUEUE)


def test_commands_repeat_what_changes_the_lines_but_no_password(settings: RunSettings) -> None:
    batch = replace(settings.batch, on_unknown_parameter="ignore")
    queue = replace(settings.process.queue, redis="redis://:secret@host:6379/0")
    process = replace(settings.process, queue=queue)
    sentence = farewell(replace(settings, batch=batch, process=process), "b", status(None))
    assert "secret" not in sentence
    assert "@host:6379/0" in sentence
    assert sentence.endswith("--on-unknown-parameter ignore")
