import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import InputChangedError, TableSettingError
from jobs.identity import request_hash
from jobs.producers.windows import Item, ProducerReport, ProducerSettings
from jobs.queue import FinishedRow, NewJob, Outcome
from jobs.tables.memory_source import MemorySource
from jobs.tables.producer import TableProducer, check_rows_strictly
from jobs.tables.requests import RowRequests
from jobs.tables.source import Row
from schemas.errors import ApiError
from schemas.result import ResultRow

ASKED = RowRequests(model="demo", prompt_column="text")
SMALL = ProducerSettings(window_lines=10, chunk_items=4)


class RowSource(MemorySource):
    """Rows that no Arrow table can hold."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(pa.table({"text": [""] * len(rows)}))
        self.given = list(rows)

    def rows(self, columns: Sequence[str]) -> Iterator[list[Row]]:
        yield self.given[:1]
        yield self.given[1:]


def source_of(*texts: str | None) -> MemorySource:
    return MemorySource(pa.table({"text": pa.array(texts, pa.string())}))


def items_of(producer: TableProducer) -> list[Item]:
    return [item for chunk in producer.chunks() for item in chunk]


def test_every_row_becomes_one_item_and_twice_the_same() -> None:
    producer = TableProducer(source_of("b", None, "a"), ASKED, served_models=["demo"])
    items = items_of(producer)
    assert items == items_of(producer)
    assert producer.report == ProducerReport(num_lines=3, num_jobs=2, num_bad=1)
    by_idx = {item.idx: item for item in items}
    assert [by_idx[idx].custom_id for idx in range(3)] == ["row-0", "row-1", "row-2"]
    job, refused = by_idx[0], by_idx[1]
    assert isinstance(job, NewJob)
    assert json.loads(job.body) == ASKED.body({"text": "b"})
    assert isinstance(refused, FinishedRow)
    row = ResultRow.decode(refused.payload)
    assert (row.status_code, row.error_code, refused.outcome) == (
        400,
        "invalid_prompt",
        Outcome.ERR,
    )


def test_rows_with_a_common_beginning_stand_together() -> None:
    texts = [f"{n % 3} {n}" for n in range(30)]
    producer = TableProducer(source_of(*texts), ASKED, settings=SMALL)
    order = [item.idx for item in items_of(producer)]
    assert sorted(order) == list(range(30))
    first_window = [texts[idx] for idx in order[:10]]
    assert first_window == sorted(first_window)
    assert set(order[:10]) == set(range(10)), "windows do not mix"


def test_chunks_are_bounded() -> None:
    producer = TableProducer(source_of(*"abcdefghijklm"), ASKED, settings=SMALL)
    assert [len(chunk) for chunk in producer.chunks()] == [4, 4, 2, 3]


def test_a_row_that_is_none_is_an_error_of_its_own() -> None:
    rows: list[Row] = [ApiError(400, "Line 1 is no row.", code="invalid_row"), {"text": "a"}, {}]
    items = {item.idx: item for item in items_of(TableProducer(RowSource(rows), ASKED))}
    codes = [
        ResultRow.decode(item.payload).error_code if isinstance(item, FinishedRow) else None
        for _, item in sorted(items.items())
    ]
    assert codes == ["invalid_row", None, "invalid_prompt"]


def test_what_the_engine_cannot_take_is_refused_by_the_same_checks_as_a_line() -> None:
    long = TableProducer(source_of("x" * (1 << 20)), ASKED)
    (item,) = items_of(long)
    assert isinstance(item, FinishedRow)
    assert ResultRow.decode(item.payload).status_code == 413
    unserved = TableProducer(source_of("x"), ASKED, served_models=["other"])
    (item,) = items_of(unserved)
    assert isinstance(item, FinishedRow)
    assert ResultRow.decode(item.payload).error_code == "model_not_found"


def test_known_rows_are_found_by_what_they_ask() -> None:
    class Known:
        engine_identity = "engine"

        def find(self, wanted: Sequence[tuple[NewJob, str]]) -> dict[int, FinishedRow]:
            hash_ = request_hash(ASKED.body({"text": "b"}), "engine")
            return {
                job.idx: FinishedRow(
                    idx=job.idx, custom_id=job.custom_id, outcome=Outcome.OK, payload=b"known"
                )
                for job, given in wanted
                if given == hash_
            }

    producer = TableProducer(source_of("a", "b"), ASKED, known=Known())
    items = {item.idx: item for item in items_of(producer)}
    assert isinstance(items[0], NewJob)
    assert isinstance(items[1], FinishedRow)
    assert producer.report.num_reused == 1


def test_a_table_that_changed_is_noticed_before_its_end() -> None:
    class Changing(MemorySource):
        def check_unchanged(self) -> None:
            raise InputChangedError("changed")

    chunks = TableProducer(Changing(pa.table({"text": ["a"] * 25})), ASKED, settings=SMALL).chunks()
    with pytest.raises(InputChangedError):
        list(chunks)


def test_columns_are_checked_before_anything_is_read() -> None:
    with pytest.raises(TableSettingError):
        TableProducer(source_of("a"), RowRequests(model="m", prompt_column="other"))


def test_the_strict_pass_names_bad_rows_by_number() -> None:
    errors = check_rows_strictly(source_of("a", None, "b", None), ASKED, served_models=["demo"])
    assert [(error.line, error.error.code) for error in errors] == [
        (2, "invalid_prompt"),
        (4, "invalid_prompt"),
    ]
    many: Any = check_rows_strictly(source_of(*[None] * 1500), ASKED)
    assert len(many) == 1001
    assert (many[-1].line, many[-1].error.code) == (None, "too_many_errors")
