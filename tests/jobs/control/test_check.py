from pathlib import Path
from typing import Any

import pytest

from jobs.control.check import CheckSettings, Verdict, check_input
from jobs.producers.lines import open_input
from tests.jobs.endpoint import CHAT, line


def judge(tmp_path: Path, data: bytes, **changes: Any) -> Verdict:
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    settings = CheckSettings(**{"endpoint": CHAT, "max_requests": 100} | changes)
    return check_input(open_input(path), settings)


@pytest.mark.parametrize(
    ("bad", "code", "param", "words"),
    [
        (b"nonsense", "invalid_json_line", None, "not parseable as valid JSON"),
        (b'{"a": NaN}', "invalid_json_line", None, "not parseable as valid JSON"),
        (b"\xff\xfe\xfd", "invalid_json_line", None, "not parseable as valid JSON"),
        (b"[" * 5000, "invalid_json_line", None, "not parseable as valid JSON"),
        (b"[1]", "invalid_type", None, "JSON object"),
        (line(None), "missing_required_parameter", "custom_id", "'custom_id'"),
        (line("x", method=None), "missing_required_parameter", "method", "'method'"),
        (line("x", url=None), "missing_required_parameter", "url", "'url'"),
        (b'{"custom_id":"x","method":"POST","url":"/v1/chat/completions"}',
         "missing_required_parameter", "body", "'body'"),
        (line("good"), "duplicate_custom_id", "custom_id", "'good' for this request is a dup"),
        (line("x", url="/v1/embeddings"), "invalid_url", "url", "does not match the batch"),
        (line("x", url="/v1/completions"), "invalid_url", "url", "does not match the batch"),
        (line("x", method="GET"), "invalid_method", "method", "'GET'"),
        (line("x", body={"stream": True}), "streaming_unsupported", "body.stream", "Streaming"),
        (line("x", body={"model": None}), "invalid_request", "body.model", "Model parameter is"),
        (line("x", body={"messages": None}), "invalid_request", "body.messages",
         "Messages parameter is required."),
        (line("x", body={"model": "nope"}), "model_not_found", "body.model",
         "The provided model 'nope' is not supported by the Batch API."),
        (line("x", body={"model": "other"}), "mismatched_model", "body.model", "single model"),
    ],
)  # fmt: skip
def test_each_kind_of_bad_line(
    tmp_path: Path, bad: bytes, code: str, param: str | None, words: str
) -> None:
    data = b"\n" + line("good") + b"\r\n" + bad + b"\n" + line("last")
    verdict = judge(tmp_path, data, served_models={"demo", "other"})
    (error,) = verdict.errors
    assert (error.code, error.param, error.line) == (code, param, 3)
    assert words in error.message


def test_every_bad_line_is_reported(tmp_path: Path) -> None:
    verdict = judge(tmp_path, b"\n".join([b"x", line("a"), line(None), b"{}", line("b")]))
    assert [error.line for error in verdict.errors] == [1, 3, 4]


def test_bad_values_in_a_body_are_no_concern_of_the_file(tmp_path: Path) -> None:
    data = line("a", body={"temperature": 99}) + b"\n" + line("b", body={"model": 5})
    assert judge(tmp_path, data, served_models={"demo"}).errors == ()


def test_a_good_file(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + line("a") + b"\n\n" + line("b")
    assert judge(tmp_path, data) == Verdict(2, "demo", ())


@pytest.mark.parametrize("data", [b"", b"\n\n  \n", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path: Path, data: bytes) -> None:
    (error,) = judge(tmp_path, data).errors
    assert (error.code, error.line, error.param) == ("empty_file", None, None)


def test_too_many_requests_are_one_error(tmp_path: Path) -> None:
    data = b"\n".join(line(f"r{n}") for n in range(4))
    assert judge(tmp_path, data, max_requests=4).errors == ()
    (error,) = judge(tmp_path, data, max_requests=3).errors
    assert (error.code, error.line) == ("too_many_tasks", None)


def test_the_list_of_errors_ends_somewhere(tmp_path: Path) -> None:
    verdict = judge(tmp_path, b"x\n" * 1500, max_requests=2000)
    assert len(verdict.errors) == 1001
    assert verdict.errors[-1].code == "too_many_errors"


def test_where_nobody_serves_anything_every_model_is_accepted(tmp_path: Path) -> None:
    assert judge(tmp_path, line("a", body={"model": "later"})).model == "later"


def test_a_server_that_routes_may_mix_models(tmp_path: Path) -> None:
    data = line("a") + b"\n" + line("b", body={"model": "other"})
    verdict = judge(tmp_path, data, is_mixing_models=True)
    assert verdict == Verdict(2, None, ())


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    verdict = judge(tmp_path, line("a") + b"\n" + line("b" * 500), max_line_bytes=300)
    (error,) = verdict.errors
    assert (error.code, error.line) == ("request_too_large", 2)
