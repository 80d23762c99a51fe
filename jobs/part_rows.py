"""Which rows become a part: one for each line, and small parts put together.

Owns: these two choices, which every store of parts makes alike. Must not know: where parts lie.
"""

from collections.abc import Iterable

import pyarrow as pa

from jobs.bitmap import Bitmap
from jobs.parts import Part
from jobs.result_table import line_indexes

__all__ = ["fresh_rows", "parts_to_absorb"]

_SMALL_ROWS = 500
_SMALL_BYTES = 4 << 20
_MAX_SMALL_PARTS = 32


def fresh_rows(table: pa.Table, done: Bitmap) -> pa.Table:
    """The rows whose line is not in `done`, one per line. Raises ValueError for what is no line."""
    fresh: list[int] = []
    seen: set[int] = set()
    for position, idx in enumerate(line_indexes(table)):
        if not Bitmap.can_hold(idx):
            raise ValueError(f"{idx} is no line index")
        if idx not in done and idx not in seen:
            seen.add(idx)
            fresh.append(position)
    if len(fresh) == table.num_rows:
        return table
    return table.take(pa.array(fresh, pa.int64()))


def parts_to_absorb(parts: Iterable[Part]) -> frozenset[Part]:
    """All small parts, once there are many: a slow batch that is flushed every two seconds must
    not end in 40,000 files.
    """
    small = [
        part for part in parts if part.num_rows < _SMALL_ROWS and part.raw_bytes < _SMALL_BYTES
    ]
    return frozenset(small) if len(small) >= _MAX_SMALL_PARTS else frozenset()
