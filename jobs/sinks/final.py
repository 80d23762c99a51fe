"""From a complete store to the files that the user asked for.

The files are written in the state folder, flushed, and renamed into place at the very end, so that
whoever looks sees the earlier run's files or the new ones, never half of one. `run.json` leaves
first and comes back last: where it stands, the files next to it belong together.

Owns: the order of these steps. Must not know: formats, the queue.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from jobs.durable import storage_error, sync_folder
from jobs.result_store import ResultStore
from jobs.sinks.counts import RowCounts
from jobs.sinks.folder import FolderWriter
from jobs.sinks.jsonl import JsonlWriter
from jobs.sinks.manifest import RunFacts, write_run_manifest
from jobs.sinks.merge import rows_in_order
from jobs.sinks.parquet import ParquetWriter
from jobs.sinks.target import Target, TargetKind

__all__ = ["FinalReport", "MakeWriter", "RowWriter", "write_final_files"]

_RUN_MANIFEST = "run.json"


class RowWriter(Protocol):
    """One format. `paths` holds the files it has made, complete after `close`. After a failure it
    is abandoned instead.
    """

    @property
    def paths(self) -> list[Path]: ...

    def write(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


MakeWriter = Callable[[Target, Path, str, RunFacts], RowWriter]
"""A writer of an output's own, for its target, a folder to write in, the batch's id, the facts."""


@dataclass(frozen=True, slots=True)
class FinalReport:
    """What was written: the counts are those of the files."""

    counts: RowCounts
    files: tuple[Path | str, ...]


def write_final_files(
    target: Target, store: ResultStore, *, facts: RunFacts, make_writer: MakeWriter | None = None
) -> FinalReport:
    """Write all rows of `store` in input order to `target`, replacing an earlier run's files.

    `make_writer` makes the writer of the rows, if it is not that of result rows. May be repeated;
    the same rows give the same JSONL bytes. Raises StoreWriteError, and StoreDamagedError if a part
    cannot be read; the earlier files are untouched then, unless the failure came among the last
    renames, in which case repeating heals it.
    """
    assert target.state_folder is not None, "rows that stay in Redis have no files"
    store.refresh()
    staging = target.state_folder / "final"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        if make_writer is None:
            writer = _writer(target, staging, store.batch_id)
        else:
            writer = make_writer(target, staging, store.batch_id, facts)
        counts, paths = _write_rows(target, store, writer)
        if target.kind is TargetKind.FOLDER:
            manifest = staging / _RUN_MANIFEST
            names = [path.name for path in paths]
            write_run_manifest(
                manifest, batch_id=store.batch_id, facts=facts, counts=counts, files=names
            )
            paths.append(manifest)
        files: Sequence[Path | str]
        if target.folder is None:
            from jobs.sinks.remote import upload_final_files  # loads Arrow's file systems

            files = upload_final_files(target, paths)
        else:
            files = _move_into_place(paths, target, target.folder)
    except OSError as error:
        folder = target.folder or target.state_folder
        raise storage_error("put the results into", folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return FinalReport(counts, tuple(files))


def _write_rows(
    target: Target, store: ResultStore, writer: RowWriter
) -> tuple[RowCounts, list[Path]]:
    """Write the files of rows; their counts and paths."""
    counts = RowCounts()
    assert target.state_folder is not None
    try:
        with closing(rows_in_order(store, target.state_folder / "sort")) as tables:
            for table in tables:
                counts.add(table)
                writer.write(table)
                # Arrow gives memory back by the clock; without this the peak is one of luck.
                pa.default_memory_pool().release_unused()
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return counts, list(writer.paths)


def _writer(target: Target, staging: Path, batch_id: str) -> RowWriter:
    if target.kind is TargetKind.FOLDER:
        return FolderWriter(staging, batch_id)
    if target.kind is TargetKind.PARQUET:
        return ParquetWriter(staging, Path(target.name).stem, batch_id=batch_id, file_bytes=None)
    return JsonlWriter(staging / target.name, batch_id, is_created_empty=True)


def _move_into_place(paths: list[Path], target: Target, folder: Path) -> list[Path]:
    if target.kind is TargetKind.FOLDER:
        (folder / _RUN_MANIFEST).unlink(missing_ok=True)
        sync_folder(folder)
    if target.kind is TargetKind.FOLDER or target.path is None:
        final = [folder / path.name for path in paths]
    else:
        final = [target.path]
    stale = set(target.final_files()) - set(final)
    for path, destination in zip(paths, final, strict=True):
        if destination.name == _RUN_MANIFEST:
            for old in stale:
                old.unlink()
            sync_folder(folder)
        path.replace(destination)
    sync_folder(folder)
    return final
