"""The results of one batch on disk: what was appended stays, whatever dies.

A row is stored when the manifest that names its part is published and flushed, not before. The
order of writing is: part to a temporary name, fsync, rename, fsync of the folder, manifest by
link(2). Each line gets at most one row: rows for lines that have one are dropped, also when several
writers race. Parts that no manifest names are left-overs of a crash, or of a manifest that was
lost; both hold committed rows, so `open` takes from them what is missing.

Follows the commit protocol of Delta Lake (Armbrust et al., VLDB 2020) on a local file system.

Owns: the folder of parts. Must not know: Redis, final files.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from jobs.bitmap import Bitmap
from jobs.durable import storage_error, sync_folder, write_new_file
from jobs.errors import StoreDamagedError, StoreError
from jobs.manifests import Manifest, ManifestLog
from jobs.part_rows import fresh_rows, parts_to_absorb
from jobs.parts import Part, decode_part, describe_part, encode_part, read_part
from jobs.result_table import line_indexes, rows_to_table
from schemas.result import ResultRow

__all__ = ["AppendReport", "PartStore"]

_log = logging.getLogger(__name__)

_RETRIES = 100
_STALE_TEMPORARY_S = 3600.0


@dataclass(frozen=True, slots=True)
class AppendReport:
    """What `append` did: rows stored now, rows dropped because their line had one, and the size of
    the part file.
    """

    num_rows: int
    num_known: int
    num_bytes: int


class PartStore:
    """Append-only rows of one batch in one folder. Not for several threads at once; several
    processes may each have one on the same folder.

    `done` holds the lines that have a row. `damage` says, one sentence each, what `open` found
    broken; the rows concerned are not in `done`.
    """

    def __init__(self, folder: Path, batch_id: str) -> None:
        self.folder = folder
        self.batch_id = batch_id
        self.done = Bitmap()
        self.damage: tuple[str, ...] = ()
        self._manifest_log = ManifestLog(folder, batch_id)
        self._manifest = Manifest(0)
        self._retired: list[Path] = []

    @classmethod
    def open(cls, folder: Path, batch_id: str) -> Self:
        """Open the folder, created if need be, and bring it in order.

        Raises StoreWriteError if it cannot be written, StoreError if it is of another batch.
        """
        store = cls(folder, batch_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            store._manifest_log.probe()
            store._remove_stale_temporaries()
            store._repair()
        except OSError as error:
            raise storage_error("prepare", folder, error) from error
        return store

    @property
    def parts(self) -> tuple[Part, ...]:
        return self._manifest.parts

    @property
    def place(self) -> str:
        """Where this is, for messages."""
        return str(self.folder)

    def refresh(self) -> None:
        """Nothing to do: who loses the race for a manifest learns what others stored."""

    def append(self, rows: Sequence[ResultRow]) -> AppendReport:
        """Store `rows`; after the return they survive a power cut. At most one row per line stays,
        the first that was stored.

        Raises StoreWriteError (nothing is stored, or all is; appending the same rows again is
        right), ValueError or OverflowError for a number that does not fit its column.
        """
        table = rows_to_table(rows)
        try:
            return self._append_table(table)
        except OSError as error:
            raise storage_error("write results to", self.folder, error) from error

    def read(self, part: Part, columns: list[str] | None = None) -> pa.Table:
        """The rows of one of `parts`. Raises StoreDamagedError."""
        return read_part(self.folder, part, columns)

    def _append_table(self, table: pa.Table) -> AppendReport:
        num_given = table.num_rows
        for _ in range(_RETRIES):
            table = self._without_known(table)
            if table.num_rows == 0:
                return AppendReport(0, num_given, 0)
            merged, absorbed = self._absorb_small_parts(table)
            part = self._write_part(merged)
            kept = tuple(old for old in self.parts if old not in absorbed)
            manifest = Manifest(self._manifest.version + 1, (*kept, part))
            if self._manifest_log.publish(manifest):
                self._manifest = manifest
                self.done.update(line_indexes(table))
                self._remove_absorbed(absorbed)
                return AppendReport(table.num_rows, num_given - table.num_rows, part.num_bytes)
            _discard(self.folder / part.file)
            self._reload()
        raise StoreError(f"other writers of {self.folder} were faster {_RETRIES} times in a row")

    def _without_known(self, table: pa.Table) -> pa.Table:
        return fresh_rows(table, self.done)

    def _absorb_small_parts(self, table: pa.Table) -> tuple[pa.Table, frozenset[Part]]:
        """`table` with the rows of the parts that it replaces."""
        small = parts_to_absorb(self.parts)
        try:
            tables = [self.read(part) for part in self.parts if part in small]
        except StoreDamagedError:
            return table, frozenset()  # whoever needs those rows will say so
        return pa.concat_tables([*tables, table]).combine_chunks() if small else table, small

    def _write_part(self, table: pa.Table) -> Part:
        data = encode_part(table, self.batch_id)
        name = f"part-{self._manifest.version + 1:08d}-{secrets.token_hex(8)}.parquet"
        temporary = self.folder / f".{name}.tmp"
        try:
            write_new_file(temporary, data)
            temporary.rename(self.folder / name)
        except OSError:
            _discard(temporary)
            raise
        sync_folder(self.folder)
        return describe_part(name, table, data)

    def _remove_absorbed(self, absorbed: frozenset[Part]) -> None:
        """Delete parts two versions late: the manifest before the newest stays usable."""
        for path in self._retired:
            _discard(path)
        self._retired = [self.folder / part.file for part in absorbed]

    def _reload(self) -> None:
        """Catch up with what other writers published."""
        for _ in range(_RETRIES):
            reading = self._manifest_log.newest()
            manifest = reading.manifest
            if reading.damaged or manifest.version < self._manifest.version:
                raise StoreDamagedError(
                    f"manifests in {self.folder} were deleted or damaged while they were in use; "
                    "run the same command again to repair them",
                    path=self.folder,
                )
            try:
                self._learn(manifest)
            except StoreDamagedError:
                if self._manifest_log.newest().manifest.version == manifest.version:
                    raise
            else:
                return
        raise StoreError(f"the parts in {self.folder} change faster than they can be read")

    def _learn(self, manifest: Manifest) -> None:
        known = {part.file for part in self.parts}
        for part in manifest.parts:
            if part.file not in known:
                self.done.update(line_indexes(self.read(part, ["idx"])))
        self._manifest = manifest

    def _repair(self) -> None:
        """Load the newest manifest, drop broken parts from it, adopt what no manifest names."""
        for _ in range(_RETRIES):
            reading = self._manifest_log.newest()
            damage = [f"{self.folder / name} is damaged" for name in reading.damaged]
            self.done = Bitmap()
            sound: list[Part] = []
            broken: list[Part] = []
            for part in reading.manifest.parts:
                try:
                    self.done.update(line_indexes(self.read(part, ["idx"])))
                    sound.append(part)
                except StoreDamagedError as error:
                    damage.append(str(error))
                    broken.append(part)
            self._manifest = Manifest(reading.manifest.version, tuple(sound))
            if not broken and not reading.damaged:
                break
            repaired = Manifest(reading.manifest.version + 1, tuple(sound))
            if self._manifest_log.publish(repaired):
                self._manifest = repaired
                self._set_aside(broken)
                break
        else:
            raise StoreError(f"the manifests in {self.folder} change faster than they can be read")
        self.damage = (*damage, *self._adopt_orphans())
        for sentence in self.damage:
            _log.warning("%s", sentence)

    def _set_aside(self, broken: Sequence[Part]) -> None:
        """Keep broken parts for inspection under a name that nothing reads."""
        for part in broken:
            path = self.folder / part.file
            if path.is_file():
                path.rename(path.with_suffix(".damaged"))

    def _adopt_orphans(self) -> list[str]:
        """Take over rows from complete parts that no manifest names, then delete those parts.
        Returns what could not be read.

        A part that a living writer is about to publish may be among them. That is safe: either it
        publishes first, then its rows are known here, or it loses the race and finds them known.
        """
        damage: list[str] = []
        named = {part.file for part in self.parts}
        orphans = [path for path in self.folder.glob("part-*.parquet") if path.name not in named]
        for path in sorted(orphans):
            try:
                table = decode_part(path, self.batch_id)
            except StoreDamagedError as error:
                if path.exists():
                    damage.append(str(error))
                    path.rename(path.with_suffix(".damaged"))
                continue
            if table is not None:
                self._append_table(table)
                if path.name not in {part.file for part in self.parts}:
                    _discard(path)
        return damage

    def _remove_stale_temporaries(self) -> None:
        oldest = time.time() - _STALE_TEMPORARY_S
        for path in self.folder.glob(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # another writer's, gone meanwhile
                if path.lstat().st_mtime < oldest:
                    _discard(path)


def _discard(path: Path) -> None:
    """Delete garbage; what cannot be deleted harms nobody."""
    with contextlib.suppress(OSError):
        path.unlink()
