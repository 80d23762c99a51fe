import json
from dataclasses import replace

import pytest

from jobs.outbox_rows import entry_to_row, storable
from jobs.queue import OutboxEntry, Outcome
from jobs.result_table import rows_to_table
from tests.jobs.builders import make_row

ENTRY = OutboxEntry(
    entry_id="1-1",
    idx=4,
    custom_id="request-4",
    outcome=Outcome.OK,
    worker="host-1",
    attempt=2,
    payload=make_row(4, attempt=2).encode(),
)


def test_a_result_is_stored_as_the_worker_made_it() -> None:
    assert entry_to_row(ENTRY) == make_row(4, attempt=2)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.CANCELLED, "batch_cancelled"), (Outcome.EXPIRED, "batch_expired")],
)
def test_lines_without_an_answer_have_a_code_and_no_status(outcome: Outcome, code: str) -> None:
    row = entry_to_row(replace(ENTRY, outcome=outcome, payload=b""))
    assert (row.idx, row.custom_id, row.status_code) == (4, "request-4", None)
    assert row.error_code == code
    assert row.error_message
    assert row.response_json is None
    assert row.attempt == 2


def test_the_queue_has_the_last_word_on_which_line_it_is() -> None:
    row = entry_to_row(replace(ENTRY, payload=make_row(9).encode()))
    assert (row.idx, row.custom_id, row.content) == (4, "request-4", "answer 9")


def test_the_queue_says_what_came_before_and_whose_answer_it_is() -> None:
    told = replace(ENTRY, attempts_json='[{"attempt":1}]', deduped_from=2)
    row = entry_to_row(replace(told, payload=make_row(2).encode()))
    assert (row.idx, row.custom_id, row.content) == (4, "request-4", "answer 2")
    assert (row.attempts_json, row.deduped_from) == ('[{"attempt":1}]', 2)
    unanswered = entry_to_row(replace(told, outcome=Outcome.EXPIRED, payload=b""))
    assert unanswered.attempts_json == '[{"attempt":1}]'
    kept = make_row(4, attempt=2, deduped_from=1, attempts_json="[]")
    assert entry_to_row(replace(ENTRY, payload=kept.encode())) == kept, "a row of an earlier run"


@pytest.mark.parametrize(
    "payload", [b"{", b"\xff\n\xff", b'{"idx": 4, "new": 1}', b'{"idx":4}\n\xff']
)
def test_a_payload_that_cannot_be_read_becomes_a_row_with_500(payload: bytes) -> None:
    row = entry_to_row(replace(ENTRY, payload=payload))
    assert (row.idx, row.custom_id, row.status_code) == (4, "request-4", 500)
    assert row.error_code == "result_unreadable"
    assert row.response_json is not None
    assert json.loads(row.response_json)["error"]["code"] == "result_unreadable"


def test_an_error_without_payload_is_a_job_that_was_given_up() -> None:
    row = entry_to_row(replace(ENTRY, outcome=Outcome.ERR, payload=b""))
    assert (row.status_code, row.error_code) == (500, "max_deliveries_exceeded")
    assert "2 attempts" in (row.error_message or "")


def test_one_absurd_number_does_not_spoil_its_neighbours() -> None:
    entries = [ENTRY, replace(ENTRY, idx=5, attempt=10**9)]
    rows = storable(entries, [make_row(4), make_row(5, prompt_tokens=10**12)])
    assert rows[0] == make_row(4)
    assert (rows[1].idx, rows[1].status_code) == (5, 500)
    assert rows_to_table(rows).num_rows == 2
