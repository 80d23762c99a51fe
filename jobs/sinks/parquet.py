"""Result rows as Parquet files with even row groups.

Owns: the sizes of row groups and files, compression, the names of split files. Must not know: where
the files end up, what the columns mean.
"""

import contextlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.durable import storage_error
from jobs.result_table import RESULT_SCHEMA

__all__ = ["ParquetWriter"]

_GROUP_ROWS = 16_384
_GROUP_BYTES = 16 << 20
_FILE_BYTES = 128 << 20


class ParquetWriter:
    """Writes `<stem>.parquet` into `folder`, or `<stem>-00000.parquet`, ... where one file would
    pass `file_bytes` (None: never split). `paths` holds the files after `close`. `schema` is that
    of the rows, with metadata of its own.

    Row groups have 16,384 rows, fewer where these would pass 16 MB in memory.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        *,
        batch_id: str,
        file_bytes: int | None = _FILE_BYTES,
        schema: pa.Schema = RESULT_SCHEMA,
    ) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._stem = stem
        self._file_bytes = file_bytes
        self._schema = schema.with_metadata(
            {**(schema.metadata or {}), b"headrace.batch_id": batch_id.encode()}
        )
        self._waiting: list[pa.Table] = []
        self._num_waiting = 0
        self._bytes_waiting = 0
        self._file: BinaryIO | None = None
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """Append rows in the file's schema. Raises StoreWriteError."""
        bytes_per_row = max(table.nbytes // max(table.num_rows, 1), 1)
        step = max(min(_GROUP_ROWS, _GROUP_BYTES // bytes_per_row), 1)
        while table.num_rows > 0:
            piece = table.slice(0, min(step, _GROUP_ROWS - self._num_waiting))
            table = table.slice(piece.num_rows)
            if self._num_waiting and self._bytes_waiting + piece.nbytes > _GROUP_BYTES:
                self._write_group()
            self._waiting.append(piece)
            self._num_waiting += piece.num_rows
            self._bytes_waiting += piece.nbytes
            if self._num_waiting == _GROUP_ROWS:
                self._write_group()

    def close(self) -> None:
        """Write what waits and flush the file to the device. Raises StoreWriteError."""
        if self._num_waiting or not self.paths:
            self._write_group()
        self._close_file()
        if len(self.paths) == 1:
            only = self._folder / f"{self._stem}.parquet"
            self.paths = [self.paths[0].rename(only)]

    def abandon(self) -> None:
        """Close the file as it is, after a failure."""
        if self._file is not None:
            for end in (self._writer.close, self._file.close):
                with contextlib.suppress(OSError):
                    end()
            self._file, self._writer = None, None

    def _write_group(self) -> None:
        if self._file is not None and self._file_bytes is not None:  # noqa: SIM102
            if self._file.tell() >= self._file_bytes:
                self._close_file()
        empty = pa.Table.from_batches([], self._schema)  # empty_table() knows fewer types
        group = pa.concat_tables([empty, *self._waiting])
        self._waiting, self._num_waiting, self._bytes_waiting = [], 0, 0
        try:
            if self._file is None:
                self._open_file()
            if group.num_rows:
                self._writer.write_table(group, row_group_size=_GROUP_ROWS)
        except OSError as error:
            raise storage_error("write", self.paths[-1], error) from error

    def _open_file(self) -> None:
        self.paths.append(self._folder / f"{self._stem}-{len(self.paths):05d}.parquet")
        self._file = self.paths[-1].open("wb")
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")

    def _close_file(self) -> None:
        if self._file is None:
            return
        try:
            with self._file as file:
                self._writer.close()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error("write", self.paths[-1], error) from error
        self._file, self._writer = None, None
