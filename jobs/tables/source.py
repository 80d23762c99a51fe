"""What a table is to the rest: named columns, and rows in one order that never changes.

Owns: the seam between tables and those who read them. Must not know: files, formats.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from schemas.errors import ApiError

__all__ = ["Row", "TableSource"]

Row = Mapping[str, Any] | ApiError
"""The cells of a row by column, or why it has none."""


class TableSource(Protocol):
    """A table that can be read again and again. Rows count from 0, in the same order for `rows`
    and `batches`. All methods block.

    `name` is what its user calls it, `digest` stands for its content, `schema` has every column.
    """

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def num_rows(self) -> int: ...

    def rows(self, columns: Sequence[str]) -> Iterator[list[Row]]:
        """The cells of some columns as Python values, some hundreds of rows at a time.

        Raises InputError.
        """
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns (at least one), typed as in `schema`. Raises InputError."""
        ...

    def check_unchanged(self) -> None:
        """Raises InputChangedError if the table is not the one that was opened."""
        ...
