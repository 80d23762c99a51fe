"""One file full of bad lines through the real command: each fails alone, the rest completes."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e.command import headrace, line, read, write

pytestmark = [pytest.mark.redis, pytest.mark.slow]

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
UNIQUE = {"name": "unique", "schema": {"type": "array", "uniqueItems": True}}
UNIQUE_FUNCTION = {
    "type": "function",
    "function": {"name": "unique", "parameters": {"properties": {"a": UNIQUE["schema"]}}},
}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
USER = {"role": "user", "content": "hi"}


def raw(custom_id: str, body: str) -> str:
    return (
        f'{{"custom_id":"{custom_id}","method":"POST","url":"/v1/chat/completions","body":{body}}}'
    )


def messages(custom_id: str, *given: Any) -> dict[str, Any]:
    return line(custom_id, messages=list(given))


# custom_id -> (line, status, code, param); None: not checked
BAD: dict[str, tuple[dict[str, Any] | str | bytes, int, str | None, str | None]] = {
    "stream": (line("stream", stream=True), 400, "streaming_unsupported", "body.stream"),
    "model": (line("model", model="gpt-4"), 404, "model_not_found", "model"),
    "no-model": (line("no-model", model=None), 400, None, None),
    "unknown-key": (line("unknown-key", temprature=1), 400, "unknown_parameter", "temprature"),
    "url": (line("url") | {"url": "/v1/embeddings"}, 400, "invalid_url", "url"),
    "method": (line("method") | {"method": "GET"}, 400, None, "method"),
    "no-messages": (
        raw("no-messages", '{"model":"demo"}'),
        400,
        "missing_required_parameter",
        "messages",
    ),
    "empty-messages": (messages("empty-messages"), 400, "empty_array", "messages"),
    "text-messages": (line("text-messages", messages="x"), 400, "invalid_type", "messages"),
    "no-role": (
        messages("no-role", {"content": "x"}),
        400,
        "missing_required_parameter",
        "messages[0].role",
    ),
    "role": (
        messages("role", {"role": "boss", "content": "x"}),
        400,
        "invalid_value",
        "messages[0].role",
    ),
    "content": (
        messages("content", {"role": "user", "content": 7}),
        400,
        "invalid_type",
        "messages[0].content",
    ),
    "image": (messages("image", {"role": "user", "content": [IMAGE]}), 400, None, None),
    "hot": (line("hot", temperature=2.1), 400, "decimal_above_max_value", "temperature"),
    "cold": (line("cold", temperature=-0.1), 400, "decimal_below_min_value", "temperature"),
    "word": (line("word", temperature="hot"), 400, "invalid_type", "temperature"),
    "top-p": (line("top-p", top_p=1.5), 400, "decimal_above_max_value", "top_p"),
    "no-tokens": (line("no-tokens", max_tokens=0), 400, "integer_below_min_value", "max_tokens"),
    "half-token": (line("half-token", max_tokens=1.5), 400, "invalid_type", "max_tokens"),
    "no-choice": (line("no-choice", n=0), 400, "integer_below_min_value", "n"),
    "choices": (line("choices", n=129), 400, "integer_above_max_value", "n"),
    "penalty": (
        line("penalty", presence_penalty=3),
        400,
        "decimal_above_max_value",
        "presence_penalty",
    ),
    "stops": (line("stops", stop=list("abcde")), 400, "array_above_max_length", "stop"),
    "empty-stop": (line("empty-stop", stop=""), 400, None, "stop"),
    "bias-key": (line("bias-key", logit_bias={"x": 1}), 400, None, None),
    "bias-id": (line("bias-id", logit_bias={"999999": 1}), 400, "invalid_value", "logit_bias"),
    "seed": (line("seed", seed=1.5), 400, "invalid_type", "seed"),
    "format": (
        line("format", response_format={"type": "json_schema", "json_schema": UNIQUE}),
        400,
        None,
        "response_format",
    ),
    "echo": (line("echo", echo=True), 400, None, "echo"),
    "required": (
        line("required", tools=[FUNCTION, UNIQUE_FUNCTION], tool_choice="required"),
        400,
        "invalid_function_parameters",
        "tools[1].function.parameters",
    ),
    "no-tools": (line("no-tools", tools=[]), 400, "empty_array", "tools"),
    "choice-alone": (line("choice-alone", tool_choice="auto"), 400, None, "tool_choice"),
    "top-k": (line("top-k", top_k=-2), 400, "integer_below_min_value", "top_k"),
    "min-p": (line("min-p", min_p=2), 400, "decimal_above_max_value", "min_p"),
    "repetition": (line("repetition", repetition_penalty=0), 400, None, "repetition_penalty"),
    "min-tokens": (line("min-tokens", min_tokens=9), 400, "invalid_value", "min_tokens"),
    "guided": (line("guided", guided_regex="(?=a)b"), 400, "invalid_value", "guided_regex"),
    "expensive": (
        line("expensive", guided_json={"type": "integer", "multipleOf": 9_999_991}),
        400,
        "invalid_value",
        "guided_json",
    ),
    "template": (line("template", chat_template="{{ 1/0 }}"), 400, None, "chat_template"),
    "long": (line("long", "many words " * 9000), 400, "context_length_exceeded", "messages"),
    "large": (line("large", "x" * 2_000_000), 400, "context_length_exceeded", "messages"),
    "tool-alone": (
        messages("tool-alone", USER, {"role": "tool", "content": "x", "tool_call_id": "1"}),
        400,
        None,
        None,
    ),
    "twice": (line("good-1", "again"), 400, "duplicate_custom_id", "custom_id"),
}
# Lines without a usable custom_id, and a word of what is said about them.
NAMELESS: list[tuple[dict[str, Any] | str | bytes, str]] = [
    ("not json", "JSON"),
    ('"a string"', "object"),
    (b'{"custom_id": "\xff\xfe"}', "unicode"),
    ("[" * 100_000, "JSON"),
    ('{"custom_id": ' + "9" * 10_000 + "}", ""),
    ({k: v for k, v in line("x").items() if k != "custom_id"}, "custom_id"),
    (line("x") | {"custom_id": 7}, "custom_id"),
    (line("x") | {"custom_id": ""}, "custom_id"),
    ('{"custom_id": "cut off', "JSON"),
    (line("big", "x" * 17_000_000), "at most"),
    (raw("nan", '{"model":"demo","messages":[],"top_p":NaN}'), "JSON"),
    (raw("infinite", '{"model":"demo","temperature":1e999}'), "JSON"),
]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    good = [line(f"good-{number}") for number in range(3)]
    good.append(line("good-3", max_tokens=10**9))  # clamped to the context, not refused
    lines = [good[0], good[1], *(each[0] for each in BAD.values()), good[2]]
    file = write(folder / "in.jsonl", *lines, b"", *(each for each, _ in NAMELESS), b"   ", good[3])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n").rstrip(b"\r\n"))
    ended = headrace("run", str(file), "-o", str(folder / "out"))
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    return folder / "out"


@pytest.fixture(scope="module")
def errors(out: Path) -> dict[str, dict[str, Any]]:
    """The refused rows by custom_id; the repeated id is that of `twice`."""
    rows = {row["custom_id"]: row for row in read(out / "errors.jsonl") if row["custom_id"]}
    rows["twice"] = rows.pop("good-1")
    return rows


def test_the_good_lines_complete(out: Path) -> None:
    rows = read(out / "output.jsonl")
    assert [row["custom_id"] for row in rows] == [f"good-{number}" for number in range(4)]
    assert {row["response"]["status_code"] for row in rows} == {200}


def test_there_is_one_row_for_each_line(out: Path) -> None:
    table = pq.read_table(out / "results.parquet")
    assert table.num_rows == 4 + len(BAD) + len(NAMELESS)
    assert table.column("idx").to_pylist() == list(range(table.num_rows))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_fails_alone(errors: dict[str, dict[str, Any]], name: str) -> None:
    _, status, code, param = BAD[name]
    row = errors[name]
    assert row["error"] is None
    assert row["response"]["status_code"] == status
    error = row["response"]["body"]["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param


def test_lines_without_an_id_are_named_by_their_number(out: Path) -> None:
    rows = [row for row in read(out / "errors.jsonl") if row["custom_id"] is None]
    first = 4 + len(BAD) + 1  # after three good lines, the bad ones and a blank one
    for number, (row, (_, word)) in enumerate(zip(rows, NAMELESS, strict=True), first):
        message = row["response"]["body"]["error"]["message"]
        assert message.startswith(f"line {number}:"), message
        assert word.lower() in message.lower()
        assert row["response"]["status_code"] == (413 if word == "at most" else 400)


def test_a_template_that_raises_is_the_line_s_fault(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(
        "{% for m in messages %}{% if 'BOOM' in m.content %}{{ raise_exception('no booms') }}"
        "{% endif %}{{ m.content }}{% endfor %}"
    )
    file = write(tmp_path / "in.jsonl", line("good"), line("boom", "BOOM"))
    ended = headrace(
        "run", str(file), "-o", str(tmp_path / "out"), "--chat-template", str(template)
    )
    assert ended.code == 3, ended.err
    (row,) = read(tmp_path / "out" / "errors.jsonl")
    assert row["custom_id"] == "boom"
    assert row["response"]["status_code"] == 400
    assert "no booms" in row["response"]["body"]["error"]["message"]
    assert len(read(tmp_path / "out" / "output.jsonl")) == 1


def test_the_file_as_a_whole_is_refused_under_the_strict_policy(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), "not json", line("a"))
    ended = headrace("run", str(file), "-o", str(tmp_path / "out"), "--on-bad-line", "fail")
    assert ended.code == 1
    assert "line 2" in ended.sentence
    assert "line 3" in ended.sentence
    assert not (tmp_path / "out" / "output.jsonl").exists()


def test_error_bodies_are_json_in_the_parquet_file_too(out: Path) -> None:
    for text in pq.read_table(out / "results.parquet").column("response_json").to_pylist():
        json.loads(text)
