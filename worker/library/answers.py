"""Rows as the Arrow record batches that a call returns.

Owns: the columns of an answer to requests. Must not know: where rows come from.
"""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from jobs.result_table import RESULT_SCHEMA, rows_to_table
from schemas.result import ResultRow

__all__ = ["AnswerColumns", "ResultColumns"]


class AnswerColumns(Protocol):
    """What a call returns. One object serves one call."""

    @property
    def schema(self) -> pa.Schema: ...

    def batch(self, rows: Sequence[ResultRow]) -> pa.RecordBatch:
        """The rows as columns, in the order given."""
        ...


class ResultColumns:
    """The columns of `results.parquet` (docs/FORMATS.md)."""

    schema = RESULT_SCHEMA

    def batch(self, rows: Sequence[ResultRow]) -> pa.RecordBatch:
        return rows_to_table(rows).combine_chunks().to_batches()[0]
