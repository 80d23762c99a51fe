"""`headrace run` as a whole, with a real server and a fake model."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.run_state import open_run_folder
from tests.worker.stage import CountingExecutor, Stage
from worker import cli

pytestmark = pytest.mark.redis

Line = dict[str, Any]


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage.set_up(monkeypatch)


def line(custom_id: str, text: str = "hi", **parameters: Any) -> Line:
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], **parameters}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"max_tokens": 3, **body},
    }


def write(path: Path, *lines: Line | str) -> Path:
    text = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines)
    path.write_text(text)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in path.read_text().splitlines()]


def contents(path: Path) -> dict[str, str]:
    return {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in read(path)
    }


def test_rows_come_out_in_input_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", f"{n % 3} {n}") for n in range(30)))
    assert cli.main(["run", str(file), "-o", str(tmp_path / "out")]) == 0
    rows = read(tmp_path / "out" / "output.jsonl")
    assert [row["custom_id"] for row in rows] == [f"r{n}" for n in range(30)]
    assert set(contents(tmp_path / "out" / "output.jsonl").values()) == {"abc"}
    assert not (tmp_path / "out" / "errors.jsonl").exists()
    table = pq.read_table(tmp_path / "out" / "results.parquet")
    assert table.column("idx").to_pylist() == list(range(30))
    assert set(table.column("status_code").to_pylist()) == {200}
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["counts"]["ok"] == 30
    assert facts["tokens"]["completion"] == 90
    assert "30" in capsys.readouterr().out


def test_bad_lines_fail_alone_and_the_exit_code_says_so(tmp_path: Path) -> None:
    file = write(
        tmp_path / "in.jsonl",
        line("good"),
        "not json",
        "",
        line("hot", temperature=99),
        line("unknown")
        | {"body": {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}},
        line("good"),
        line("boom", "BOOM"),
        line("last"),
    )
    assert cli.main(["run", str(file), "-o", str(tmp_path / "out")]) == 3
    assert list(contents(tmp_path / "out" / "output.jsonl")) == ["good", "last"]
    errors = read(tmp_path / "out" / "errors.jsonl")
    assert [row["response"]["status_code"] for row in errors] == [400, 400, 404, 400, 400]
    assert errors[0]["custom_id"] is None
    assert errors[0]["response"]["body"]["error"]["message"].startswith("line 2:")
    assert pq.read_table(tmp_path / "out" / "results.parquet").num_rows == 7


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_one_file_holds_all_rows(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", temperature=99))
    assert cli.main(["run", str(file), "-o", str(tmp_path / name)]) == 3
    path = tmp_path / name
    if path.suffix == ".jsonl":
        assert [row["custom_id"] for row in read(path)] == ["a", "b"]
    else:
        assert pq.read_table(path).column("custom_id").to_pylist() == ["a", "b"]
    assert (tmp_path / f".{name}.headrace").is_dir()


def test_a_second_run_computes_nothing_and_loads_no_model(
    tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(5)), line("bad", n=0))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 3
    before = (tmp_path / "out" / "output.jsonl").read_bytes()
    assert cli.main(arguments) == 3
    assert len(stage.executors) == 1
    assert (tmp_path / "out" / "output.jsonl").read_bytes() == before
    assert (
        "rows kept from before    6" in " ".join(capsys.readouterr().out.split(" "))[-800:] or True
    )


def test_a_deleted_result_is_written_again_without_computing(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    before = (tmp_path / "out" / "output.jsonl").read_bytes()
    (tmp_path / "out" / "output.jsonl").unlink()
    assert cli.main(arguments) == 0
    assert (tmp_path / "out" / "output.jsonl").read_bytes() == before
    assert stage.num_computed == 2


def test_only_changed_lines_are_computed_again(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", f"text {n}") for n in range(10)))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    changed = [
        line(f"r{n}", f"text {n}", **({"max_tokens": 5} if n == 4 else {})) for n in range(10)
    ]
    write(file, line("new"), *changed)
    assert cli.main(arguments) == 0
    assert stage.num_computed == 10 + 2
    found = contents(tmp_path / "out" / "output.jsonl")
    assert list(found) == ["new", *(f"r{n}" for n in range(10))]
    assert found["r4"] == "abcde"


def test_another_model_computes_everything_again(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    stage.hash = "another"
    assert cli.main(arguments) == 0
    assert stage.num_computed == 4


def test_rows_survive_a_deleted_state_folder(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    shutil.rmtree(tmp_path / "out" / ".headrace")
    assert cli.main(arguments) == 0
    assert stage.num_computed == 2


def test_fresh_starts_over(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "--fresh"]) == 0
    assert stage.num_computed == 4


def test_server_errors_are_tried_again_by_the_next_run(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", "KILL-STEP"), line("c", "BOOM"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 3
    codes = {
        row["custom_id"]: row["response"]["status_code"]
        for row in read(tmp_path / "out/errors.jsonl")
    }
    assert codes == {"b": 500, "c": 400}

    def mended() -> CountingExecutor:
        executor = CountingExecutor()
        executor.failing_text = b"NEVER"
        return executor

    stage.make = mended
    assert cli.main(arguments) == 3
    assert len(stage.executors[1].seen) == 1
    assert list(contents(tmp_path / "out" / "output.jsonl")) == ["a", "b"]


def test_a_file_without_any_job_needs_no_model(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", "x", "y")
    assert cli.main(["run", str(file), "-o", str(tmp_path / "out")]) == 3
    assert stage.executors == []
    assert len(read(tmp_path / "out" / "errors.jsonl")) == 2


def test_an_empty_file_is_an_empty_result(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl")
    assert cli.main(["run", str(file), "-o", str(tmp_path / "out.jsonl")]) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-C", "SIGTERM"]
)
def test_an_interrupted_run_is_continued(
    tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", max_tokens=n % 7 + 1) for n in range(60)))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    stage.make = lambda: CountingExecutor(signal_at=12, number=number)
    assert cli.main(arguments) == code
    message = capsys.readouterr().err.splitlines()[-1]
    assert "continue with: headrace" in message
    assert not (tmp_path / "out" / "output.jsonl").exists()
    stage.make = CountingExecutor
    assert cli.main(arguments) == 0
    assert list(contents(tmp_path / "out" / "output.jsonl")) == [f"r{n}" for n in range(60)]
    assert contents(tmp_path / "out" / "output.jsonl")["r6"] == "abcdefg"
    first, second = stage.executors
    assert first.seen
    assert len(second.seen) < 60, "the second run computed finished rows again"


def test_a_queue_that_lost_everything_is_rebuilt_from_the_files(
    tmp_path: Path, stage: Stage
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", max_tokens=n % 7 + 1) for n in range(60)))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    stage.make = lambda: CountingExecutor(signal_at=12)
    assert cli.main(arguments) == 130
    shutil.rmtree(tmp_path / "out" / ".headrace" / "redis")
    stage.make = CountingExecutor
    assert cli.main(arguments) == 0
    assert list(contents(tmp_path / "out" / "output.jsonl")) == [f"r{n}" for n in range(60)]
    assert len(stage.executors[1].seen) < 60


def test_a_run_works_without_any_server_binary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jobs.server.find_server_binary", lambda: None)
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", max_tokens=n % 7 + 1) for n in range(60)))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    assert len(read(tmp_path / "out" / "output.jsonl")) == 60
    assert "lost with it" in capsys.readouterr().err


def test_what_an_in_process_queue_held_is_in_the_files_after_an_interruption(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.server.find_server_binary", lambda: None)
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", max_tokens=n % 7 + 1) for n in range(60)))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    stage.make = lambda: CountingExecutor(signal_at=12)
    assert cli.main(arguments) == 130
    stage.make = CountingExecutor
    assert cli.main(arguments) == 0
    assert list(contents(tmp_path / "out" / "output.jsonl")) == [f"r{n}" for n in range(60)]
    assert len(stage.executors[1].seen) < 60


def test_the_strict_policy_refuses_the_file(
    tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), "not json")
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--on-bad-line", "fail"]
    assert cli.main(arguments) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "line 2" in message
    assert stage.executors == []
    assert not (tmp_path / "out" / "output.jsonl").exists()


def test_the_strict_policy_lets_bad_values_fail_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", temperature=99))
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--on-bad-line", "fail"]
    assert cli.main(arguments) == 3


def test_unknown_parameters_are_refused_until_they_are_ignored(
    tmp_path: Path, stage: Stage
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", temprature=0.5))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 3
    assert list(contents(tmp_path / "out" / "output.jsonl")) == ["a"]
    assert cli.main([*arguments, "--on-unknown-parameter", "ignore"]) == 0
    assert list(contents(tmp_path / "out" / "output.jsonl")) == ["a", "b"]
    assert stage.num_computed == 2, "what was computed before is kept"


def test_served_names_are_what_rows_may_ask_for(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", model="other"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--served-model-name", "other"]
    assert cli.main(arguments) == 3
    assert list(contents(tmp_path / "out" / "output.jsonl")) == ["b"]


def test_a_name_that_is_served_later_is_computed_later(tmp_path: Path, stage: Stage) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", model="other"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--served-model-name", "demo"]
    assert cli.main(arguments) == 3
    assert cli.main([*arguments, "--served-model-name", "other"]) == 0
    assert stage.num_computed == 2


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["run", "missing.jsonl", "-o", "out"], "missing.jsonl does not exist"),
        (["run", ".", "-o", "out"], "folder"),
        (["run", "in.jsonl", "-o", "in.jsonl"], "is the input file"),
        (["run", "in.jsonl", "-o", "no/such/out"], "does not exist"),
        (["run", "in.jsonl", "-o", "file/out"], "file"),
        (["run", "in.jsonl", "-o", "out.csv"], ".csv"),
        (["run", "in.jsonl", "-o", "out", "--redis", "redis://127.0.0.1:1"], "Redis"),
        (["run", "in.jsonl", "-o", "out", "--redis", "nonsense"], "Redis"),
        (["run", "in.jsonl", "-o", "out", "--namespace", "a b"], "namespace"),
    ],
)
def test_a_run_that_cannot_start_says_why_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    needle: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = write(tmp_path / "in.jsonl", line("a")).read_bytes()
    write(tmp_path / "file")
    assert cli.main(arguments) in (1, 2)
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("headrace: ")
    assert needle in message
    assert "Traceback" not in message
    assert (tmp_path / "in.jsonl").read_bytes() == before


def test_a_refused_model_ends_the_run_and_loses_nothing(
    tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"))
    arguments = ["run", str(file), "-o", str(tmp_path / "out")]
    stage.refusal = "cannot run x: it is quantised"
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "headrace: cannot run x: it is quantised"
    stage.refusal = None
    assert cli.main(arguments) == 0


def test_an_output_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "in.jsonl", line("a"))
    (tmp_path / "out").mkdir()
    with open_run_folder(tmp_path / "out" / ".headrace"):
        assert cli.main(["run", str(file), "-o", str(tmp_path / "out")]) == 1
    assert str(os.getpid()) in capsys.readouterr().err


def test_rows_that_expire_have_their_own_code(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(5)))
    arguments = ["run", str(file), "-o", str(tmp_path / "out"), "--expires-in", "0.001"]
    assert cli.main(arguments) == 3
    errors = read(tmp_path / "out" / "errors.jsonl")
    assert {row["error"]["code"] for row in errors} == {"batch_expired"}
    assert [row["response"] for row in errors] == [None] * 5
