"""Which waiting request is admitted next.

Owns: the order of waiting requests. Must not know: blocks, budgets. Within a priority, requests
whose prompts begin alike go one after the other, so that a shared prefix is computed once and read
while it is still cached. The queue moves through the prompts in the order of their tokens, as a
lift moves through floors: what arrives ahead of it is taken along, what arrives behind it waits for
the next round. A request that others have overtaken too often goes next, wherever the lift stands.
"""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from engine.request import Request

__all__ = ["WaitingQueue"]

_MAX_OVERTAKEN = 1024
_KEY_TOKENS = 4096  # prompts that are alike for longer are alike

_Floor = tuple[bytes, int]


@dataclass(slots=True)
class _Level:
    """The waiting requests of one priority. Floors are (prompt key, arrival number)."""

    floors: list[_Floor] = field(default_factory=list)
    arrivals: deque[tuple[int, int]] = field(default_factory=deque)  # (number, served then)
    position: _Floor = (b"", 0)
    num_served: int = 0


class WaitingQueue:
    """Adding, removing and finding the next cost O(log n) comparisons for n waiting requests.

    Without `by_prefix` the order within a priority is that of arrival.
    """

    def __init__(self, *, by_prefix: bool = True) -> None:
        self._by_prefix = by_prefix
        self._levels: dict[int, _Level] = {}
        self._places: dict[str, tuple[int, _Floor]] = {}
        self._ids: dict[int, str] = {}
        self._num_added = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._places

    def add(self, request: Request) -> None:
        """Let a request wait. A smaller `priority` goes first."""
        assert request.request_id not in self._places, f"{request.request_id} waits already"
        self._num_added += 1
        floor = (self._key(request), self._num_added)
        level = self._levels.setdefault(request.priority, _Level())
        insort(level.floors, floor)
        level.arrivals.append((self._num_added, level.num_served))
        self._places[request.request_id] = (request.priority, floor)
        self._ids[self._num_added] = request.request_id

    def next(self) -> str | None:
        """The id of the request to admit next; it stays until it is removed."""
        if not self._places:
            return None
        level = self._levels[min(self._levels)]
        return self._ids[self._next_floor(level)[1]]

    def remove(self, request_id: str) -> None:
        """Take a request out, because it was admitted or has ended. Nothing if it does not wait."""
        if request_id not in self._places:
            return
        priority, floor = self._places[request_id]
        level = self._levels[priority]
        if floor == self._next_floor(level):
            level.position = floor
            level.num_served += 1
        del self._places[request_id]
        del level.floors[bisect_left(level.floors, floor)]
        del self._ids[floor[1]]
        if not level.floors:
            del self._levels[priority]

    def _next_floor(self, level: _Level) -> _Floor:
        while level.arrivals[0][0] not in self._ids:
            level.arrivals.popleft()
        oldest, served_then = level.arrivals[0]
        if level.num_served - served_then > _MAX_OVERTAKEN:
            return self._places[self._ids[oldest]][1]
        index = bisect_left(level.floors, level.position)
        return level.floors[index % len(level.floors)]

    def _key(self, request: Request) -> bytes:
        """Sorts like the prompt's tokens; prompts that cannot share blocks are kept apart."""
        if not self._by_prefix:
            return b""
        tokens = np.asarray(request.prompt_token_ids[:_KEY_TOKENS], dtype=">u4")
        return f"{request.cache_salt}\0{request.adapter}\0".encode() + tokens.tobytes()
