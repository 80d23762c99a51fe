"""Answers that are kept across suites and output folders, found again by request hash.

A request's hash stands for its body, the model and every setting that changes tokens, so a kept
answer is what the same engine would say again. Only answers are kept, never errors.

Owns: the folder of kept answers. Must not know: suites, scores, how rows are run.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import StoreWriteError
from jobs.result_table import RESULT_SCHEMA, ok_mask

__all__ = ["AnswerCache"]

_log = logging.getLogger(__name__)


class AnswerCache:
    """Parquet files of result rows in one folder. Several processes may use it: files are only
    added, each complete from the moment it has its name.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folder. Raises StoreWriteError."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreWriteError(f"--cache {folder}: it cannot be created: {error}") from error

    def find(self, wanted: Mapping[str, str], path: Path) -> int:
        """Write the kept rows of `wanted` (custom_id to request hash) to the Parquet file `path`,
        under these custom_ids. Returns how many there are; without any there is no file.
        """
        by_hash: dict[str, list[str]] = {}
        for custom_id, hash_ in wanted.items():
            by_hash.setdefault(hash_, []).append(custom_id)
        tables = []
        for kept in self._files():
            hits = [
                (position, custom_id)
                for position, hash_ in enumerate(self._hashes(kept))
                for custom_id in by_hash.pop(hash_, ())
            ]
            table = self._read(kept, RESULT_SCHEMA.names) if hits else None
            if table is not None:
                tables.append(_renamed(table, hits))
        if tables:
            pq.write_table(pa.concat_tables(tables), path, compression="zstd")
        return sum(table.num_rows for table in tables)

    def add(self, files: Iterable[Path]) -> int:
        """Keep the answers in these result files that are not kept yet. Returns how many.

        Raises StoreWriteError.
        """
        known = self._known()
        added = 0
        for path in files:
            table = self._read(path, RESULT_SCHEMA.names)
            if table is None:
                continue
            table = table.filter(ok_mask(table))
            hashes = table.column("request_hash").to_pylist()
            fresh = [hash_ is not None and hash_ not in known for hash_ in hashes]
            table = table.filter(pa.array(fresh, pa.bool_()))
            if table.num_rows:
                self._write(table)
                added += table.num_rows
        return added

    def _known(self) -> set[str]:
        return {hash_ for path in self._files() for hash_ in self._hashes(path)}

    def _hashes(self, path: Path) -> list[str]:
        table = self._read(path, ["request_hash"])
        found = [] if table is None else table.column("request_hash").to_pylist()
        return [str(hash_) for hash_ in found]

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("answers-*.parquet"))

    def _read(self, path: Path, columns: list[str]) -> pa.Table | None:
        try:
            return pq.read_table(path, columns=columns)
        except (OSError, pa.ArrowException) as error:
            _log.warning("kept answers in %s cannot be read: %s", path, error)
            return None

    def _write(self, table: pa.Table) -> None:
        name = f"answers-{secrets.token_hex(8)}.parquet"
        temporary = self._folder / f".{name}"
        try:
            pq.write_table(table, temporary, compression="zstd")
            temporary.replace(self._folder / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StoreWriteError(f"answers cannot be kept in {self._folder}: {error}") from error


def _renamed(table: pa.Table, hits: list[tuple[int, str]]) -> pa.Table:
    """The rows at these positions, each with its new custom_id."""
    rows = table.take([position for position, _ in hits])
    names = pa.array([custom_id for _, custom_id in hits], pa.string())
    return rows.set_column(rows.schema.get_field_index("custom_id"), "custom_id", names)
