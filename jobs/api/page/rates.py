"""How fast batches move.

Owns: what this process saw of their counts over the last half minute. Must not know: pages, queues.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass

__all__ = ["Pace", "Rates"]

_WINDOW_S = 30.0
_SHORTEST_S = 2.0
_MAX_BATCHES = 1000


@dataclass(frozen=True, slots=True)
class Pace:
    """Rows a second, and seconds until the last one; None where nothing moves."""

    rows_per_s: float
    left_s: float | None


class Rates:
    """The paces of many batches."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def pace(
        self, batch_id: str, *, now_s: float, num_done: int, total: int, started_s: float | None
    ) -> Pace:
        """The pace of a running batch now. What it was before anybody looked is its average since
        it began.
        """
        seen = self._seen.setdefault(batch_id, deque())
        self._seen.move_to_end(batch_id)
        if len(self._seen) > _MAX_BATCHES:
            self._seen.popitem(last=False)
        seen.append((now_s, num_done))
        while now_s - seen[0][0] > _WINDOW_S:
            seen.popleft()
        first_s, first_done = seen[0]
        if now_s - first_s < _SHORTEST_S and started_s is not None:
            first_s, first_done = started_s, 0
        elapsed_s = now_s - first_s
        rate = max(0.0, (num_done - first_done) / elapsed_s) if elapsed_s > 0 else 0.0
        return Pace(rate, max(0, total - num_done) / rate if rate > 0 else None)
