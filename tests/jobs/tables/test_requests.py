from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import TableSettingError
from jobs.tables.requests import RowRequests
from jobs.tables.template import RowTemplate
from schemas.errors import ApiError

SCHEMA = pa.schema(
    [("text", pa.string()), ("n", pa.int64()), ("none", pa.null()), ("raw", pa.large_binary())]
)


def test_a_row_becomes_a_chat_request() -> None:
    schema = {"type": "object"}
    requests = RowRequests(
        model="m",
        prompt_column="text",
        system="Be brief.",
        schema=schema,
        parameters={"max_tokens": 5},
    )
    assert requests.check(SCHEMA) == ["text"]
    assert requests.body({"text": "hi"}) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        },
    }


def test_a_template_needs_its_columns_and_the_prompts() -> None:
    requests = RowRequests(
        model="m", prompt_column="text", template=RowTemplate("{{ n }} {{ prompt }}")
    )
    assert requests.check(SCHEMA) == ["text", "n"]
    body = requests.body({"text": "hi", "n": 3})
    assert body["messages"] == [{"role": "user", "content": "3 hi"}]


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ({"text": None}, "is null"),
        ({}, "is null"),
        ({"text": 5}, "is an integer"),
        ({"text": ["a"]}, "is an array"),
        ({"text": b"a"}, "is a value that JSON does not have"),
    ],
)
def test_a_cell_that_is_no_text_is_the_rows_error(cells: dict[str, Any], what: str) -> None:
    requests = RowRequests(model="m", prompt_column="text")
    with pytest.raises(ApiError) as caught:
        requests.body(cells)
    assert caught.value.message == f"The cell in column 'text' {what}; a prompt must be text."
    assert (caught.value.code, caught.value.param) == ("invalid_prompt", "text")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt_column": None}, "name the column of the prompts, or give a template"),
        ({"prompt_column": "x"}, "'x' is not in the table; its columns are 'text', 'n', 'none'"),
        ({"prompt_column": "n"}, r"'n' holds int64, not text; .* such as \{\{ n \}\}"),
        (
            {"prompt_column": "raw"},
            r"'raw' holds large_binary, .* such as \{\{ raw\.decode\(\) \}\}",
        ),
        ({"parameters": {"messages": []}}, "'messages' cannot be given"),
        ({"parameters": {"stream": True}}, "'stream' cannot be given"),
        ({"schema": {"a": 1}, "parameters": {"response_format": {}}}, "'response_format' cannot"),
        ({"parameters": {"max_tokens": "five"}}, "'max_tokens'"),
        ({"parameters": {"temprature": 1}}, "'temprature'"),
    ],
)
def test_what_no_row_could_ask_is_refused_at_once(changes: dict[str, Any], reason: str) -> None:
    settings: dict[str, Any] = {"model": "m", "prompt_column": "text", **changes}
    with pytest.raises(TableSettingError, match=reason):
        RowRequests(**settings).check(SCHEMA)


def test_a_column_of_nulls_may_be_asked_for() -> None:
    assert RowRequests(model="m", prompt_column="none").check(SCHEMA) == ["none"]
