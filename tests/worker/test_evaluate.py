"""`headrace eval` as a whole, with a real server and a model that answers with a, b, c..."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.worker.test_run import Stage, stage
from worker import cli, evaluate

__all__ = ["stage"]

pytestmark = pytest.mark.redis

ROWS = [
    {"id": "right", "task": "one", "input": "hi", "target": "abc", "tags": ["short"]},
    {"id": "wrong", "task": "one", "input": "ho", "target": "xyz"},
    {"id": "refused", "task": "two", "input": "hm", "target": "abc", "request": {"n": 0}},
]
REQUEST = {"max_tokens": 3, "temperature": 0}


@pytest.fixture(autouse=True)
def known_model(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "resolve_model", lambda *_: Path("/nowhere"))
    monkeypatch.setattr(evaluate, "model_hash", lambda _: stage.hash)


def write(folder: Path, *rows: dict[str, Any], **suite: Any) -> Path:
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows or ROWS)
    (folder / "suite.jsonl").write_text(lines)
    (folder / "suite.yaml").write_text(json.dumps({"name": "letters", "request": REQUEST, **suite}))
    return folder / "suite.yaml"


def run(suite: Path, out: Path, *flags: str) -> int:
    return cli.main(["eval", str(suite), "-o", str(out), *flags])


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_suite_is_run_scored_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(write(tmp_path), out) == 3
    scores = load(out / "scores.json")
    assert (scores["overall"]["right"], scores["overall"]["rows"]) == (1, 3)
    assert scores["overall"]["failed"] == 1
    assert list(scores["tasks"]) == ["one", "two"]
    assert scores["tags"]["short"]["share"] == 1.0
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    assert [row["content"] for row in rows] == ["abc", "abc", None]
    assert rows[1]["reason"] == "wrong text"
    assert "n" in rows[2]["reason"]
    manifest = load(out / "eval.json")
    assert manifest["suite"]["name"] == "letters"
    assert manifest["model"] == {"name": "demo", "hash": "hash"}
    assert sum(manifest["fingerprints"].values()) >= 2
    assert manifest["settings"]["seed"] == 0
    assert "<svg" in (out / "report.html").read_text()
    assert "letters: demo" in (out / "report.md").read_text()
    assert " one " in capsys.readouterr().out


def test_the_same_suite_gives_the_same_rows_twice(tmp_path: Path) -> None:
    suite = write(tmp_path)
    run(suite, tmp_path / "a")
    run(suite, tmp_path / "b")
    first, second = load(tmp_path / "a" / "eval.json"), load(tmp_path / "b" / "eval.json")
    assert first["rows_hash"] == second["rows_hash"]
    assert first["suite"]["hash"] == second["suite"]["hash"]


def test_samples_are_choices_of_one_request(tmp_path: Path, stage: Stage) -> None:
    row = {"id": "a", "input": "hi", "target": "abc", "request": {"temperature": 1}}
    suite = write(tmp_path, row, samples=2)
    out = tmp_path / "out"
    assert run(suite, out, "--samples", "3") == 0
    (sent,) = [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]
    assert sent["body"]["n"] == 3
    assert stage.num_computed == 3
    (scored,) = pq.read_table(out / "scores.parquet").to_pylist()
    assert (scored["samples"], scored["samples_right"]) == (3, 3)
    assert load(out / "scores.json")["overall"]["pass@3"]["share"] == 1.0
    assert load(out / "eval.json")["pass_at"] == [1, 3]


def test_answers_are_kept_for_other_suites_and_folders(tmp_path: Path, stage: Stage) -> None:
    cache = ("--cache", str(tmp_path / "cache"))
    assert run(write(tmp_path / "1"), tmp_path / "a", *cache) == 3
    assert stage.num_computed == 2
    renamed = [{**row, "id": f"new-{row['id']}", "target": "abc"} for row in ROWS]
    assert run(write(tmp_path / "2", *renamed[:2]), tmp_path / "b", *cache) == 0
    assert stage.num_computed == 2
    assert load(tmp_path / "b" / "scores.json")["overall"]["share"] == 1.0
    stage.hash = "other"
    assert run(write(tmp_path / "3", *renamed[:2]), tmp_path / "c", *cache) == 0
    assert stage.num_computed == 4


def test_a_suite_may_be_cut_short(tmp_path: Path, stage: Stage) -> None:
    assert run(write(tmp_path), tmp_path / "out", "--limit", "1") == 0
    assert stage.num_computed == 1
    assert load(tmp_path / "out" / "eval.json")["suite"]["rows"] == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--samples", "200"), "--samples 200: give 1 to 128"),
        (("--pass-at", "2"), "--pass-at 2: there are 1 samples"),
        (("--pass-at", "x"), "--pass-at 'x': give numbers"),
    ],
)
def test_flags_that_cannot_be_are_named(
    tmp_path: Path, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path), tmp_path / "out", *flags) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_evaluations_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = write(tmp_path, *ROWS[:2])
    run(suite, tmp_path / "a")
    run(suite, tmp_path / "b", "--seed", "1", "--max-model-len", "99")
    capsys.readouterr()
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert cli.main(["eval", "compare", *folders, "-o", str(tmp_path / "c")]) == 0
    said = capsys.readouterr().out
    assert "All 2 rows have the same answers." in said
    assert "--seed: 0 -> 1" in said
    assert "--max-model-len: None -> 99" in said
    assert (tmp_path / "c" / "comparison.html").exists()


def test_what_is_no_evaluation_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "compare", str(tmp_path), str(tmp_path)]) == 1
    assert "eval.json cannot be read" in capsys.readouterr().err


def test_the_suite_is_no_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", str(tmp_path / "none.yaml"), "-o", str(tmp_path / "out")]) == 1
    assert "none.yaml" in capsys.readouterr().err
    assert cli.main(["eval"]) == 2
    assert "'--output'" in capsys.readouterr().err
