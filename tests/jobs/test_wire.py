import json

import pytest

from jobs.errors import QueueError
from jobs.queue import BatchSpec, Outcome
from jobs.wire import bits_of, decode_outbox_entry, decode_status, item_arguments, spec_fields
from schemas.result import ResultRow
from tests.jobs.queue_lines import job, row


def test_bits_are_in_redis_order() -> None:
    assert bits_of([]) == b""
    assert bits_of([0]) == b"\x80"
    assert bits_of([7, 8, 17]) == b"\x01\x80\x40"


def test_every_item_has_the_same_number_of_arguments() -> None:
    assert len(item_arguments([job(0), row(1)])) == 16
    assert item_arguments([row(3, Outcome.OK)])[:4] == [3, "=line-3", "", "ok"]


def test_an_absent_expiry_is_not_stored() -> None:
    assert "expires_at" not in spec_fields(BatchSpec(batch_id="b"))
    assert "expires_at" in spec_fields(BatchSpec(batch_id="b", expires_at_ms=5))


def test_an_absent_batch_has_no_status() -> None:
    assert decode_status("b", {}, num_outbox=0) is None


def outbox_fields(**more: str) -> dict[bytes, bytes]:
    fields = {"i": "4", "c": "=x", "s": "err", "w": "", "a": "2", "r": "", **more}
    return {name.encode(): value.encode() for name, value in fields.items()}


def test_what_came_before_is_a_json_list() -> None:
    history = '{"attempt":1},{"attempt":2}'
    entry = decode_outbox_entry(b"1-0", outbox_fields(h=history, d="3", r="x"))
    assert json.loads(entry.attempts_json or "") == [{"attempt": 1}, {"attempt": 2}]
    assert entry.deduped_from == 3
    plain = decode_outbox_entry(b"1-0", outbox_fields(r="x"))
    assert (plain.attempts_json, plain.deduped_from) == (None, None)


@pytest.mark.parametrize("code", ["max_deliveries_exceeded", "job_lost"])
def test_a_row_made_by_a_script_reads_like_any_other(code: str) -> None:
    entry = decode_outbox_entry(b"1-0", outbox_fields(e=code))
    result = ResultRow.decode(entry.payload)
    assert (result.idx, result.custom_id, result.status_code) == (4, "x", 500)
    assert (result.error_code, result.worker) == (code, None)
    assert result.error_message


def test_an_unknown_error_code_is_not_guessed_at() -> None:
    with pytest.raises(QueueError, match="sunspots"):
        decode_outbox_entry(b"1-0", outbox_fields(e="sunspots"))
