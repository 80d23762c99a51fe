"""Which custom_ids a file has used, in flat memory.

Owns: a hash table without a Python object per entry. Must not know: lines, rows.

An entry is 96 bits of a hash (64 to compare, 32 for its place and to compare), 12 bytes: with ten
million ids the chance that two different ones are taken for the same is below 1e-14. The table is
64 small ones, so that growing copies little at a time: at most 30 bytes an id.
"""

from array import array

import xxhash

__all__ = ["CustomIdTable"]

_NUM_SHARDS = 64
_FIRST_SLOTS = 16


class CustomIdTable:
    """A set of strings that can only grow. The same in every process: no hash seeds."""

    def __init__(self) -> None:
        self._shards = [_Shard() for _ in range(_NUM_SHARDS)]

    def add(self, custom_id: str) -> bool:
        """Put `custom_id` into the set; False if it was there."""
        value = xxhash.xxh3_128_intdigest(custom_id.encode("utf-8", "surrogatepass"))
        shard = self._shards[value & (_NUM_SHARDS - 1)]
        return shard.add(value >> 64, (value >> 6) & 0xFFFFFFFF)

    def __len__(self) -> int:
        return sum(shard.num_used for shard in self._shards)


class _Shard:
    """Open addressing with linear probing; a tag of 0 marks a free slot."""

    __slots__ = ("_places", "_tags", "num_used")

    def __init__(self) -> None:
        self._tags = array("Q", bytes(8 * _FIRST_SLOTS))
        self._places = array("I", bytes(4 * _FIRST_SLOTS))
        self.num_used = 0

    def add(self, tag: int, place: int) -> bool:
        if not self._insert(tag or 1, place):
            return False
        self.num_used += 1
        if self.num_used * 5 > len(self._tags) * 4:
            self._grow()
        return True

    def _insert(self, tag: int, place: int) -> bool:
        tags, places = self._tags, self._places
        mask = len(tags) - 1
        slot = place & mask
        while tags[slot]:
            if tags[slot] == tag and places[slot] == place:
                return False
            slot = (slot + 1) & mask
        tags[slot] = tag
        places[slot] = place
        return True

    def _grow(self) -> None:
        tags, places = self._tags, self._places
        self._tags = array("Q", bytes(16 * len(tags)))
        self._places = array("I", bytes(8 * len(places)))
        for tag, place in zip(tags, places, strict=True):
            if tag:
                self._insert(tag, place)
