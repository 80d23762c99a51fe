import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.result import ResultRow, ToolCallCell

ROW = ResultRow(
    idx=7,
    custom_id="a\nb",
    status_code=200,
    tool_calls=[ToolCallCell(id="c", name="f", arguments="{}")],
    e2e_s=0.5,
    response_json='{"a":"\\n"}',
)


def test_a_row_survives_encoding():
    assert ResultRow.decode(ROW.encode()) == ROW


def test_the_response_travels_as_it_is():
    head, _, response = ROW.encode().partition(b"\n")
    assert response == b'{"a":"\\n"}'
    assert "response_json" not in json.loads(head)


@given(st.text(), st.none() | st.text(min_size=1))
def test_any_text_survives_encoding(content, response):
    row = ResultRow(idx=0, content=content, custom_id=content, response_json=response)
    assert ResultRow.decode(row.encode()) == row


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b'{"idx": "x"}', b'{"idx": 1, "zzz": 2}'])
def test_foreign_bytes_are_a_validation_error(payload):
    with pytest.raises(ValidationError):
        ResultRow.decode(payload)
