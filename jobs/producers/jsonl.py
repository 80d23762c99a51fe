"""An OpenAI batch file as a stream of queue items: each non-blank line becomes exactly one.

Owns: windows of lines, the strict pass. Must not know: the queue, checks of a line, the order of
the items (windows.py).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.producers.classify import LineClassifier, LineSettings, RefusedLine
from jobs.producers.lines import InputFile, LineReader
from jobs.producers.windows import (
    Candidate,
    Item,
    KnownRows,
    ProducerReport,
    ProducerSettings,
    candidate,
    finish_chunk,
    ordered_chunks,
)
from schemas.errors import ApiError

if TYPE_CHECKING:
    from jobs.producers.twins import Twins

__all__ = ["JsonlProducer", "LineError", "check_strictly"]

_MAX_STRICT_ERRORS = 1000
_TWINS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class LineError:
    """Why the strict policy refuses the file. `line` counts from 1; None: the file as a whole."""

    line: int | None
    error: ApiError


class JsonlProducer:
    """The items of one file. May be iterated again, from the start, with the same result.

    `served_models`: names that have a worker, None accepts all. `known` holds an earlier run's
    rows. `report` counts the latest iteration. Where answers are shared, lines that ask for the
    same one follow each other.
    """

    def __init__(
        self,
        source: InputFile,
        *,
        served_models: Collection[str] | None = None,
        known: KnownRows | None = None,
        settings: ProducerSettings | None = None,
    ) -> None:
        self.report = ProducerReport()
        self._source = source
        self._served_models = served_models
        self._known = known
        self._settings = settings or ProducerSettings()
        self._twins: Twins | None = None

    def chunks(self) -> Iterator[list[Item]]:
        """The items in fan-out order, some hundreds at a time.

        Raises InputError if the file cannot be read, InputChangedError before its end if it is not
        the file that was opened.
        """
        self.report = ProducerReport()
        lines = self._settings.lines
        if lines.shares_answers and self._twins is None:
            from jobs.producers.twins import Twins  # numpy takes time to load

            self._twins = Twins.find(self._source, lines, self._served_models)
        chunks = ordered_chunks(
            self._windows(), known=self._known, settings=self._settings, report=self.report
        )
        for chunk in chunks:
            if self._twins is None or not len(self._twins):
                yield chunk
            else:
                yield from self._with_twins(chunk, self._twins)

    def _with_twins(self, chunk: list[Item], twins: "Twins") -> Iterator[list[Item]]:
        """`chunk` with the lines that are like its own, cut where it becomes too large."""
        classifier = LineClassifier(settings=self._settings.lines)
        ready: list[Item] = []
        for item in chunk:
            ready.append(item)
            waiting: list[Candidate] = []
            num_bytes = 0
            for idx, read in twins.after(item.idx):
                waiting.append(candidate(idx, read, classifier, self._known))
                num_bytes += len(read.body)
                if num_bytes >= self._settings.chunk_bytes or len(waiting) == _TWINS_AT_ONCE:
                    ready += finish_chunk(waiting, self._known, self.report)
                    yield ready
                    ready, waiting, num_bytes = [], [], 0
            ready += finish_chunk(waiting, self._known, self.report)
            if len(ready) >= self._settings.chunk_items:
                yield ready
                ready = []
        if ready:
            yield ready

    def _windows(self) -> Iterator[list[Candidate]]:
        lines = self._settings.lines
        reader = LineReader(self._source, max_line_bytes=lines.max_line_bytes)
        classifier = LineClassifier(served_models=self._served_models, settings=lines)
        window: list[Candidate] = []
        num_bytes = 0
        for idx, line in enumerate(reader):
            read = classifier.read(line)  # in file order: a custom_id belongs to its first line
            if self._twins is not None and self._twins.is_later(idx):
                continue
            window.append(candidate(idx, read, classifier, self._known))
            num_bytes += len(line.data)
            is_full = num_bytes >= self._settings.window_bytes
            if is_full or len(window) == self._settings.window_lines:
                yield window
                window, num_bytes = [], 0
            self.report.num_lines, self.report.num_blank = reader.num_lines, reader.num_blank
        self.report.num_lines, self.report.num_blank = reader.num_lines, reader.num_blank
        if window:
            yield window


def check_strictly(
    source: InputFile,
    *,
    served_models: Collection[str] | None = None,
    settings: LineSettings | None = None,
) -> list[LineError]:
    """The errors that make the strict policy refuse the whole file: lines that are no request and
    unknown models, and an empty file; none for bad parameter values, which fail alone. After 1,000
    errors reading stops and a last entry says so. Raises InputError.
    """
    settings = settings or LineSettings()
    classifier = LineClassifier(served_models=served_models, settings=settings)
    errors: list[LineError] = []
    reader = LineReader(source, max_line_bytes=settings.max_line_bytes)
    for line in reader:
        read = classifier.read(line)
        if isinstance(read, RefusedLine) and read.is_bad_line:
            errors.append(LineError(line.number, read.error))
            if len(errors) == _MAX_STRICT_ERRORS:
                message = f"More lines may be bad: checking stopped after {len(errors)} errors."
                return [*errors, LineError(None, ApiError(400, message, code="too_many_errors"))]
    if reader.num_lines == reader.num_blank:
        message = (
            "The input file is empty. Please ensure that the batch contains at least one request."
        )
        errors.append(LineError(None, ApiError(400, message, code="empty_file")))
    return errors
