import json
from typing import Any

import pytest

from jobs.producers.classify import LineClassifier, LineSettings, ReadLine, RefusedLine
from jobs.producers.lines import Line
from jobs.queue import Outcome
from schemas.result import ResultRow
from tests.jobs.builders import make_line


def line(data: bytes, number: int = 7) -> Line:
    return Line(number, data, len(data))


def refuse(data: bytes, classifier: LineClassifier | None = None) -> RefusedLine:
    read = (classifier or LineClassifier()).read(line(data))
    assert isinstance(read, RefusedLine)
    return read


def row_of(refused: RefusedLine) -> ResultRow:
    finished = LineClassifier().to_row(3, refused)
    assert (finished.idx, finished.outcome) == (3, Outcome.ERR)
    row = ResultRow.decode(finished.payload)
    assert (row.idx, row.custom_id) == (3, finished.custom_id)
    return row


def test_a_good_line_becomes_a_job() -> None:
    classifier = LineClassifier(served_models={"demo"})
    data = make_line(1, body={"max_tokens": 10, "n": 2, "user": "Zoë"})
    read = classifier.read(line(data))
    assert isinstance(read, ReadLine)
    job = classifier.to_job(5, read)
    assert (job.idx, job.custom_id, job.model) == (5, "request-1", "demo")
    assert job.url == "/v1/chat/completions"
    assert json.loads(job.body) == json.loads(data)["body"]
    assert "Zoë".encode() in job.body
    assert job.cost_tokens == -(-len(read.prompt) // 3) + 20


SHARING = LineClassifier(settings=LineSettings(shares_answers=True, job_ttl_ms=1500))


def hash_of(number: int, **body: Any) -> str | None:
    read = SHARING.read(line(make_line(number, body=body)))
    assert isinstance(read, ReadLine)
    job = SHARING.to_job(0, read)
    assert job.ttl_ms == 1500
    return job.answer_hash


def test_requests_whose_answer_is_determined_share_a_hash() -> None:
    same = {"messages": [{"role": "user", "content": "same"}]}
    greedy = hash_of(100, **same, temperature=0)
    assert greedy is not None
    assert greedy == hash_of(101, temperature=0, **same), "whatever its order of keys"
    assert greedy != hash_of(102, **same, temperature=0, max_tokens=3)
    assert hash_of(103, **same, seed=0) == hash_of(104, **same, seed=0) != greedy
    assert hash_of(105, **same, seed=1) != hash_of(106, **same, seed=2)


@pytest.mark.parametrize("body", [{}, {"temperature": 0.7}, {"top_p": 0.5}, {"seed": None}])
def test_what_is_left_to_chance_is_computed_for_each(body: dict[str, Any]) -> None:
    number = 200 + sum(map(ord, json.dumps(body)))
    assert hash_of(number, **body) is None


def test_without_being_told_no_job_shares_or_hurries() -> None:
    read = LineClassifier().read(line(make_line(1, body={"temperature": 0})))
    assert isinstance(read, ReadLine)
    job = LineClassifier().to_job(0, read)
    assert (job.answer_hash, job.ttl_ms) == (None, None)


BAD_LINES: list[tuple[bytes, str]] = [
    (b"not json", "invalid_json_line"),
    (b"[1]", "invalid_type"),
    (b'"text"', "invalid_type"),
    (b"\xff\xfe{}", "invalid_json_line"),
    (b'{"a": NaN}', "invalid_json_line"),
    (b'{"a": 1e999}', "invalid_json_line"),
    (b"[" * 100_000 + b"]" * 100_000, "invalid_json_line"),
    (b'{"a": ' + b"1" * 10_000 + b"}", "invalid_json_line"),
    (b'{"custom_id": "\\ud800"}', "invalid_json_line"),
    (make_line(1, custom_id=None), "missing_required_parameter"),
    (make_line(1, custom_id=5), "invalid_type"),
    (make_line(1, custom_id=""), "empty_string"),
]


@pytest.mark.parametrize(("data", "code"), BAD_LINES)
def test_a_line_without_a_usable_custom_id_is_named_by_its_number(data: bytes, code: str) -> None:
    refused = refuse(data)
    row = row_of(refused)
    assert refused.is_bad_line
    assert (row.custom_id, row.status_code) == (None, 400)
    assert row.error_code == code
    assert (row.error_message or "").startswith("line 7: ")
    body = json.loads(row.response_json or "")
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"] == row.error_message


@pytest.mark.parametrize(
    ("changes", "is_bad_line"),
    [
        ({"url": "/v1/embeddings"}, True),
        ({"method": "GET"}, True),
        ({"body": {"stream": True}}, True),
        ({"body": {"messages": None}}, True),
        ({"body": {"model": None}}, True),
        ({"body": {"temperature": 99}}, False),
        ({"body": {"messages": []}}, False),
        ({"body": {"surprise": 1}}, False),
        ({"body": {"echo": True}}, False),
    ],
)
def test_a_refused_line_keeps_its_custom_id(changes: dict[str, Any], is_bad_line: bool) -> None:
    refused = refuse(make_line(1, **changes))
    row = row_of(refused)
    assert (row.custom_id, row.status_code) == ("request-1", 400)
    assert not (row.error_message or "").startswith("line ")
    assert refused.is_bad_line is is_bad_line


def test_an_unknown_model_is_404_and_none_served_means_all() -> None:
    refused = refuse(make_line(1), LineClassifier(served_models={"a", "b"}))
    row = row_of(refused)
    assert (row.status_code, row.error_code) == (404, "model_not_found")
    assert "'demo'" in (row.error_message or "")
    assert refused.is_bad_line
    assert isinstance(LineClassifier(served_models=None).read(line(make_line(1))), ReadLine)
    assert isinstance(LineClassifier(served_models=[]).read(line(make_line(1))), RefusedLine)


def test_a_custom_id_belongs_to_the_first_line_that_has_it() -> None:
    classifier = LineClassifier()
    assert isinstance(classifier.read(line(make_line(1))), ReadLine)
    refused = refuse(make_line(1), classifier)
    row = row_of(refused)
    assert (row.custom_id, row.error_code) == ("request-1", "duplicate_custom_id")
    assert refused.is_bad_line
    assert isinstance(classifier.read(line(make_line(2))), ReadLine)


def test_a_bad_line_takes_its_custom_id_too() -> None:
    classifier = LineClassifier()
    refuse(make_line(1, url="/x"), classifier)
    assert refuse(make_line(1), classifier).error.code == "duplicate_custom_id"


def test_a_long_custom_id_is_not_repeated_in_full() -> None:
    classifier = LineClassifier()
    data = make_line(1, custom_id="x" * 10_000)
    classifier.read(line(data))
    assert len(refuse(data, classifier).error.message) < 500


def test_sizes_are_bounded_with_413() -> None:
    settings = LineSettings(max_line_bytes=500, max_body_bytes=200)
    classifier = LineClassifier(settings=settings)
    large = make_line(1, body={"user": "x" * 200})
    refused = refuse(large, classifier)
    row = row_of(refused)
    assert (row.custom_id, row.status_code) == ("request-1", 413)
    assert "200 bytes" in (row.error_message or "")
    assert not refused.is_bad_line
    too_long = classifier.read(Line(9, b"", 501))
    assert isinstance(too_long, RefusedLine)
    row = row_of(too_long)
    assert (row.custom_id, row.status_code) == (None, 413)
    assert (row.error_message or "").startswith("line 9: ")
    assert too_long.is_bad_line


def test_what_the_prompt_is_does_not_depend_on_who_serves() -> None:
    """The order of the fan-out must survive a restart with other settings."""
    read = LineClassifier().read(line(make_line(1)))
    refused = refuse(make_line(1), LineClassifier(served_models=[]))
    unsupported = refuse(make_line(1, body={"echo": True}))
    assert read.prompt == refused.prompt == unsupported.prompt != b""


def test_a_text_completion_becomes_a_job() -> None:
    body = {"messages": None, "prompt": [[1, 2, 3], [4]], "n": 3, "max_tokens": 10}
    classifier = LineClassifier(served_models={"demo"})
    read = classifier.read(line(make_line(1, url="/v1/completions", body=body)))
    assert isinstance(read, ReadLine)
    job = classifier.to_job(5, read)
    assert job.url == "/v1/completions"
    assert 60 <= job.cost_tokens <= 70  # two prompts with three choices of ten tokens each

    refused = refuse(make_line(1, url="/v1/completions", body={**body, "suffix": "x"}))
    assert (refused.is_bad_line, refused.error.param) == (False, "suffix")


IGNORING = LineSettings(ignores_unknown=True, shares_answers=True)


def test_unknown_parameters_are_left_out_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    classifier = LineClassifier(settings=IGNORING)
    body = {"temprature": 1, "best_of": 2, "temperature": 0}
    read = [classifier.read(line(make_line(n, body=body))) for n in (200, 201)]
    assert isinstance(read[0], ReadLine)
    job = classifier.to_job(0, read[0])
    assert set(json.loads(job.body)) == {"model", "messages", "temperature"}
    plain = LineClassifier(settings=IGNORING).read(line(make_line(200, body={"temperature": 0})))
    assert isinstance(plain, ReadLine)
    assert job.answer_hash == classifier.to_job(0, plain).answer_hash
    said = [record.getMessage() for record in caplog.records]
    assert sum("'temprature'" in text for text in said) == 1, "once, not for each line"


def test_only_the_unknown_is_left_out() -> None:
    classifier = LineClassifier(settings=IGNORING)
    refused = refuse(make_line(202, body={"zzz": 1, "temperature": "hot"}), classifier)
    assert (refused.error.param, refused.error.code) == ("temperature", "invalid_type")
    nested = refuse(make_line(203, body={"stream_options": {"bogus": 1}}), classifier)
    assert nested.error.code == "unknown_parameter"
    assert refuse(make_line(204, body={"zzz": 1})).error.code == "unknown_parameter", "by default"
