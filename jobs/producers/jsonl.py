"""An OpenAI batch file as a stream of queue items.

Each non-blank line becomes exactly one item. Lines are read in windows; inside a window items are
ordered by the text of their prompts, so that lines with a common beginning stand together and a
worker computes that beginning once. The order depends on the file alone, never on settings or on
what an earlier run left, so a fan-out that died can go on by position.

Owns: windows, their order, the counts, the strict pass. Must not know: the queue, checks of a line.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobs.identity import request_hash
from jobs.producers.classify import LineClassifier, LineSettings, ReadLine, RefusedLine
from jobs.producers.lines import InputFile, LineReader
from jobs.queue import FinishedRow, NewJob
from schemas.errors import ApiError

__all__ = [
    "Item",
    "JsonlProducer",
    "KnownRows",
    "LineError",
    "ProducerReport",
    "ProducerSettings",
    "check_strictly",
]

Item = NewJob | FinishedRow

_MAX_STRICT_ERRORS = 1000


class KnownRows(Protocol):
    """The rows of earlier runs, as the producer asks for them."""

    engine_identity: str

    def find(self, wanted: Sequence[tuple[NewJob, str]]) -> dict[int, FinishedRow]:
        """For (job, request hash) pairs: the rows that are known, by the job's idx."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """A window ends at `window_lines` lines or `window_bytes` bytes of input, a chunk at
    `chunk_items` items or `chunk_bytes` bytes of bodies. Changing the window between the runs of
    one batch changes the order of its items.
    """

    window_lines: int = 10_000
    window_bytes: int = 16 << 20
    chunk_items: int = 500
    chunk_bytes: int = 4 << 20
    lines: LineSettings = field(default_factory=LineSettings)


@dataclass(slots=True)
class ProducerReport:
    """Counts over the whole file: `num_lines` physical lines, of which `num_blank` are blank and
    the others ended as `num_jobs` to compute, `num_bad` refused, `num_reused` known already.
    """

    num_lines: int = 0
    num_blank: int = 0
    num_jobs: int = 0
    num_bad: int = 0
    num_reused: int = 0


@dataclass(frozen=True, slots=True)
class LineError:
    """Why the strict policy refuses the file. `line` counts from 1; None: the file as a whole."""

    line: int | None
    error: ApiError


@dataclass(frozen=True, slots=True)
class _Sortable:
    """An item on its way through the window; `hash` is set if it may be known already."""

    prompt: bytes
    item: Item
    hash: str | None = None

    @property
    def key(self) -> tuple[bytes, int]:
        return (self.prompt, self.item.idx)


class JsonlProducer:
    """The items of one file. May be iterated again, from the start, with the same result.

    `served_models`: names that have a worker, None accepts all. `known` holds an earlier run's
    rows. `report` counts the latest iteration.
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

    def chunks(self) -> Iterator[list[Item]]:
        """The items in fan-out order, some hundreds at a time.

        Raises InputError if the file cannot be read, InputChangedError before its end if it is not
        the file that was opened.
        """
        self.report = ProducerReport()
        for window in self._windows():
            window.sort(key=lambda entry: entry.key, reverse=True)
            while window:
                yield self._finish(self._cut(window))

    def _windows(self) -> Iterator[list[_Sortable]]:
        lines = self._settings.lines
        reader = LineReader(self._source, max_line_bytes=lines.max_line_bytes)
        classifier = LineClassifier(served_models=self._served_models, settings=lines)
        window: list[_Sortable] = []
        num_bytes = 0
        for idx, line in enumerate(reader):
            window.append(self._classify(idx, classifier.read(line), classifier))
            num_bytes += len(line.data)
            is_full = num_bytes >= self._settings.window_bytes
            if is_full or len(window) == self._settings.window_lines:
                yield window
                window, num_bytes = [], 0
            self.report.num_lines, self.report.num_blank = reader.num_lines, reader.num_blank
        self.report.num_lines, self.report.num_blank = reader.num_lines, reader.num_blank
        if window:
            yield window

    def _classify(
        self, idx: int, read: ReadLine | RefusedLine, classifier: LineClassifier
    ) -> _Sortable:
        if isinstance(read, RefusedLine):
            return _Sortable(read.prompt, classifier.to_row(idx, read))
        hash_ = None
        if self._known is not None:
            hash_ = request_hash(read.line.body, self._known.engine_identity)
        return _Sortable(read.prompt, classifier.to_job(idx, read), hash_)

    def _cut(self, window: list[_Sortable]) -> list[_Sortable]:
        """Take the next chunk off the end of `window`, which is sorted backwards."""
        chunk: list[_Sortable] = []
        num_bytes = 0
        while window and len(chunk) < self._settings.chunk_items:
            if num_bytes >= self._settings.chunk_bytes:
                break
            entry = window.pop()
            item = entry.item
            num_bytes += len(item.body if isinstance(item, NewJob) else item.payload)
            chunk.append(entry)
        return chunk

    def _finish(self, chunk: list[_Sortable]) -> list[Item]:
        """Put in the rows that are known, and count."""
        wanted = [
            (entry.item, entry.hash)
            for entry in chunk
            if entry.hash is not None and isinstance(entry.item, NewJob)
        ]
        found = self._known.find(wanted) if self._known is not None and wanted else {}
        items: list[Item] = []
        for entry in chunk:
            item = entry.item
            if isinstance(item, FinishedRow):
                self.report.num_bad += 1
                items.append(item)
            elif (known := found.get(item.idx)) is not None:
                self.report.num_reused += 1
                items.append(known)
            else:
                self.report.num_jobs += 1
                items.append(item)
        return items


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
