import pyarrow as pa
import pytest

from jobs.result_table import RESULT_SCHEMA, line_indexes, ok_mask, rows_to_table, table_to_rows
from schemas.result import ResultRow, ToolCallCell
from tests.jobs.builders import make_row

PROMISED = """
idx int64, custom_id string, status_code int16, model string, finish_reason string, content string,
reasoning string, tool_calls list<item: struct<id: string, name: string, arguments: string>>,
tool_arguments_valid bool, error_code string, error_message string, prompt_tokens int32,
cached_tokens int32, completion_tokens int32, reasoning_tokens int32, attempt int16, worker string,
fingerprint string, queue_s float, ttft_s float, e2e_s float, request_hash string,
deduped_from int64, response_json string, attempts_json string
"""


def test_the_columns_are_the_promised_ones_in_their_order() -> None:
    columns = ", ".join(f"{field.name} {field.type}" for field in RESULT_SCHEMA)
    assert columns == " ".join(PROMISED.split())
    assert list(ResultRow.model_fields) == RESULT_SCHEMA.names


def test_rows_survive_the_way_through_columns() -> None:
    calls = [ToolCallCell(id="call_1", name="f", arguments='{"a": 1}')]
    rows = [
        make_row(0, tool_calls=calls, tool_arguments_valid=True, queue_s=0.5, deduped_from=7),
        make_row(1, tool_calls=[], content=None),
        ResultRow(idx=2, error_code="batch_expired"),
        make_row(3, content="naïve 🎉 \u2028 \0 end"),
    ]
    table = rows_to_table(rows)
    assert table.schema.equals(RESULT_SCHEMA)
    assert table_to_rows(table) == rows
    assert line_indexes(table) == [0, 1, 2, 3]


def test_no_rows_make_an_empty_table() -> None:
    assert rows_to_table([]).schema.equals(RESULT_SCHEMA)


def test_columns_of_later_versions_are_left_out() -> None:
    table = rows_to_table([make_row(0)]).append_column("logprob_sum", pa.array([0.5]))
    assert table_to_rows(table.drop_columns(["worker"])) == [make_row(0)]


@pytest.mark.parametrize("cells", [{"attempt": 40_000}, {"prompt_tokens": 1 << 40}])
def test_a_number_that_does_not_fit_its_column_is_an_error(cells: dict[str, int]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        rows_to_table([make_row(0, **cells)])


def test_only_status_200_is_ok() -> None:
    rows = [make_row(i, status_code=status) for i, status in enumerate([200, 400, None, 500, 200])]
    assert ok_mask(rows_to_table(rows)).to_pylist() == [True, False, False, False, True]
