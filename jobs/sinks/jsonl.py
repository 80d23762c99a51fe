"""Result rows as OpenAI batch output lines.

Owns: one JSONL file that grows table by table. Must not know: where it ends up, the lines' format.
"""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from jobs.durable import storage_error
from jobs.identity import line_id, request_id
from schemas.batch import output_line
from schemas.result import ResultRow

__all__ = ["JsonlWriter"]

_COLUMNS = ["idx", "custom_id", "status_code", "error_code", "error_message", "response_json"]
_SLICE_ROWS = 512


class JsonlWriter:
    """Writes `path`, created with its first row, or at once if `is_created_empty`."""

    def __init__(self, path: Path, batch_id: str, *, is_created_empty: bool = False) -> None:
        self.path = path
        self.num_rows = 0
        self._batch_id = batch_id
        self._file: BinaryIO | None = None
        if is_created_empty:
            self._open()

    def write(self, table: pa.Table) -> None:
        """Append the rows of `table` (any table with the result columns). Raises
        StoreWriteError.
        """
        if table.num_rows == 0:
            return
        file = self._file or self._open()
        for start in range(0, table.num_rows, _SLICE_ROWS):
            cells = table.slice(start, _SLICE_ROWS).select(_COLUMNS).to_pylist()
            lines = b"".join(self._line(ResultRow.model_validate(row)) for row in cells)
            try:
                file.write(lines)
            except OSError as error:
                raise storage_error("write", self.path, error) from error
        self.num_rows += table.num_rows

    @property
    def paths(self) -> list[Path]:
        """The file, if it was created."""
        return [] if self._file is None else [self.path]

    def close(self) -> None:
        """Flush the file to the device. Raises StoreWriteError."""
        if self._file is None:
            return
        try:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error("write", self.path, error) from error

    def abandon(self) -> None:
        """Close the file as it is, after a failure."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _open(self) -> BinaryIO:
        try:
            self._file = self.path.open("wb")
        except OSError as error:
            raise storage_error("create", self.path, error) from error
        return self._file

    def _line(self, row: ResultRow) -> bytes:
        idx = row.idx
        return output_line(row, line_id(self._batch_id, idx), request_id(self._batch_id, idx))
