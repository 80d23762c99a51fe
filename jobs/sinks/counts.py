"""What the rows of a batch add up to, counted from the rows themselves.

Owns: `RowCounts`. Must not know: files, Redis counters.
"""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from jobs.result_table import ok_mask

__all__ = ["RowCounts"]


@dataclass(slots=True)
class RowCounts:
    """Rows by outcome, and tokens. `num_failed` are answers other than 200; `num_retryable` rows
    are those that another run computes again: 5xx, cancelled, expired. `error_codes` counts every
    row without 200 by its code.
    """

    num_rows: int = 0
    num_ok: int = 0
    num_failed: int = 0
    num_cancelled: int = 0
    num_expired: int = 0
    num_retryable: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    error_codes: Counter[str] = field(default_factory=Counter)

    def add(self, table: pa.Table) -> None:
        """Count the rows of a table with the result columns."""
        statuses = Counter(table.column("status_code").to_pylist())
        self.num_rows += table.num_rows
        self.num_ok += statuses[200]
        self.num_retryable += sum(
            count for status, count in statuses.items() if status is None or status >= 500
        )
        failed = table.filter(pc.invert(ok_mask(table)))
        codes = Counter(code or "none" for code in failed.column("error_code").to_pylist())
        self.error_codes.update(codes)
        self.num_cancelled += codes["batch_cancelled"]
        self.num_expired += codes["batch_expired"]
        self.num_failed = self.num_rows - self.num_ok - self.num_cancelled - self.num_expired
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"):
            total = pc.sum(table.column(name)).as_py() or 0
            setattr(self, name, getattr(self, name) + total)
