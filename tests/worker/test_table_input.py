import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import TargetError
from jobs.result_table import rows_to_table
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import Target, TargetKind, parse_target
from tests.jobs.builders import make_row
from worker.errors import SettingsError
from worker.table_input import TableInput
from worker.table_options import TableOptions, TableSettings


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "rows.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"text": ["a", "b"], "n": [1, 2]}), path)
    return path


def opened(table: Path, **options: Any) -> TableInput:
    settings = TableSettings(str(table), TableOptions(**{"prompt_column": "text", **options}))
    return TableInput(settings, model="demo")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_whatever_changes_the_output_is_another_run(table: Path, tmp_path: Path) -> None:
    schemas = [
        {"type": "object", "properties": {name: {"type": "string"} for name in names}}
        for names in ("ab", "ba")
    ]
    variants: list[dict[str, Any]] = [
        {},
        {"system": "x"},
        {"template": write(tmp_path / "a.jinja", "{{ n }}")},
        {"template": write(tmp_path / "b.jinja", "{{ n }}!")},
        {"max_tokens": 5},
        {"temperature": 0.0},
        {"columns": "n"},
        {"result_prefix": "x_"},
        *(
            {"schema": write(tmp_path / f"{number}.json", json.dumps(schema))}
            for number, schema in enumerate(schemas)
        ),
    ]
    digests = [opened(table, **options).sha256 for options in variants]
    assert len(set(digests)) == len(variants)
    assert digests == [opened(table, **options).sha256 for options in variants]
    pq.write_table(pa.table({"text": ["c"], "n": [1]}), table)
    assert opened(table).sha256 not in digests


def test_the_output_says_what_ran_but_not_when(table: Path, tmp_path: Path) -> None:
    source = opened(table, system="Be brief.", columns="n")
    facts = RunFacts(
        input_path=source.name,
        input_sha256=source.sha256,
        model="demo",
        settings={"dtype": "auto", **source.settings},
        timings={"wall_s": 1.0},
    )
    target = parse_target(str(tmp_path / "out.parquet"), is_table=True)
    writer = source.make_writer(target, tmp_path, "batch_a", facts)
    writer.write(rows_to_table([make_row(0), make_row(1)]))
    writer.close()
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.column("n").to_pylist() == [1, 2]
    metadata = written.schema.metadata
    assert metadata[b"headrace.batch_id"] == b"batch_a"
    said = json.loads(metadata[b"headrace.run"])
    assert said["settings"]["dtype"] == "auto"
    assert said["settings"]["table"]["system"] == "Be brief."
    assert said["input_sha256"] == source.sha256
    assert "timings" not in said


def test_rows_are_counted_and_checked(table: Path) -> None:
    source = opened(table)
    assert source.count().num_lines == 2
    assert source.bad_lines(["demo"]) == []
    (first, _) = source.bad_lines(["other"])
    assert (first.line, first.error.code) == (1, "model_not_found")


@pytest.mark.parametrize("name", ["in", "in/out.parquet", "in/deep/out"])
def test_an_output_inside_the_input_is_refused(table: Path, tmp_path: Path, name: str) -> None:
    for location in (str(table.parent), table.parent.as_uri()):
        settings = TableSettings(location, TableOptions(prompt_column="text"))
        source = TableInput(settings, model="demo")
        with pytest.raises(TargetError, match="lies in the input folder"):
            source.check_target(parse_target(str(tmp_path / name), is_table=True))
        source.check_target(parse_target(str(tmp_path / "in2"), is_table=True))


def test_a_target_that_cannot_hold_the_rows_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="-o redis"):
        opened(table).check_target(Target(TargetKind.REDIS))
    odd = pa.table({"text": ["a"], "odd": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pa.ipc.new_file(str(tmp_path / "odd.arrow"), odd.schema) as writer:
        writer.write_table(odd)
    target = parse_target(str(tmp_path / "x.parquet"), is_table=True)
    with pytest.raises(SettingsError, match=r"cannot hold the columns 'odd'"):
        opened(tmp_path / "odd.arrow").check_target(target)
    opened(tmp_path / "odd.arrow", columns="text").check_target(target)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"type": "object", "properties": {"a": {"pattern": "(?<=a)b"}}}, "look-around"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused_before_anything_runs(
    table: Path, tmp_path: Path, schema: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path / "s.json", json.dumps(schema))
    with pytest.raises(SettingsError, match=rf"--schema .*s\.json.*{reason}"):
        opened(table, schema=path)
