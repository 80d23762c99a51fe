import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.batch import UNANSWERED, BadLine, output_line, parse_batch_line
from schemas.result import ResultRow
from tests.schemas.bodies import chat

GOOD = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat()}


def raw(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def without(key):
    return json.dumps({name: value for name, value in GOOD.items() if name != key}).encode()


# line, code, param, custom_id that is still known, words
BAD = {
    "not JSON": (b"{", "invalid_json_line", None, None, ["not parseable as valid JSON."]),
    "empty": (b"", "invalid_json_line", None, None, []),
    "invalid UTF-8": (b'{"custom_id": "\xff"}', "invalid_json_line", None, None, ["unicode"]),
    "NaN": (raw(body=chat(temperature=float("nan"))), "invalid_json_line", None, None, []),
    "1e999": (b'{"a": 1e999}', "invalid_json_line", None, None, ["too large"]),
    "deep": (b"[" * 100_000, "invalid_json_line", None, None, ["recursion"]),
    "byte order mark": (b"\xef\xbb\xbf" + raw(), "invalid_json_line", None, None, ["order mark"]),
    "a list": (b"[]", "invalid_type", None, None, ["JSON object", "an array"]),
    "null": (b"null", "invalid_type", None, None, ["null"]),
    "no custom_id": (
        without("custom_id"),
        "missing_required_parameter",
        "custom_id",
        None,
        ["Missing required parameter: 'custom_id'."],
    ),
    "empty custom_id": (raw(custom_id=""), "empty_string", "custom_id", None, []),
    "custom_id 5": (raw(custom_id=5), "invalid_type", "custom_id", None, ["an integer"]),
    "custom_id null": (raw(custom_id=None), "invalid_type", "custom_id", None, ["null"]),
    "no method": (without("method"), "missing_required_parameter", "method", "a", []),
    "GET": (raw(method="GET"), "invalid_method", "method", "a", ["'GET'", "'POST'"]),
    "post": (raw(method="post"), "invalid_method", "method", "a", []),
    "method 5": (raw(method=5), "invalid_type", "method", "a", []),
    "no url": (without("url"), "missing_required_parameter", "url", "a", []),
    "url 5": (raw(url=5), "invalid_type", "url", "a", []),
    "embeddings": (raw(url="/v1/embeddings"), "invalid_url", "url", "a", ["'/v1/embeddings'"]),
    "a chat sent to completions": (
        raw(url="/v1/completions"),
        "missing_required_parameter",
        "prompt",
        "a",
        ["'prompt'"],
    ),
    "responses": (raw(url="/v1/responses"), "invalid_url", "url", "a", ["'/v1/responses'"]),
    "a whole URL": (raw(url="http://x/v1/chat/completions"), "invalid_url", "url", "a", []),
    "no body": (without("body"), "missing_required_parameter", "body", "a", []),
    "body a list": (raw(body=[]), "invalid_type", "body", "a", ["an object", "an array"]),
    "body null": (raw(body=None), "invalid_type", "body", "a", ["null"]),
    "stream": (
        raw(body=chat(stream=True)),
        "streaming_unsupported",
        "body.stream",
        "a",
        ["Streaming is not supported"],
    ),
    "no model": (raw(body={"messages": []}), None, None, "a", ["model parameter"]),
    "no messages": (
        raw(body={"model": "m"}),
        "missing_required_parameter",
        "messages",
        "a",
        [],
    ),
    "extra key": (raw(priority=1), "unknown_parameter", "priority", "a", ["'priority'"]),
    "extra key and no custom_id": (
        json.dumps({"customid": "a"}).encode(),
        "unknown_parameter",
        "customid",
        None,
        [],
    ),
}


@pytest.mark.parametrize(("line", "code", "param", "custom_id", "words"), BAD.values(), ids=BAD)
def test_a_bad_line_is_refused(line, code, param, custom_id, words):
    with pytest.raises(BadLine) as caught:
        parse_batch_line(line)
    error = caught.value
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    assert (error.code, error.param, error.custom_id) == (code, param, custom_id)
    for text in words:
        assert text in error.message
    assert len(error.message) < 1_000


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_good_line_is_taken_with_any_line_end(end):
    line = parse_batch_line(raw() + end)
    assert line.model_dump() == GOOD


def test_bad_values_in_a_body_do_not_make_a_bad_line():
    body = chat(temperature=99, zzz=1, messages=[], stream="maybe")
    assert parse_batch_line(raw(body=body)).body == body


def test_of_duplicate_keys_the_last_wins():
    assert parse_batch_line(raw()[:-1] + b', "custom_id": "b"}').custom_id == "b"


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_bad_line(line):
    with pytest.raises(BadLine):
        parse_batch_line(line)


@given(
    st.dictionaries(
        st.sampled_from(["custom_id", "method", "url", "body", "x"]),
        st.none() | st.integers() | st.text() | st.just({}) | st.just([]),
    )
)
def test_no_object_raises_anything_but_bad_line(value):
    with pytest.raises(BadLine):
        parse_batch_line(json.dumps(value).encode())


def test_an_answered_row_carries_the_whole_response():
    row = ResultRow(idx=0, custom_id="a\n", status_code=200, response_json='{"id":"é","n":[1]}')
    line = output_line(row, "batch_req_1", "req_1")
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "id": "batch_req_1",
        "custom_id": "a\n",
        "response": {"status_code": 200, "request_id": "req_1", "body": {"id": "é", "n": [1]}},
        "error": None,
    }
    assert "é".encode() in line


def test_a_refused_row_has_its_reason_in_the_body():
    with pytest.raises(BadLine) as caught:
        parse_batch_line(raw(method="GET"))
    body = caught.value.body()
    row = ResultRow(idx=0, custom_id=None, status_code=400, response_json=json.dumps(body))
    value = json.loads(output_line(row, "i", "r"))
    assert value["custom_id"] is None
    assert value["response"] == {"status_code": 400, "request_id": "r", "body": body}
    assert value["error"] is None


def test_a_row_without_a_body_gets_one_from_its_columns():
    row = ResultRow(idx=0, status_code=400, error_code="c", error_message="m")
    body = json.loads(output_line(row, "i", "r"))["response"]["body"]
    assert body["error"] == {
        "message": "m",
        "type": "invalid_request_error",
        "param": None,
        "code": "c",
    }


@pytest.mark.parametrize("code", sorted(UNANSWERED))
def test_a_row_that_was_never_answered_has_no_response(code):
    row = ResultRow(idx=0, custom_id="a", error_code=code)
    assert json.loads(output_line(row, "i", "r")) == {
        "id": "i",
        "custom_id": "a",
        "response": None,
        "error": {"code": code, "message": UNANSWERED[code]},
    }


def test_a_response_written_over_several_lines_becomes_one():
    row = ResultRow(idx=0, status_code=200, response_json=json.dumps({"a": ["b\n"]}, indent=1))
    line = output_line(row, "i", "r")
    assert line.count(b"\n") == 1
    assert json.loads(line)["response"]["body"] == {"a": ["b\n"]}
