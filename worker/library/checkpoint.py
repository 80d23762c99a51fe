"""Rows that a call has computed, kept for the next one.

Owns: a folder of Parquet files with finished rows, written while a call runs, and looking rows up
in it. Must not know: engines, who calls. Several processes may share the folder: each writes files
of its own and finds those of the others when it opens the folder. Rows are known by custom_id and
request hash, as across runs of the command line; those with 5xx, cancelled and expired ones are
computed again.
"""

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import pyarrow.parquet as pq

from jobs.durable import storage_error, sync_folder
from jobs.errors import StoreWriteError
from jobs.producers.reuse import ReuseIndex
from jobs.queue import FinishedRow, NewJob
from jobs.result_table import rows_to_table
from schemas.result import ResultRow
from worker.local_jobs import LocalJobs

__all__ = ["Checkpoint", "KeptRows"]

_PATTERN = "rows-*.parquet"
_SHORTEST_WAIT_S = 2.0
_WAIT_SHARE = 0.01
_MAX_ROWS_WAITING = 2_000
_MAX_INDEXES = 16


class Checkpoint:
    """The rows of one folder, as jobs.producers.windows.KnownRows, and a writer for more of them.
    Calls of several threads may share it.

    Rows reach the disk after two seconds or a hundredth of the time since the folder was opened,
    whichever is longer, so that a long run does not end in many thousands of files.
    """

    def __init__(self, folder: Path, engine_identity: str) -> None:
        """Raises StoreWriteError if the folder cannot be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("create", folder, error) from error
        self.engine_identity = engine_identity
        self._folder = folder
        self._indexes: list[ReuseIndex] = []
        self._read: set[Path] = set()
        self._waiting: list[ResultRow] = []
        self._lock = threading.Lock()
        self._opened_s = monotonic()
        self._written_s = self._opened_s

    def refresh(self) -> None:
        """Learn of the rows that were written since the last call, here or elsewhere."""
        with self._lock:
            there = set(self._folder.glob(_PATTERN))
            fresh = sorted(there - self._read)
            if not fresh:
                return
            if len(self._indexes) >= _MAX_INDEXES:
                self._indexes, fresh = [], sorted(there)
            self._indexes.append(ReuseIndex(fresh, self.engine_identity))
            self._read |= there

    def find(self, wanted: Sequence[tuple[NewJob, str]]) -> dict[int, FinishedRow]:
        """For (job, request hash) pairs: the rows that are known, by the job's idx."""
        found: dict[int, FinishedRow] = {}
        with self._lock:
            for index in self._indexes:
                found |= index.find([each for each in wanted if each[0].idx not in found])
        return found

    def add(self, row: ResultRow) -> None:
        """Keep a row until the next flush. One that cannot be found again is not kept."""
        if row.custom_id is not None and row.request_hash is not None:
            with self._lock:
                self._waiting.append(row)

    @property
    def is_due(self) -> bool:
        """Whether it is time for a flush."""
        now_s = monotonic()
        wait_s = max(_SHORTEST_WAIT_S, (now_s - self._opened_s) * _WAIT_SHARE)
        return len(self._waiting) >= _MAX_ROWS_WAITING or now_s - self._written_s >= wait_s

    def flush(self) -> None:
        """Write what waits, durably. Raises StoreWriteError; it waits for the next flush then."""
        with self._lock:
            self._written_s = monotonic()
            rows, self._waiting = self._waiting, []
        if not rows:
            return
        try:
            self._write(rows)
        except StoreWriteError:
            with self._lock:
                self._waiting = rows + self._waiting
            raise

    def _write(self, rows: Sequence[ResultRow]) -> None:
        path = self._folder / f"rows-{secrets.token_hex(8)}.parquet"
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("xb") as file:
                pq.write_table(rows_to_table(rows), file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(self._folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise storage_error("write", path, error) from error


class KeptRows:
    """A row source whose computed rows go into a checkpoint as well."""

    def __init__(self, source: LocalJobs, checkpoint: Checkpoint) -> None:
        self._source = source
        self._checkpoint = checkpoint

    @property
    def total(self) -> int | None:
        return self._source.total

    @property
    def num_tokens(self) -> int:
        return self._source.num_tokens

    async def next_rows(self) -> list[ResultRow]:
        rows = await self._source.next_rows()
        if not rows or self._checkpoint.is_due:
            await asyncio.to_thread(self._checkpoint.flush)
        return rows

    async def close(self) -> None:
        """What was computed is kept, also if it was not fetched any more."""
        try:
            await self._source.close()
        finally:
            await asyncio.to_thread(self._checkpoint.flush)
