import asyncio
import gc
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from engine.errors import ModelRefusedError
from tests.worker.library.conftest import Stage
from worker import loading, local_jobs
from worker.library.engine import Engine
from worker.library.errors import HeadraceError

TABLE = pa.table({"name": ["a", "b", "c"], "text": ["one", "two", "three"], "n": [3, 1, 2]})

FRAMES: dict[str, Callable[[], Any]] = {
    "pyarrow table": lambda: TABLE,
    "record batch": lambda: TABLE.to_batches()[0],
    "reader": TABLE.to_reader,
    "pandas": TABLE.to_pandas,
    "polars": lambda: pl.DataFrame(TABLE.to_pydict()),
    "duckdb": lambda: duckdb.sql("SELECT * FROM TABLE_"),
}
TABLE_ = TABLE


def wait_until_idle(engine: Engine) -> None:
    """The engine has no request left, and no block of its cache is in use."""
    limit_s = monotonic() + 10
    core = engine._machine.engine
    while not (core.is_idle and core.stats().kv_cache_usage == 0 and not core.stats().num_running):
        assert monotonic() < limit_s, core.stats()
        sleep(0.01)


@pytest.mark.parametrize("kind", FRAMES)
def test_tables_of_all_kinds_come_back_with_answers_in_their_order(
    engine: Engine, kind: str
) -> None:
    answers = engine.run(FRAMES[kind](), prompt_column="text", max_tokens=3, columns=["n", "name"])
    assert isinstance(answers, pa.Table)
    assert answers.column_names[:3] == ["n", "name", "content"]
    assert answers.select(["n", "name", "content", "status_code"]).to_pydict() == {
        "n": [3, 1, 2],
        "name": ["a", "b", "c"],
        "content": ["abc"] * 3,
        "status_code": [200] * 3,
    }


def test_every_frame_reads_the_answers(engine: Engine) -> None:
    given = {"prompt_column": "text", "max_tokens": 2}
    assert engine.run(TABLE, **given).to_pandas()["content"].tolist() == ["ab"] * 3
    assert pl.DataFrame(engine.run(TABLE, **given))["content"].to_list() == ["ab"] * 3
    answers = engine.run(TABLE, **given)
    found = duckdb.sql("SELECT sum(n)::INT FROM answers WHERE content = 'ab'").fetchall()
    assert found == [(6,)]
    assert answers.num_rows == 3


def test_the_stream_of_answers_is_an_arrow_stream(engine: Engine) -> None:
    frame = pl.DataFrame(engine.stream(TABLE, prompt_column="text", max_tokens=1))
    assert sorted(frame["name"]) == ["a", "b", "c"]
    table = pa.table(engine.stream(TABLE, prompt_column="text", max_tokens=1))
    assert table.num_rows == 3


def test_requests_are_texts_bodies_and_lines(engine: Engine) -> None:
    messages = [{"role": "user", "content": "hi"}]
    answers = engine.run(
        [
            "hi",
            {"messages": messages, "max_tokens": 5},
            {"prompt": "hi"},
            {"custom_id": "mine", "method": "POST", "url": "/v1/chat/completions",
             "body": {"model": "demo", "messages": messages}},
        ],
        system="Be brief.",
        max_tokens=2,
        temperature=0,
    )  # fmt: skip
    assert answers["custom_id"].to_pylist() == ["0", "1", "2", "mine"]
    assert answers["content"].to_pylist() == ["ab", "abcde", "ab", "ab"]
    prompts = answers["prompt_tokens"].to_pylist()
    assert prompts[0] == len("system: Be brief.\nuser: hi\nassistant: ")
    objects = [json.loads(text)["object"] for text in answers["response_json"].to_pylist()]
    assert objects == ["chat.completion"] * 2 + ["text_completion", "chat.completion"]


def test_what_is_wrong_with_a_row_is_in_its_row(engine: Engine) -> None:
    bad = [
        "fine",
        {"messages": []},
        {"messages": [{"role": "user", "content": "BOOM"}]},
        {"model": "other", "messages": [{"role": "user", "content": "x"}]},
        7,
        {"messages": [{"role": "user", "content": "x"}], "temperature": 99},
    ]
    answers = engine.run(bad, max_tokens=1)
    assert answers["status_code"].to_pylist() == [200, 400, 400, 404, 400, 400]
    assert all(answers["error_message"].to_pylist()[1:])
    table = pa.table({"text": ["fine", None]})
    answers = engine.run(table, prompt_column="text", max_tokens=1)
    assert answers["error_code"].to_pylist() == [None, "invalid_prompt"]


def test_answers_with_a_schema_are_typed(engine: Engine, stage: Stage) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    answers = engine.run(TABLE, prompt_column="text", schema=schema, result_prefix="x_")
    assert answers.schema.field("x_answer").type == pa.struct([("a", pa.int64())])
    assert "x_content" in answers.column_names


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (TABLE, {}, "name the column"),
        (TABLE, {"prompt_column": "txt"}, "'txt' is not in the table"),
        (TABLE, {"prompt_column": "n"}, "'n' holds int64"),
        (TABLE, {"prompt_column": "text", "columns": ["x"]}, "'x'"),
        (TABLE, {"prompt_column": "text", "id_column": "x"}, "the id column 'x'"),
        (TABLE, {"prompt_column": "text", "temperature": 9}, "temperature"),
        (TABLE, {"template": "{{ nope }}"}, "nope"),
        (TABLE, {"prompt_column": "text", "schema": Path("nowhere.json")}, "nowhere.json"),
        (TABLE, {"prompt_column": "text", "max_token": 3}, "did you mean max_tokens"),
        (["x"], {"prompt_column": "text"}, "prompt_column is a setting for tables"),
        ("x", {}, "put a single request into a list"),
        (5, {}, "a int is neither a table nor"),
        (pl.Series(["x"]), {"prompt_column": "text"}, "Series cannot be read as a table"),
        ([{"messages": object()}], {}, "request 0 cannot be written as JSON"),
        (["\ud800"], {}, "request 0 cannot be written as JSON"),
    ],
)
def test_what_is_wrong_with_a_call_is_one_clear_error(
    engine: Engine, data: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(HeadraceError, match=message):
        engine.run(data, **settings)


def test_a_model_that_cannot_run_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ModelRefusedError("no such layer")

    monkeypatch.setattr(loading, "load_machine", refuse)
    with pytest.raises(HeadraceError, match="no such layer"):
        Engine()
    with pytest.raises(HeadraceError, match="did you mean max_num_seqs"):
        Engine(max_num_seq=3)  # type: ignore[call-arg]
    with pytest.raises(HeadraceError, match="block_size=0: it must be at least 1"):
        Engine(block_size=0)
    with pytest.raises(HeadraceError, match="dtype='int3'"):
        Engine(dtype="int3")  # type: ignore[arg-type]


def test_answers_come_while_others_are_computed(engine: Engine, stage: Stage) -> None:
    requests = [{"messages": [{"role": "user", "content": "x"}], "max_tokens": n} for n in (1, 200)]
    results = engine.stream(requests)
    first = next(results)
    assert first["idx"].to_pylist()[0] == 0
    assert sum(batch.num_rows for batch in results) + first.num_rows == 2
    assert list(results) == []


@pytest.mark.parametrize("way", ["close", "with", "drop", "error"])
def test_who_leaves_early_ends_the_work(engine: Engine, stage: Stage, way: str) -> None:
    requests = [f"request {number}" for number in range(500)]
    results = engine.stream(requests, max_tokens=100)
    next(results)
    if way == "close":
        results.close()
        assert list(results) == []
    elif way == "with":
        with results:
            pass
    elif way == "drop":
        del results
        gc.collect()
    else:
        with pytest.raises(ZeroDivisionError), results:
            1 / 0  # noqa: B018
    wait_until_idle(engine)
    assert len(stage.executor.seen) < 400
    assert engine.run(["still there"], max_tokens=2)["content"].to_pylist() == ["ab"]


def test_ctrl_c_ends_the_work(engine: Engine, stage: Stage) -> None:
    stage.executor.signal_at = 40
    with pytest.raises(KeyboardInterrupt):
        engine.run([f"request {number}" for number in range(500)], max_tokens=100)
    wait_until_idle(engine)
    assert len(stage.executor.seen) < 400


def test_answers_come_though_nobody_holds_the_engine_any_more(stage: Stage) -> None:
    results = Engine().stream(["x", "y"], max_tokens=2)
    gc.collect()
    assert results.table()["content"].to_pylist() == ["ab", "ab"]
    del results
    gc.collect()
    assert "headrace-engine-calls" not in {thread.name for thread in threading.enumerate()}


def test_an_engine_that_is_dropped_in_the_thread_of_its_calls_ends(stage: Stage) -> None:
    """The garbage collector may run there."""
    engines = [Engine()]
    (thread,) = [each for each in threading.enumerate() if each.name == "headrace-engine-calls"]

    async def drop() -> None:
        engines.clear()

    asyncio.run_coroutine_threadsafe(drop(), engines[0]._portal._loop)
    thread.join(5)
    assert not thread.is_alive()


def test_a_stream_that_nobody_reads_runs_nothing_and_leaves_nothing(
    engine: Engine, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = engine.stream(["x"])
    assert len(list(tmp_path.iterdir())) == 1
    del results
    gc.collect()
    assert not list(tmp_path.iterdir())
    assert not stage.executor.seen
    assert engine.run(["x"], max_tokens=1).num_rows == 1
    assert not list(tmp_path.iterdir())


def test_what_fails_through_no_fault_of_its_own_is_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(local_jobs._RETRIES, first_retry_ms=10, longest_retry_ms=20)
    monkeypatch.setattr(local_jobs, "_RETRIES", quick)
    rows = engine.run(["fine", "KILL-STEP"], max_tokens=2).to_pylist()
    assert rows[0]["content"] == "ab"
    assert (rows[1]["status_code"], rows[1]["attempt"]) == (500, 3)
    earlier = json.loads(rows[1]["attempts_json"])
    assert [each["attempt"] for each in earlier] == [1, 2]
    assert earlier[0]["cause"] == "internal_error"


def test_rows_are_not_computed_twice(stage: Stage, tmp_path: Path) -> None:
    given = {"prompt_column": "text", "id_column": "name", "max_tokens": 3, "resume": tmp_path}
    with Engine() as engine:
        first = engine.run(TABLE, **given)
        assert len(stage.executor.seen) == 3
        more = pa.concat_tables([pa.table({"name": ["z"], "text": ["six"], "n": [9]}), TABLE])
        again = engine.run(more, **given)
        assert len(stage.executor.seen) == 4
        assert again.slice(1).drop(["n"]).equals(first.drop(["n"]))
        changed = TABLE.set_column(1, "text", pa.array(["one", "2", "three"]))
        engine.run(changed, **given)
        assert len(stage.executor.seen) == 5
        engine.run(TABLE, **{**given, "max_tokens": 4})
        assert len(stage.executor.seen) == 8


def test_what_was_computed_before_an_end_is_kept(
    engine: Engine, stage: Stage, tmp_path: Path
) -> None:
    requests = [f"request {number}" for number in range(300)]
    with engine.stream(requests, max_tokens=5, resume=tmp_path) as results:
        num_read = next(results).num_rows
    num_seen = len(stage.executor.seen)
    assert num_read <= num_seen < 300
    answers = engine.run(requests, max_tokens=5, resume=tmp_path)
    assert answers["custom_id"].to_pylist() == [str(number) for number in range(300)]
    assert set(answers["content"].to_pylist()) == {"abcde"}
    most = 300 + stage.max_num_seqs * 3  # those that ran when the first call ended run again
    assert len(stage.executor.seen) - 0 <= most


def test_a_folder_that_cannot_be_written_is_one_clear_error(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HeadraceError, match="cannot create"):
        engine.run(["x"], resume=tmp_path / "file" / "folder")


def test_threads_share_the_engine(engine: Engine) -> None:
    answers: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        texts = [f"{number} {row}" for row in range(40)]
        answers[number] = engine.run(texts, max_tokens=number + 1)["content"].to_pylist()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: ["abcd"[: number + 1]] * 40 for number in range(4)}


def test_a_closed_engine_says_so(stage: Stage) -> None:
    engine = Engine()
    results = engine.stream([f"request {number}" for number in range(300)], max_tokens=200)
    next(results)
    engine.close()
    engine.close()
    with pytest.raises(HeadraceError, match="closed"):
        list(results)
    with pytest.raises(HeadraceError, match="closed"):
        engine.run(["x"])


def test_an_engine_that_dies_fails_the_call(engine: Engine, stage: Stage) -> None:
    def die(_handle: object) -> None:
        raise SystemExit

    stage.executor.collect = die  # type: ignore[method-assign,assignment]
    with pytest.raises(HeadraceError, match="the engine has died"):
        engine.run(["x"])


def test_progress_is_shown_where_it_is_wanted(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.run(["x"], max_tokens=1)
    assert capsys.readouterr().err == ""
    results = engine.stream(["x", "y"], max_tokens=1, progress=True)
    assert results._stream.snapshot.total == 2
    results.table()
    assert capsys.readouterr().err == "headrace: running:\nheadrace: done:\n"


def test_nothing_in_is_nothing_out(engine: Engine) -> None:
    answers = engine.run(TABLE.slice(0, 0), prompt_column="text")
    assert (answers.num_rows, answers.column_names[:4]) == (0, ["name", "text", "n", "content"])
    assert engine.run([]).num_rows == 0


def test_requests_may_be_larger_than_a_queue_takes(engine: Engine) -> None:
    answers = engine.run(["x" * (2 << 20)], max_tokens=1)
    assert answers["error_code"].to_pylist() == ["context_length_exceeded"]


def test_columns_of_pandas_with_missing_texts(engine: Engine) -> None:
    frame = pd.DataFrame({"text": pd.Series(["a", None, "c"], dtype="str")})
    answers = engine.run(frame, prompt_column="text", max_tokens=1)
    assert answers["status_code"].to_pylist() == [200, 400, 200]


def test_signals_are_left_alone(engine: Engine) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    engine.run(["x"], max_tokens=1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert os.environ.get("OMP_WAIT_POLICY") or os.environ.get("GOMP_SPINCOUNT")
