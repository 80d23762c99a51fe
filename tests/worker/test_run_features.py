"""`headrace run` with a deadline for each job, with --dedupe, and over damaged results."""

import json
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import time

import pyarrow.parquet as pq
import pytest

from jobs.producers.windows import ProducerSettings
from jobs.run_state import RunKind, RunStart, RunState
from tests.worker.test_run import CountingExecutor, Stage, contents, line, read, stage, write
from worker import cli
from worker.file_run import begun_s
from worker.producing import producer_settings

__all__ = ["stage"]  # a fixture

pytestmark = pytest.mark.redis


def columns(folder: Path, *names: str) -> list[tuple[object, ...]]:
    table = pq.read_table(folder / "results.parquet", columns=list(names))
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def test_identical_requests_are_computed_once(tmp_path: Path, stage: Stage) -> None:
    greedy = [line(f"g{n}", temperature=0) for n in range(40)]
    seeded = [line(f"s{n}", seed=7) for n in range(10)]
    by_chance = [line(f"c{n}") for n in range(5)]
    file = write(tmp_path / "in.jsonl", *greedy, *by_chance, *seeded, line("other", seed=8))
    out = tmp_path / "out"
    assert cli.main(["run", str(file), "-o", str(out), "--dedupe"]) == 0
    assert stage.num_computed == 1 + 5 + 1 + 1
    rows = columns(out, "custom_id", "deduped_from")
    assert [custom_id for custom_id, _ in rows] == [
        *(f"g{n}" for n in range(40)),
        *(f"c{n}" for n in range(5)),
        *(f"s{n}" for n in range(10)),
        "other",
    ]
    assert Counter(origin for _, origin in rows) == {None: 8, 0: 39, 45: 9}
    assert set(contents(out / "output.jsonl").values()) == {"abc"}
    ids = [row["id"] for row in read(out / "output.jsonl")]
    assert len(set(ids)) == 56, "each row has an id of its own"


def test_without_the_flag_everything_is_computed(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"g{n}", temperature=0) for n in range(5)))
    assert cli.main(["run", str(file), "-o", str(tmp_path / "out")]) == 0
    assert stage.num_computed == 5


def test_sharing_survives_an_interruption(tmp_path: Path, stage: Stage) -> None:
    twins = [line(f"g{n}", temperature=0, max_tokens=6) for n in range(30)]
    others = [line(f"o{n}", text=f"text {n}", max_tokens=n % 7 + 1) for n in range(60)]
    file = write(tmp_path / "in.jsonl", *twins, *others)
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--dedupe"]
    stage.make = lambda: CountingExecutor(signal_at=9, number=signal.SIGTERM)
    assert cli.main(arguments) == 143
    stage.make = CountingExecutor
    assert cli.main(arguments) == 0
    rows = columns(tmp_path / "out", "custom_id", "deduped_from")
    assert len(rows) == 90
    origins = Counter(origin for custom_id, origin in rows if str(custom_id).startswith("g"))
    assert origins.total() == 30
    assert origins[None] <= 2
    assert set(list(contents(tmp_path / "out" / "output.jsonl").values())[:30]) == {"abcdef"}


def test_a_job_that_is_too_late_expires_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(5)))
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--job-deadline-seconds", "0.001"]
    assert cli.main(arguments) == 3
    errors = read(tmp_path / "out" / "errors.jsonl")
    assert [row["error"]["code"] for row in errors] == ["batch_expired"] * 5


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_a_deadline_must_be_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--job-deadline-seconds", value]
    assert cli.main(arguments) == 2
    assert "--job-deadline-seconds" in capsys.readouterr().err


def test_lines_are_counted_also_when_the_queue_has_them_all(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", max_tokens=6) for n in range(20)), "")
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    stage.make = lambda: CountingExecutor(signal_at=4)
    assert cli.main(arguments) == 130
    stage.make = CountingExecutor
    assert cli.main(arguments) == 0
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["input"]["lines"] == 21


@pytest.mark.parametrize("loss", ["damaged", "removed"])
@pytest.mark.parametrize("are_results_there", [True, False])
def test_a_finished_run_whose_parts_are_lost_is_put_right(
    tmp_path: Path, stage: Stage, loss: str, are_results_there: bool
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(6)))
    out = tmp_path / "out"
    arguments = ["run", str(file), "-o", str(out)]
    assert cli.main(arguments) == 0
    (generation,) = (out / ".headrace").glob("generation-*")
    if loss == "removed":
        shutil.rmtree(generation)
    else:
        for part in generation.glob("part-*.parquet"):
            part.write_bytes(b"PAR1" + part.read_bytes()[4:-20])
    if not are_results_there:
        for name in ("results.parquet", "output.jsonl"):
            (out / name).unlink()
    assert cli.main(arguments) == 0
    assert list(contents(out / "output.jsonl")) == [f"r{n}" for n in range(6)]
    assert len(columns(out, "idx")) == 6
    assert stage.num_computed == (6 if are_results_there else 12)


@pytest.mark.slow
def test_identical_requests_far_apart_are_computed_once(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further than the queue remembers answers."""

    def small_windows(*args: object, **options: object) -> ProducerSettings:
        return replace(producer_settings(*args, **options), window_lines=100)

    monkeypatch.setattr("worker.run_plan.producer_settings", small_windows)
    distinct = [line(f"d{n}", text=f"text {n}", temperature=0) for n in range(1_200)]
    again = [line(f"a{n}", text=f"text {n}", temperature=0) for n in range(5)]
    file = write(tmp_path / "in.jsonl", *distinct, *again)
    out = tmp_path / "out"
    assert cli.main(["run", str(file), "-o", str(out), "--dedupe"]) == 0
    assert stage.num_computed == 1_200
    rows = columns(out, "idx", "custom_id", "deduped_from")
    assert [row[:2] for row in rows[1_200:]] == [(1_200 + n, f"a{n}") for n in range(5)]
    origins = [row[2] for row in rows]
    pairs = [(origins[n], origins[1_200 + n]) for n in range(5)]
    assert all(pair in ((None, n), (1_200 + n, None)) for n, pair in enumerate(pairs))


def test_a_batch_that_is_announced_again_keeps_its_window() -> None:
    state = RunState(
        batch_id="b",
        generation=1,
        input_path="x",
        input_sha256="",
        engine_identity="",
        started_at="2026-11-22T10:00:00Z",
    )
    assert begun_s(RunStart(kind=RunKind.CONTINUED, state=state)) == 1_795_341_600
    assert abs(begun_s(RunStart(kind=RunKind.NEW, state=state)) - time()) < 60
