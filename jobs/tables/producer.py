"""The rows of a table as a stream of queue items: each row becomes exactly one.

Owns: windows of rows, their ids. Must not know: the queue, files, the order of the items
(jobs/producers/windows.py).
"""

from collections.abc import Collection, Iterator

from jobs.producers.classify import LineClassifier, ReadLine, RefusedLine
from jobs.producers.jsonl import LineError
from jobs.producers.windows import (
    Candidate,
    Item,
    KnownRows,
    ProducerReport,
    ProducerSettings,
    candidate,
    ordered_chunks,
)
from jobs.tables.requests import RowRequests
from jobs.tables.source import Row, TableSource
from schemas.batch import BatchLine
from schemas.errors import ApiError
from schemas.requests import CHAT_URL

__all__ = ["TableProducer", "check_rows_strictly", "row_id"]

_MAX_STRICT_ERRORS = 1000


def row_id(idx: int) -> str:
    """The custom_id of a row, which counts from 0."""
    return f"row-{idx}"


class TableProducer:
    """The items of one table (jobs.producers.fanout.Producer). May be iterated again, from the
    start, with the same result. A row without a usable prompt becomes its own 400 row.

    `served_models`: names that have a worker, None accepts all. `known` holds an earlier run's
    rows. `report` counts the latest iteration.
    """

    def __init__(
        self,
        source: TableSource,
        requests: RowRequests,
        *,
        served_models: Collection[str] | None = None,
        known: KnownRows | None = None,
        settings: ProducerSettings | None = None,
    ) -> None:
        """Raises TableSettingError if no request can be made of this table's rows."""
        self.report = ProducerReport()
        self._source = source
        self._requests = requests
        self._columns = requests.check(source.schema)
        self._served_models = served_models
        self._known = known
        self._settings = settings or ProducerSettings()

    def chunks(self) -> Iterator[list[Item]]:
        """The items in fan-out order, some hundreds at a time.

        Raises InputError if the table cannot be read, InputChangedError before its end if it is
        not the table that was opened.
        """
        self.report = ProducerReport()
        yield from ordered_chunks(
            self._windows(), known=self._known, settings=self._settings, report=self.report
        )

    def _windows(self) -> Iterator[list[Candidate]]:
        settings, report = self._settings, self.report
        classifier = LineClassifier(served_models=self._served_models, settings=settings.lines)
        window: list[Candidate] = []
        num_bytes = 0
        for rows in self._source.rows(self._columns):
            for row in rows:
                read = read_row(report.num_lines, row, self._requests, classifier)
                window.append(candidate(report.num_lines, read, classifier, self._known))
                num_bytes += len(read.prompt)
                report.num_lines += 1
                if num_bytes >= settings.window_bytes or len(window) == settings.window_lines:
                    yield window
                    window, num_bytes = [], 0
        self._source.check_unchanged()
        if window:
            yield window


def read_row(
    idx: int, row: Row, requests: RowRequests, classifier: LineClassifier
) -> ReadLine | RefusedLine:
    """Check one row. Never raises for anything that a table may hold."""
    custom_id = row_id(idx)
    if isinstance(row, ApiError):
        return RefusedLine(row, custom_id, is_bad_line=True)
    try:
        body = requests.body(row)
    except ApiError as error:
        return RefusedLine(error, custom_id, is_bad_line=True)
    return classifier.read_request(
        BatchLine.model_construct(custom_id=custom_id, method="POST", url=CHAT_URL, body=body)
    )


def check_rows_strictly(
    source: TableSource, requests: RowRequests, *, served_models: Collection[str] | None = None
) -> list[LineError]:
    """The errors that make the strict policy refuse the whole table: rows that have no prompt, by
    their numbers from 1. After 1,000 of them reading stops, and a last entry says so. Raises
    InputError, TableSettingError.
    """
    columns = requests.check(source.schema)
    classifier = LineClassifier(served_models=served_models)
    errors: list[LineError] = []
    idx = 0
    for rows in source.rows(columns):
        for row in rows:
            read = read_row(idx, row, requests, classifier)
            idx += 1
            if isinstance(read, RefusedLine) and read.is_bad_line:
                errors.append(LineError(idx, read.error))
                if len(errors) == _MAX_STRICT_ERRORS:
                    message = f"More rows may be bad: checking stopped after {len(errors)} errors."
                    stopped = ApiError(400, message, code="too_many_errors")
                    return [*errors, LineError(None, stopped)]
    return errors
