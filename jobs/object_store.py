"""The results of one batch in an object store: what was appended stays, whatever dies.

    part-<ms>-<random>-<bytes>-<checksum>.parquet      immutable; its name says what must be in it

The listing is the manifest. An object appears whole and durable or not at all, so a row is stored
when the upload of its part has ended. Arrow cannot write an object only if it is new, so two
writers cannot be kept apart as on a disk; instead every reader resolves the same listing alike: a
line's row is that of the first part, by name, that has one, and later ones are passed over. Parts
are put together by writing the larger one before the smaller ones are deleted.

Follows the idea of a grow-only set (Shapiro et al., SSS 2011), which needs no agreement.

Owns: the parts below one prefix. Must not know: Redis, final files.
"""

import logging
import re
import secrets
import time
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.bitmap import Bitmap
from jobs.errors import StoreDamagedError, StoreError, StoreWriteError
from jobs.object_folder import ObjectFolder, ObjectInfo, object_error_reason
from jobs.part_rows import fresh_rows, parts_to_absorb
from jobs.parts import Part, decode_published, describe_part, encode_part
from jobs.result_table import line_indexes, rows_to_table
from jobs.store import AppendReport
from schemas.result import ResultRow

__all__ = ["ObjectPartStore"]

_log = logging.getLogger(__name__)

_NAME = re.compile(r"part-\d{13}-[0-9a-f]{16}-(\d+)-([0-9a-f]{32})\.parquet")
_RETRIES = 20


class _UnreadableError(Exception):
    """An object is no Parquet file of ours."""


class ObjectPartStore:
    """Append-only rows of one batch below one prefix. Not for several threads at once; several
    processes, also on other machines, may each have one.

    `done` holds the lines that have a row. `damage` says, one sentence each, which objects are not
    what their names say; their rows are not in `done`.
    """

    def __init__(self, objects: ObjectFolder, batch_id: str) -> None:
        self.batch_id = batch_id
        self.done = Bitmap()
        self.damage: tuple[str, ...] = ()
        self._objects = objects
        self._known: dict[str, Part] = {}
        self._kept: dict[
            str, npt.NDArray[np.bool_]
        ] = {}  # masks of the parts of which not all rows count

    @classmethod
    def open(cls, objects: ObjectFolder, batch_id: str) -> Self:
        """Learn what is there. Raises StoreWriteError if the store does not answer."""
        store = cls(objects, batch_id)
        store.refresh()
        for sentence in store.damage:
            _log.warning("%s", sentence)
        return store

    @property
    def place(self) -> str:
        """Where this is, for messages."""
        return self._objects.url

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for _, part in sorted(self._known.items()) if part.num_rows)

    def append(self, rows: Sequence[ResultRow]) -> AppendReport:
        """Store `rows`; after the return they are durable. At most one row per line counts.

        Raises StoreWriteError (appending the same rows again is right), ValueError or
        OverflowError for a number that does not fit its column.
        """
        table = rows_to_table(rows)
        num_given = table.num_rows
        self.refresh()
        table = fresh_rows(table, self.done)
        if table.num_rows == 0:
            return AppendReport(0, num_given, 0)
        small = parts_to_absorb(self.parts)
        merged = table
        if small:
            tables = [self.read(part) for part in self.parts if part in small]
            merged = pa.concat_tables([*tables, table]).combine_chunks()
        part = self._put(merged)
        self._known[part.file] = part
        self.done.update(line_indexes(table))
        self._remove(small)
        return AppendReport(table.num_rows, num_given - table.num_rows, part.num_bytes)

    def read(self, part: Part, columns: list[str] | None = None) -> pa.Table:
        """The rows of one of `parts` that count. Raises StoreDamagedError."""
        path = f"{self.place}/{part.file}"
        try:
            data = self._objects.read(part.file)
        except FileNotFoundError as error:
            raise StoreDamagedError(f"{path} is missing", path=path) from error
        try:
            table = decode_published(path, part, data, columns)
        except StoreDamagedError:
            self._objects.rename(part.file, f"{part.file}.damaged")
            raise
        mask = self._kept.get(part.file)
        return table if mask is None else table.filter(pa.array(mask))

    def refresh(self) -> None:
        """Learn what others stored, put together or removed. Raises StoreWriteError."""
        for _ in range(_RETRIES):
            listing = {info.name: info for info in self._objects.listing()}
            new = sorted(listing.keys() - self._known.keys())
            if self._known.keys() - listing.keys():
                self._start_over()
                new = sorted(listing)
            try:
                if self._learn([listing[name] for name in new]):
                    return
                self._start_over()
                if self._learn([listing[name] for name in sorted(listing)]):
                    return
            except FileNotFoundError:
                continue  # put together with others since the listing
        raise StoreError(f"the parts in {self.place} change faster than they can be read")

    def _learn(self, objects: Sequence[ObjectInfo]) -> bool:
        """Take in parts, in the order of their names; False if one of them has a line that an
        unknown order of parts must decide, because parts with later names are known already.
        """
        latest = max(self._known, default="")
        damage: list[str] = []
        for info in objects:
            match = _NAME.fullmatch(info.name)
            if match is None:
                continue
            if int(match[1]) != info.num_bytes:
                damage.append(f"{self.place}/{info.name} is damaged: it has {info.num_bytes} bytes")
                continue
            try:
                indexes, raw_bytes = self._indexes(info.name)
            except _UnreadableError:
                damage.append(f"{self.place}/{info.name} is not a readable Parquet file")
                continue
            kept = np.fromiter((idx not in self.done for idx in indexes), bool, len(indexes))
            if not kept.all():
                if info.name < latest:
                    return False
                self._kept[info.name] = kept
            self._known[info.name] = _described(info, match[2], indexes, kept, raw_bytes)
            self.done.update(np.asarray(indexes)[kept].tolist())
        self.damage = tuple(damage)
        return True

    def _indexes(self, name: str) -> tuple[list[int], int]:
        """The lines of a part, and the size of its columns in memory. Fetches little more than
        that column. Raises _UnreadableError, FileNotFoundError, StoreWriteError.
        """
        with self._objects.open(name) as source:
            try:
                file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
                groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
                table = file.read(columns=["idx"], use_threads=False)
            except (pa.ArrowException, KeyError) as error:
                raise _UnreadableError from error
            except OSError as error:
                if "CRC" in str(error):
                    raise _UnreadableError from error
                reason = object_error_reason(error)
                raise StoreWriteError(f"cannot read {self.place}/{name}: {reason}") from error
        return line_indexes(table), sum(group.total_byte_size for group in groups)

    def _put(self, table: pa.Table) -> Part:
        data = encode_part(table, self.batch_id)
        checksum = describe_part("", table, data).checksum
        stamp = f"{int(time.time() * 1000):013d}-{secrets.token_hex(8)}"
        part = describe_part(f"part-{stamp}-{len(data)}-{checksum}.parquet", table, data)
        self._objects.put(part.file, data)
        return part

    def _remove(self, small: frozenset[Part]) -> None:
        """Delete parts whose rows a new one has. What stays of them is found at the next look."""
        try:
            self._objects.delete(old.file for old in small)
        except StoreWriteError as error:
            _log.warning("%s", error)
            self._start_over()
            self.refresh()
            return
        for old in small:
            self._known.pop(old.file, None)
            self._kept.pop(old.file, None)

    def _start_over(self) -> None:
        self._known, self._kept, self.done = {}, {}, Bitmap()


def _described(
    info: ObjectInfo,
    checksum: str,
    indexes: Sequence[int],
    kept: npt.NDArray[np.bool_],
    raw_bytes: int,
) -> Part:
    """What is known of a part; `num_rows` are those that count."""
    return Part(
        file=info.name,
        num_rows=int(kept.sum()),
        num_bytes=info.num_bytes,
        raw_bytes=raw_bytes,
        first_idx=min(indexes, default=0),
        last_idx=max(indexes, default=0),
        checksum=checksum,
    )
