"""The three result files of an output folder, written in one pass.

Owns: which row goes into which file. Must not know: the files' formats, where they end up.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.result_table import ok_mask
from jobs.sinks.jsonl import JsonlWriter
from jobs.sinks.parquet import ParquetWriter

__all__ = ["FolderWriter"]


class FolderWriter:
    """`output.jsonl` gets the rows with status 200, `errors.jsonl` the others, neither is created
    empty; `results.parquet` gets all.
    """

    def __init__(self, folder: Path, batch_id: str) -> None:
        self._output = JsonlWriter(folder / "output.jsonl", batch_id)
        self._errors = JsonlWriter(folder / "errors.jsonl", batch_id)
        self._results = ParquetWriter(folder, "results", batch_id=batch_id)

    @property
    def paths(self) -> list[Path]:
        return [*self._output.paths, *self._errors.paths, *self._results.paths]

    def write(self, table: pa.Table) -> None:
        """Append rows in `RESULT_SCHEMA`. Raises StoreWriteError."""
        is_ok = ok_mask(table)
        self._output.write(table.filter(is_ok))
        self._errors.write(table.filter(pc.invert(is_ok)))
        self._results.write(table)

    def close(self) -> None:
        """Flush all files to the device. Raises StoreWriteError."""
        for writer in (self._output, self._errors, self._results):
            writer.close()

    def abandon(self) -> None:
        """Close all files as they are, after a failure."""
        for writer in (self._output, self._errors, self._results):
            writer.abandon()
