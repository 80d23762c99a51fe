"""Output tables as files: Parquet, Arrow IPC, CSV, JSONL.

Owns: how a table is written in each format, the types that a format cannot hold. Must not know:
where rows come from, where files end up. Writers are those of jobs/sinks (final.RowWriter).
"""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from pydantic_core import to_json

from jobs.durable import storage_error
from jobs.errors import StoreWriteError, TableSettingError
from jobs.sinks.parquet import ParquetWriter

__all__ = ["FileWriter", "check_writable", "table_writer"]

_Encode = Callable[[BinaryIO, pa.Schema], "_Encoder"]


class _Encoder(Protocol):
    """A format's own writer on an open file."""

    def write(self, table: pa.Table) -> object: ...

    def close(self) -> object: ...


class FileWriter:
    """Writes one file, which exists from the start (jobs.sinks.final.RowWriter)."""

    def __init__(self, path: Path, schema: pa.Schema, encode: _Encode) -> None:
        """Raises StoreWriteError."""
        self.paths = [path]
        try:
            self._file: BinaryIO = path.open("wb")
        except OSError as error:
            raise storage_error("create", path, error) from error
        self._encoder = encode(self._file, schema)

    def write(self, table: pa.Table) -> None:
        """Append rows. Raises StoreWriteError."""
        try:
            self._encoder.write(table)
        except OSError as error:
            raise storage_error("write", self.paths[0], error) from error
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise _unwritable(self.paths[0], error) from error

    def close(self) -> None:
        """Flush the file to the device. Raises StoreWriteError."""
        try:
            with self._file as file:
                self._encoder.close()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error("write", self.paths[0], error) from error

    def abandon(self) -> None:
        """Close the file as it is, after a failure."""
        for end in (self._encoder.close, self._file.close):
            with contextlib.suppress(OSError, ValueError, pa.ArrowException):
                end()


def table_writer(
    folder: Path, name: str, schema: pa.Schema, *, batch_id: str, is_split: bool = False
) -> "FileWriter | ParquetWriter":
    """A writer for the file `name`, in the format that its suffix names, inside `folder`.

    `is_split`: a large Parquet file becomes several. Raises StoreWriteError.
    """
    path = folder / name
    if path.suffix.lower() != ".parquet":
        return FileWriter(path, schema, _ENCODERS[path.suffix.lower()])
    if is_split:
        return ParquetWriter(folder, path.stem, batch_id=batch_id, schema=schema)
    return ParquetWriter(folder, path.stem, batch_id=batch_id, file_bytes=None, schema=schema)


def check_writable(schema: pa.Schema, name: str) -> None:
    """Find out now whether all columns can be written to the file `name`. Raises
    TableSettingError, naming those that cannot.
    """
    suffix = Path(name).suffix.lower()
    refused = [field for field in schema if not _is_writable(field, suffix)]
    if refused:
        shown = ", ".join(f"{field.name!r} ({field.type})" for field in refused)
        raise TableSettingError(
            f"{suffix} files cannot hold the columns {shown}; keep other columns only"
        )


def _is_writable(field: Any, suffix: str) -> bool:
    schema = pa.schema([field])
    table = pa.Table.from_batches([], schema)  # empty_table() knows fewer types
    file = io.BytesIO()
    try:
        if suffix == ".parquet":
            pq.write_table(table, file)
            pq.read_schema(file)  # what is nested very deeply can only be written
            return True
        encoder = _ENCODERS[suffix](file, table.schema)
        encoder.write(table)
        encoder.close()
    except (pa.ArrowException, OSError, ValueError, TypeError):
        return False
    return True


class _ArrowEncoder:
    """Arrow IPC, also known as Feather."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        sink: Any = file
        self._writer = pa.ipc.new_file(sink, schema, options=options)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()


class _CsvEncoder:
    """CSV with a header. Nulls are empty, text that is empty is quoted; columns of lists, objects
    and bytes are JSON.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._schema = pa.schema([_flat(field) for field in schema])
        self._writer = pacsv.CSVWriter(file, self._schema)

    def write(self, table: pa.Table) -> None:
        columns = [
            column if field.type == flat.type else _as_json(column)
            for column, field, flat in zip(table.columns, table.schema, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _JsonEncoder:
    """One object a line, all columns in it; times in ISO 8601, bytes in URL-safe base64."""

    def __init__(self, file: BinaryIO, _: pa.Schema) -> None:
        self._file = file

    def write(self, table: pa.Table) -> None:
        columns = [_readable(column) for column in table.columns]
        rows = pa.Table.from_arrays(columns, names=table.column_names).to_pylist()
        self._file.write(b"".join(_json(row) + b"\n" for row in rows))

    def close(self) -> None:
        """Nothing is held back."""


_ENCODERS: dict[str, _Encode] = {
    ".arrow": _ArrowEncoder,
    ".csv": _CsvEncoder,
    ".feather": _ArrowEncoder,
    ".jsonl": _JsonEncoder,
}


def _flat(field: Any) -> Any:
    kind = field.type
    is_flat = not pa.types.is_nested(kind) and not any(
        test(kind)
        for test in (
            *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
            pa.types.is_null,
        )
    )
    return field if is_flat else field.with_type(pa.string())


def _as_json(column: Any) -> Any:
    texts = [None if value is None else _json(value).decode() for value in column.to_pylist()]
    return pa.array(texts, pa.string())


def _readable(column: Any) -> Any:
    """A column that Python can hold: its times end at microseconds, so finer ones become text."""
    kind = column.type
    is_fine = pa.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns"
    if not is_fine:
        return column
    try:
        if pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp("us", kind.tz))
        return column.cast(pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us"))
    except pa.ArrowInvalid:
        if pa.types.is_duration(kind):
            return column.cast(pa.duration("us"), safe=False)
        if not pa.types.is_timestamp(kind):
            return column.cast(pa.string())
        zone = "" if kind.tz is None else "Z"
        return pc.strftime(column.cast(pa.timestamp("ns")), format=f"%Y-%m-%dT%H:%M:%S{zone}")


def _json(value: Any) -> bytes:
    return to_json(value, inf_nan_mode="null", bytes_mode="base64")


def _unwritable(path: Path, error: Exception) -> StoreWriteError:
    reason = " ".join(str(error).split())[:300]
    return StoreWriteError(
        f"cannot write {path}: {reason}; run again with --columns, without the column that cannot "
        "be written, or into a .parquet file: no row is computed again"
    )
