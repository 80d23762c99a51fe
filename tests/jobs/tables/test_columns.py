from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import TableSettingError
from jobs.result_table import RESULT_SCHEMA, rows_to_table
from jobs.tables.answer_types import answer_type
from jobs.tables.columns import RESULT_COLUMNS, OutputColumns
from schemas.result import ToolCallCell
from tests.jobs.builders import make_row

SOURCE = pa.schema([("id", pa.int64()), ("text", pa.string())])
KIND = answer_type({"type": "object", "properties": {"n": {"type": "integer"}}})


def kept(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "text": [f"t{n}" for n in ids]})


def test_kept_columns_come_first_in_the_order_asked_for() -> None:
    columns = OutputColumns(SOURCE, kept=["text", "id", "text"])
    assert columns.kept == ["text", "id"]
    table = columns.table(kept(7, 8), rows_to_table([make_row(0), make_row(1, attempt=2)]))
    assert table.schema == columns.schema
    assert table.column_names == ["text", "id", *RESULT_COLUMNS]
    assert table.column("text").to_pylist() == ["t7", "t8"]
    assert table.column("content").to_pylist() == ["answer 0", "answer 1"]
    assert table.column("attempt").to_pylist() == [0, 2]


def test_all_are_kept_unless_asked_and_none_may_be() -> None:
    assert OutputColumns(SOURCE).kept == ["id", "text"]
    none = OutputColumns(SOURCE, kept=[])
    assert none.table(None, rows_to_table([make_row(0)])).column_names == list(RESULT_COLUMNS)


def test_columns_of_results_have_the_types_of_results() -> None:
    schema = OutputColumns(SOURCE).schema
    for name in RESULT_COLUMNS:
        assert schema.field(name).type == RESULT_SCHEMA.field(name).type


def test_answers_are_typed_and_keep_their_text() -> None:
    columns = OutputColumns(SOURCE, answer=KIND)
    assert columns.schema.field("answer").type == pa.struct([("n", pa.int64())])
    rows = [
        make_row(0, content='{"n": 5}'),
        make_row(1, content='{"n": '),
        make_row(2, content=None, status_code=400, error_code="bad", error_message="why"),
        make_row(3, content="cut", error_code="tool_parse_error", error_message="first"),
        make_row(4, content=None, reasoning="all tokens"),
        make_row(5, content=None, tool_calls=[ToolCallCell(id="1", name="f", arguments="{}")]),
    ]
    ids = range(len(rows))
    cells: list[dict[str, Any]] = columns.table(kept(*ids), rows_to_table(rows)).to_pylist()
    assert [row["answer"] for row in cells] == [{"n": 5}, None, None, None, None, None]
    assert cells[1]["content"] == '{"n": '
    assert [row["error_code"] for row in cells] == [
        None,
        "answer_parse_error",
        "bad",
        "tool_parse_error",
        "answer_parse_error",
        None,
    ]
    assert cells[1]["error_message"].startswith("The answer is not JSON")
    assert cells[2]["error_message"] == "why"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"kept": ["id", "x"]}, "the column to keep 'x' is not in the table; its columns are 'id'"),
        ({"prefix": "i", "source": pa.schema([("icontent", pa.string())])}, "'icontent'"),
        (
            {"source": pa.schema([("model", pa.string()), ("content", pa.string())])},
            "'content', 'm",
        ),
        ({"answer": KIND, "source": pa.schema([("answer", pa.string())])}, "result prefix"),
    ],
)
def test_names_that_are_missing_or_taken_are_refused(
    arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TableSettingError, match=reason):
        OutputColumns(**{"source": SOURCE, **arguments})


def test_a_prefix_makes_room_for_columns_of_the_same_names() -> None:
    source = pa.schema([("content", pa.string())])
    columns = OutputColumns(source, answer=KIND, prefix="b_")
    assert columns.schema.names == ["content", "b_answer", *(f"b_{n}" for n in RESULT_COLUMNS)]
    table = columns.table(
        pa.table({"content": ["mine"]}), rows_to_table([make_row(0, content='{"n": 1}')])
    )
    (row,) = table.to_pylist()
    assert (row["content"], row["b_content"], row["b_answer"]) == ("mine", '{"n": 1}', {"n": 1})
