"""The order in which the rows of an input are enqueued, whatever the input is.

Rows come in windows; inside a window items are ordered by the text of their prompts, so that rows
with a common beginning stand together and a worker computes that beginning once. The order depends
on the input alone, never on settings or on what an earlier run left, so a fan-out that died can go
on by position.

Owns: the order, chunks, putting in rows that are known, the counts. Must not know: the queue, how
an input is read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobs.identity import request_hash
from jobs.producers.classify import LineClassifier, LineSettings, ReadLine, RefusedLine
from jobs.queue import FinishedRow, NewJob

__all__ = [
    "Candidate",
    "Item",
    "KnownRows",
    "ProducerReport",
    "ProducerSettings",
    "candidate",
    "finish_chunk",
    "ordered_chunks",
]

Item = NewJob | FinishedRow


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
    """Counts over the whole input: `num_lines` physical lines (rows of a table), of which
    `num_blank` are blank and the others ended as `num_jobs` to compute, `num_bad` refused,
    `num_reused` known already.
    """

    num_lines: int = 0
    num_blank: int = 0
    num_jobs: int = 0
    num_bad: int = 0
    num_reused: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item on its way through the window; `hash` is set if it may be known already."""

    prompt: bytes
    item: Item
    hash: str | None = None

    @property
    def key(self) -> tuple[bytes, int]:
        return (self.prompt, self.item.idx)


def candidate(
    idx: int, read: ReadLine | RefusedLine, classifier: LineClassifier, known: KnownRows | None
) -> Candidate:
    """What becomes of the row `idx`: a job, or the row of its refusal."""
    if isinstance(read, RefusedLine):
        return Candidate(read.prompt, classifier.to_row(idx, read))
    hash_ = None if known is None else request_hash(read.line.body, known.engine_identity)
    return Candidate(read.prompt, classifier.to_job(idx, read), hash_)


def ordered_chunks(
    windows: Iterable[list[Candidate]],
    *,
    known: KnownRows | None,
    settings: ProducerSettings,
    report: ProducerReport,
) -> Iterator[list[Item]]:
    """The items in fan-out order, some hundreds at a time, counted in `report`. The windows are
    used up.
    """
    for window in windows:
        window.sort(key=lambda entry: entry.key, reverse=True)
        while window:
            yield finish_chunk(_cut(window, settings), known, report)


def _cut(window: list[Candidate], settings: ProducerSettings) -> list[Candidate]:
    """Take the next chunk off the end of `window`, which is sorted backwards."""
    chunk: list[Candidate] = []
    num_bytes = 0
    while window and len(chunk) < settings.chunk_items:
        if num_bytes >= settings.chunk_bytes:
            break
        entry = window.pop()
        item = entry.item
        num_bytes += len(item.body if isinstance(item, NewJob) else item.payload)
        chunk.append(entry)
    return chunk


def finish_chunk(
    chunk: Sequence[Candidate], known: KnownRows | None, report: ProducerReport
) -> list[Item]:
    """Put in the rows that are known, and count."""
    wanted = [
        (entry.item, entry.hash)
        for entry in chunk
        if entry.hash is not None and isinstance(entry.item, NewJob)
    ]
    found = known.find(wanted) if known is not None and wanted else {}
    items: list[Item] = []
    for entry in chunk:
        item = entry.item
        if isinstance(item, FinishedRow):
            report.num_bad += 1
            items.append(item)
        elif (row := found.get(item.idx)) is not None:
            report.num_reused += 1
            items.append(row)
        else:
            report.num_jobs += 1
            items.append(item)
    return items
