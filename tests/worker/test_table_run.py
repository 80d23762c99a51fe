"""`headrace run` of tables, with a real server and a fake model that answers "abc"."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from tests.worker.stage import CountingExecutor, Stage
from worker import cli

pytestmark = pytest.mark.redis

RESULTS = [
    *("content", "reasoning", "tool_calls", "finish_reason", "status_code", "error_code"),
    *("error_message", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
    *("attempt", "model", "fingerprint", "request_hash"),
]


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage.set_up(monkeypatch)


def table_of(num_rows: int, **columns: Any) -> pa.Table:
    texts = [f"{n % 3} question {n}" for n in range(num_rows)]
    return pa.table({"id": range(num_rows), "text": texts, **columns})


def run(*arguments: object) -> int:
    return cli.main(["run", *map(str, arguments), "--max-tokens", "3"])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_a_parquet_table_gets_its_answers_beside_its_rows(tmp_path: Path) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(30, tag=["x"] * 30), file)
    assert run(file, "-o", out, "--prompt-column", "text", "--columns", "id,text") == 0
    table = pq.read_table(out)
    assert table.column_names == ["id", "text", *RESULTS]
    assert table.select(["id", "text"]).equals(pq.read_table(file, columns=["id", "text"]))
    rows = table.to_pylist()
    assert {(row["content"], row["status_code"], row["completion_tokens"]) for row in rows} == {
        ("abc", 200, 3)
    }
    assert {row["finish_reason"] for row in rows} == {"length"}
    assert {row["fingerprint"] for row in rows} == {"fp_fake"}
    assert table.schema.field("prompt_tokens").type == pa.int32()


def test_the_schema_metadata_says_which_model_and_settings_made_the_table(tmp_path: Path) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(2), file)
    run(file, "-o", out, "--prompt-column", "text", "--system", "Be brief.", "--temperature", "0")
    facts = json.loads(pq.read_schema(out).metadata[b"headrace.run"])
    assert facts["model"] == "demo"
    assert facts["model_hash"] == "hash"
    assert facts["fingerprint"] == "fp_fake"
    assert facts["input_path"] == str(file)
    assert facts["settings"]["max_num_seqs"] == 256
    asked = facts["settings"]["table"]
    assert asked["system"] == "Be brief."
    assert asked["parameters"] == {"max_tokens": 3, "temperature": 0.0}
    assert "torch" in facts["versions"]


def test_the_requests_say_what_the_flags_say(tmp_path: Path) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["four"]}), file)
    assert run(file, "-o", out, "--prompt-column", "text", "--system", "sys") == 0
    (row,) = pq.read_table(out).to_pylist()
    # The fake template writes "role: content" lines, one token a byte.
    assert row["prompt_tokens"] == len("system: sys\nuser: four\nassistant: ")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".arrow", ".feather", ".parquet"])
def test_every_format_comes_in_and_goes_out(tmp_path: Path, suffix: str) -> None:
    table = table_of(5, name=["a,b", 'say "x"', "two\nlines", None, "é"])
    file, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write(table, file)
    assert run(file, "-o", out, "--prompt-column", "text") == 0
    written = read(out)
    assert [row["id"] for row in written] == [0, 1, 2, 3, 4]
    assert [row["name"] for row in written] == table.column("name").to_pylist()
    assert {row["content"] for row in written} == {"abc"}


def write(table: pa.Table, path: Path) -> None:
    match path.suffix:
        case ".csv":
            pacsv.write_csv(table, path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        case ".arrow" | ".feather":
            feather.write_feather(table, path)
        case ".parquet":
            pq.write_table(table, path)


def read(path: Path) -> list[dict[str, Any]]:
    match path.suffix:
        case ".csv":
            options = pacsv.ParseOptions(newlines_in_values=True)
            convert = pacsv.ConvertOptions(
                strings_can_be_null=True, quoted_strings_can_be_null=False
            )
            return pacsv.read_csv(path, parse_options=options, convert_options=convert).to_pylist()
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        case ".arrow" | ".feather":
            return feather.read_table(path).to_pylist()
    return pq.read_table(path).to_pylist()


def test_a_partitioned_folder_is_one_table_and_a_folder_takes_the_output(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for year in (2023, 2024):
        folder = data / f"year={year}"
        folder.mkdir(parents=True)
        pq.write_table(table_of(3), folder / "part-0.parquet")
    (data / "_SUCCESS").touch()
    assert run(data, "-o", out, "--prompt-column", "text") == 0
    rows = pq.read_table(out / "results.parquet").to_pylist()
    assert [(row["year"], row["id"]) for row in rows] == [
        (year, n) for year in (2023, 2024) for n in range(3)
    ]
    facts = json.loads((out / "run.json").read_text())
    assert facts["counts"]["ok"] == 6
    assert facts["settings"]["table"]["prompt_column"] == "text"
    assert sorted(path.name for path in out.iterdir()) == [
        ".headrace",
        "results.parquet",
        "run.json",
    ]


def test_the_output_of_one_run_is_the_input_of_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, first, second = (tmp_path / name for name in ("in.parquet", "first", "second.parquet"))
    pq.write_table(table_of(3), file)
    assert run(file, "-o", first, "--prompt-column", "text") == 0
    assert run(first, "-o", second, "--prompt-column", "content") == 2
    assert "'content'" in said(capsys)
    assert "prefix" in said_again(first, second, capsys)
    assert run(first, "-o", second, "--prompt-column", "content", "--result-prefix", "b_") == 0
    rows = pq.read_table(second).to_pylist()
    assert [(row["content"], row["b_content"]) for row in rows] == [("abc", "abc")] * 3


def said_again(first: Path, second: Path, capsys: pytest.CaptureFixture[str]) -> str:
    run(first, "-o", second, "--prompt-column", "content")
    return said(capsys)


def test_urls_name_inputs_and_outputs(tmp_path: Path) -> None:
    file, out = tmp_path / "in put.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(3), file)
    assert run(file.as_uri(), "-o", out.as_uri(), "--prompt-column", "text") == 0
    assert pq.read_table(out).num_rows == 3


def test_rows_without_a_prompt_fail_alone(tmp_path: Path) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"id": [0, 1, 2, 3], "text": ["a", None, "BOOM", "b"]}), file)
    assert run(file, "-o", out, "--prompt-column", "text") == 3
    rows = pq.read_table(out).to_pylist()
    assert [row["status_code"] for row in rows] == [200, 400, 400, 200]
    assert [row["id"] for row in rows] == [0, 1, 2, 3]
    assert rows[1]["error_code"] == "invalid_prompt"
    assert rows[1]["error_message"] == "The cell in column 'text' is null; a prompt must be text."
    assert rows[1]["content"] is None
    assert "cannot render" in rows[2]["error_message"]


def test_lines_that_are_no_rows_and_cells_that_are_no_text_fail_alone(tmp_path: Path) -> None:
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text(
        '{"text": "a", "n": 1}\nnot json\n{"text": 5, "n": 2}\n\n{"n": 3}\n{"text": "b"}\n'
    )
    assert run(file, "-o", out, "--prompt-column", "text") == 3
    rows = read(out)
    assert [(row["n"], row["status_code"], row["error_code"]) for row in rows] == [
        (1, 200, None),
        (None, 400, "invalid_row"),
        (2, 400, "invalid_prompt"),
        (3, 400, "invalid_prompt"),
        (None, 200, None),
    ]
    assert "is an integer" in rows[2]["error_message"]
    assert "Line 2" in rows[1]["error_message"]


def test_the_strict_policy_refuses_the_whole_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: Stage
) -> None:
    file = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": ["a", None]}), file)
    flags = ("--prompt-column", "text", "--on-bad-line", "fail")
    assert run(file, "-o", tmp_path / "out.parquet", *flags) == 1
    assert "line 2: The cell in column 'text' is null" in said(capsys)
    assert stage.executors == []


def test_a_template_writes_the_prompts(tmp_path: Path) -> None:
    file, out, template = (tmp_path / name for name in ("in.csv", "out.parquet", "row.jinja"))
    file.write_text("id,text,price\n1,tea,2.5\n2,,3\n3,ham,zero\n")
    template.write_text("{{ prompt }} {{ 1 / (price | float) }}")
    flags = ("--prompt-column", "text", "--template", template)
    assert run(file, "-o", out, *flags) == 3
    rows = pq.read_table(out).to_pylist()
    assert [row["status_code"] for row in rows] == [200, 400, 400]
    assert rows[0]["prompt_tokens"] == len("user: tea 0.4\nassistant: ")
    assert rows[1]["error_code"] == "invalid_prompt"
    assert rows[2]["error_code"] == "template_error"
    assert "division" in rows[2]["error_message"]


def bad_places(folder: Path) -> None:
    pq.write_table(table_of(2, n=[1, 2]), folder / "in.parquet")
    (folder / "data").mkdir()
    pq.write_table(table_of(2), folder / "data" / "a.parquet")
    (folder / "empty").mkdir()
    (folder / "mixed").mkdir()
    (folder / "mixed" / "a.csv").write_text("text\nx\n")
    (folder / "mixed" / "b.jsonl").write_text("{}\n")
    (folder / "broken.parquet").write_text("PAR1 but no more")
    (folder / "in.xlsx").write_text("x")
    (folder / "array.json").write_text('[\n{"text": "a"}\n]\n')
    (folder / "open.csv").write_text('text\n"never closed\n')
    (folder / "twice.csv").write_text("text,text\na,b\n")
    (folder / "bad.jinja").write_text("{{ text \n{% if %}")
    (folder / "typo.jinja").write_text("{{ texd }}")
    (folder / "notjson.json").write_text("{")
    (folder / "list.json").write_text("[]")
    (folder / "noschema.json").write_text('{"type": "objekt"}')
    (folder / "nowhere.json").write_text('{"$ref": "#/$defs/x"}')
    (folder / "never.json").write_text('{"type": "object", "unevaluatedProperties": false}')
    (folder / "good.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        ("in.parquet -o out.parquet", 2, "name the column of its prompts with --prompt-column"),
        ("data -o out.parquet", 2, "is a folder"),
        ("in.jsonl -o out.parquet --schema good.json", 2, "--schema is for tables"),
        ("in.parquet -o out.parquet --prompt-column texd", 2, "columns are 'id', 'text', 'n'"),
        ("in.parquet -o out.parquet --prompt-column n", 2, "holds int64, not text"),
        ("in.parquet -o out.parquet --prompt-column text --columns id,x", 2, "'x' is not in"),
        ("in.parquet -o out.parquet --template bad.jinja", 2, "bad.jinja, line 2"),
        ("in.parquet -o out.parquet --template typo.jinja", 2, "'texd', which is no column"),
        ("in.parquet -o out.parquet --template no.jinja", 2, "no.jinja cannot be read"),
        ("in.parquet -o o.parquet --prompt-column text --schema no.json", 2, "cannot be read"),
        ("in.parquet -o o.parquet --prompt-column text --schema notjson.json", 2, "is not JSON"),
        ("in.parquet -o o.parquet --prompt-column text --schema list.json", 2, "no object"),
        ("in.parquet -o o.parquet --prompt-column text --schema noschema.json", 2, "'objekt'"),
        ("in.parquet -o o.parquet --prompt-column text --schema nowhere.json", 2, "nowhere in it"),
        ("in.parquet -o o.parquet --prompt-column text --schema never.json", 2, "--schema never"),
        ("in.parquet -o o.parquet --prompt-column text --extra-body {", 2, "--extra-body"),
        ('in.parquet -o o.parquet --prompt-column text --extra-body {"n":0}', 2, "'n'"),
        ('in.parquet -o o.parquet --prompt-column text --extra-body {"model":1}', 2, "'model'"),
        ("in.parquet -o o.parquet --prompt-column text --temperature 99", 2, "'temperature'"),
        ("in.parquet -o redis --prompt-column text", 2, "a file or a folder"),
        ("in.parquet -o out.xlsx --prompt-column text", 1, ".xlsx file, which is not supported"),
        ("in.parquet -o in.parquet --prompt-column text", 1, "is the input file"),
        ("data -o data --prompt-column text", 1, "lies in the input folder"),
        ("data -o data/out.parquet --prompt-column text", 1, "lies in the input folder"),
        ("missing.parquet -o out.parquet --prompt-column text", 1, "does not exist"),
        ("empty -o out.parquet --prompt-column text", 1, "holds no files of a table"),
        ("mixed -o out.parquet --prompt-column text", 1, "several formats: a.csv and b.jsonl"),
        ("broken.parquet -o out.parquet --prompt-column text", 1, "broken.parquet cannot be read"),
        ("in.xlsx -o out.parquet --prompt-column text", 1, "no format that is known"),
        ("array.json -o out.parquet --prompt-column text", 1, "is a JSON array"),
        ("open.csv -o out.parquet --prompt-column text", 1, "is a quote not closed?"),
        ("twice.csv -o out.parquet --prompt-column text", 1, "two columns that are called 'text'"),
        ("nosuch://x/y -o out.parquet --prompt-column text", 1, "nosuch"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: Stage,
    arguments: str,
    code: int,
    needle: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    bad_places(tmp_path)
    before = (tmp_path / "in.parquet").read_bytes()
    assert run(*arguments.split()) == code
    sentence = said(capsys)
    assert sentence.startswith("headrace: ")
    assert needle in sentence
    assert "internal error" not in sentence
    assert stage.executors == []
    assert (tmp_path / "in.parquet").read_bytes() == before


def test_an_interrupted_table_is_continued(tmp_path: Path, stage: Stage) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(60), file)
    arguments = (file, "-o", out, "--prompt-column", "text")
    stage.make = lambda: CountingExecutor(signal_at=12)
    assert run(*arguments) == 130
    assert not out.exists()
    stage.make = CountingExecutor
    assert run(*arguments) == 0
    assert pq.read_table(out).column("id").to_pylist() == list(range(60))
    first, second = stage.executors
    assert first.seen
    assert len(second.seen) < 60, "the second run computed finished rows again"


def test_another_output_of_the_same_requests_computes_nothing(tmp_path: Path, stage: Stage) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(20), file)
    assert run(file, "-o", out, "--prompt-column", "text") == 0
    assert run(file, "-o", out, "--prompt-column", "text") == 0
    assert run(file, "-o", out, "--prompt-column", "text", "--columns", "id") == 0
    assert pq.read_table(out).column_names == ["id", *RESULTS]
    assert len(stage.executors) == 1
    out.unlink()
    assert run(file, "-o", out, "--prompt-column", "text", "--columns", "id") == 0
    assert pq.read_table(out).column("id").to_pylist() == list(range(20))
    assert len(stage.executors) == 1


def test_rows_that_changed_are_computed_again_and_no_others(tmp_path: Path, stage: Stage) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), file)
    assert run(file, "-o", out, "--prompt-column", "text") == 0
    pq.write_table(pa.table({"text": ["a", "x", "c", "d"]}), file)
    assert run(file, "-o", out, "--prompt-column", "text") == 0
    assert [len(executor.seen) for executor in stage.executors] == [3, 2]
    assert pq.read_table(out).column("text").to_pylist() == ["a", "x", "c", "d"]


def test_an_input_that_changes_while_it_is_run_is_noticed(
    tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(20), file)

    def change() -> CountingExecutor:
        pq.write_table(table_of(21), file)
        return CountingExecutor()

    stage.make = change
    assert run(file, "-o", out, "--prompt-column", "text") == 1
    assert "changed while it was read; run the same command again" in said(capsys)
    assert not out.exists()
    stage.make = CountingExecutor
    assert run(file, "-o", out, "--prompt-column", "text") == 0
    assert pq.read_table(out).num_rows == 21
    assert len(stage.executors[1].seen) == 1


@pytest.mark.parametrize("num_rows", [0, 1])
def test_tables_of_hardly_any_rows(tmp_path: Path, num_rows: int) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(
        table_of(num_rows).cast(pa.schema([("id", pa.int64()), ("text", pa.string())])), file
    )
    assert run(file, "-o", out, "--prompt-column", "text") == 0
    assert pq.read_table(out).column("id").to_pylist() == list(range(num_rows))


def test_jsonl_with_requests_is_still_a_batch_file(tmp_path: Path) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (tmp_path / "in.jsonl").write_text(json.dumps(request) + "\n")
    assert cli.main(["run", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl")]) == 0
    (row,) = read(tmp_path / "out.jsonl")
    assert row["custom_id"] == "a"
