"""The output and error files of a batch, from its stored rows.

Owns: which rows go into which file, in input order. Must not know: Redis, records, where the bytes
end up. Writing again gives the same bytes.
"""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.durable import storage_error
from jobs.result_table import ok_mask
from jobs.sinks.counts import RowCounts
from jobs.sinks.jsonl import JsonlWriter
from jobs.sinks.merge import rows_in_order
from jobs.store import PartStore

__all__ = ["OutputFiles", "write_output"]


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Files in a scratch folder; None where no row belongs into one. `counts` are theirs."""

    output: Path | None
    error: Path | None
    counts: RowCounts


def write_output(store: PartStore, folder: Path) -> OutputFiles:
    """Write both files into `folder`, which is emptied first. Blocks.

    Raises StoreWriteError, StoreDamagedError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise storage_error("write results to", folder, error) from error
    output = JsonlWriter(folder / "output.jsonl", store.batch_id)
    errors = JsonlWriter(folder / "error.jsonl", store.batch_id)
    counts = RowCounts()
    try:
        with closing(rows_in_order(store, folder / "sort")) as tables:
            for table in tables:
                counts.add(table)
                is_ok = ok_mask(table)
                output.write(table.filter(is_ok))
                errors.write(table.filter(pc.invert(is_ok)))
                pa.default_memory_pool().release_unused()
        output.close()
        errors.close()
    except BaseException:
        output.abandon()
        errors.abandon()
        raise
    return OutputFiles(_only(output.paths), _only(errors.paths), counts)


def _only(paths: list[Path]) -> Path | None:
    return paths[0] if paths else None
