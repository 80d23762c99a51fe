"""Where the rows of a call come from, as the streams of results see it.

Owns: the seam between a stream of results and an engine (worker/local_jobs.py) or a queue
(queue_rows.py). Must not know: either.
"""

from typing import Protocol

from schemas.result import ResultRow

__all__ = ["RowSource"]


class RowSource(Protocol):
    """Rows in the order in which they are finished. `total` is None until it is known; `num_tokens`
    counts the output tokens of the rows so far.
    """

    @property
    def num_tokens(self) -> int: ...

    @property
    def total(self) -> int | None: ...

    async def next_rows(self) -> list[ResultRow]:
        """Rows that were finished since the last call; empty at the end. Nothing runs before the
        first call.
        """
        ...

    async def close(self) -> None:
        """End what is left: it is not computed. May be called again, and after the end."""
        ...
