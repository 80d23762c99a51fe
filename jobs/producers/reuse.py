"""Rows that an earlier run has computed, found again by custom_id and request hash.

Rows with status 200 or 4xx are kept; 5xx, cancelled and expired ones are computed again.

Owns: which rows are kept, the index over them (16 bytes a row), loading them. Must not know: runs
and their folders, queues.
"""

import logging
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from jobs.queue import FinishedRow, NewJob, Outcome
from jobs.result_table import table_to_rows
from schemas.result import ResultRow

__all__ = ["ReuseIndex"]

_log = logging.getLogger(__name__)

_KEY_COLUMNS = ["custom_id", "request_hash", "status_code"]
_NEEDED_COLUMNS = {*_KEY_COLUMNS, "idx", "response_json"}  # an output table has not all of them
_CACHE_BYTES = 32 << 20
_ROW_BITS = 32


class ReuseIndex:
    """The kept rows of some Parquet files of results.

    `engine_identity` is that of the run that asks: its part in the request hash is what keeps rows
    of another model or setting from matching.
    """

    def __init__(self, files: Iterable[Path], engine_identity: str) -> None:
        """Read the keys of `files`; of two rows with the same key the first file's counts. A file
        that cannot be read is left out with a warning: its rows are computed again.
        """
        self.engine_identity = engine_identity
        self._groups: list[tuple[Path, int]] = []
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        tags, places = array("Q"), array("Q")
        for path in files:
            try:
                self._read_keys(path, tags, places)
            except (OSError, pa.ArrowException, KeyError) as error:
                _log.warning("earlier results in %s cannot be read: %s", path, error)
        order = np.argsort(np.frombuffer(tags, dtype=np.uint64), kind="stable")
        self._tags = np.frombuffer(tags, dtype=np.uint64)[order]
        self._places = np.frombuffer(places, dtype=np.uint64)[order]

    def __len__(self) -> int:
        return len(self._tags)

    def find(self, wanted: Sequence[tuple[NewJob, str]]) -> dict[int, FinishedRow]:
        """For jobs and their request hashes: the known rows by the job's idx, renumbered to it."""
        by_group: dict[int, list[tuple[int, NewJob, str]]] = defaultdict(list)
        tags = np.array([_tag(job.custom_id, hash_) for job, hash_ in wanted], dtype=np.uint64)
        positions = np.searchsorted(self._tags, tags)
        for (job, hash_), tag, position in zip(wanted, tags, positions.tolist(), strict=True):
            if position < len(self._tags) and self._tags[position] == tag:
                place = int(self._places[position])
                group, row = place >> _ROW_BITS, place & ((1 << _ROW_BITS) - 1)
                by_group[group].append((row, job, hash_))
        found: dict[int, FinishedRow] = {}
        for group, hits in sorted(by_group.items(), key=lambda entry: entry[0]):
            for (_, job, hash_), known in zip(hits, self._load(group, hits), strict=False):
                if (known.custom_id, known.request_hash) == (job.custom_id, hash_):
                    found[job.idx] = _renumbered(known, job)
        return found

    def _read_keys(self, path: Path, tags: "array[int]", places: "array[int]") -> None:
        file = pq.ParquetFile(path)
        if not _NEEDED_COLUMNS.issubset(file.schema_arrow.names):
            return
        for number in range(file.num_row_groups):
            keys = file.read_row_group(number, columns=_KEY_COLUMNS, use_threads=False)
            group = len(self._groups)
            self._groups.append((path, number))
            columns = (keys.column(name).to_pylist() for name in _KEY_COLUMNS)
            for row, (custom_id, hash_, status) in enumerate(zip(*columns, strict=True)):
                if custom_id is not None and hash_ is not None and _is_kept(status):
                    tags.append(_tag(custom_id, hash_))
                    places.append(group << _ROW_BITS | row)

    def _load(self, group: int, hits: Sequence[tuple[int, NewJob, str]]) -> list[ResultRow]:
        """The rows of `hits`, which lie in one row group; none if it cannot be read any more."""
        try:
            table = self._table(group)
        except (OSError, pa.ArrowException) as error:
            _log.warning("earlier results in %s are lost: %s", self._groups[group][0], error)
            return []
        return table_to_rows(table.take([row for row, _, _ in hits]))

    def _table(self, group: int) -> Any:
        table = self._cache.pop(group, None)
        if table is None:
            path, number = self._groups[group]
            table = pq.ParquetFile(path).read_row_group(number, use_threads=False)
        self._cache[group] = table
        while len(self._cache) > 1 and sum(t.nbytes for t in self._cache.values()) > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return table


def _is_kept(status: int | None) -> bool:
    return status == 200 or (status is not None and 400 <= status < 500)


def _tag(custom_id: str | None, hash_: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{hash_}{custom_id}".encode("utf-8", "surrogatepass"))


def _renumbered(row: ResultRow, job: NewJob) -> FinishedRow:
    copy = row.model_copy(update={"idx": job.idx, "deduped_from": None})
    return FinishedRow(
        idx=job.idx,
        custom_id=job.custom_id,
        outcome=Outcome.OK if row.status_code == 200 else Outcome.ERR,
        payload=copy.encode(),
    )
