"""Anything with the Arrow PyCapsule interface as an Arrow table.

Owns: telling such objects from others, and the step to a table. Must not know: what columns mean.
pandas, polars, duckdb, pyarrow and others offer the interface; none of them is imported here.
"""

from typing import Any

import pyarrow as pa

from worker.library.errors import HeadraceError

__all__ = ["is_arrow", "to_table"]

_STREAM = "__arrow_c_stream__"
_ARRAY = "__arrow_c_array__"


def is_arrow(data: object) -> bool:
    """Whether `data` offers Arrow data: a stream of record batches, or one of them."""
    return hasattr(data, _STREAM) or hasattr(data, _ARRAY)


def to_table(data: Any) -> pa.Table:
    """The table that `data` offers. Nothing is copied that need not be.

    Raises HeadraceError if it offers something else (a single column) or cannot be read.
    """
    try:
        if isinstance(data, pa.Table):
            return data
        if hasattr(data, _STREAM):
            return pa.RecordBatchReader.from_stream(data).read_all()
        return pa.Table.from_batches([pa.record_batch(data)])
    except (pa.ArrowException, TypeError, ValueError) as error:
        kind = type(data).__name__
        raise HeadraceError(
            f"this {kind} cannot be read as a table: {' '.join(str(error).split())}; give a table, "
            "or a list of texts"
        ) from error
