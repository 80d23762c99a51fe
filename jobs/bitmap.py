"""A set of line numbers at one bit each.

Owns: `Bitmap`, with which a store of results remembers the lines that have one. Must not know:
rows, files.
"""

from collections.abc import Iterable, Iterator

__all__ = ["Bitmap"]

_MAX_INDEX = 1 << 32


class Bitmap:
    """A growing set of small non-negative integers; `len` counts them."""

    __slots__ = ("_bits", "_num_set")

    def __init__(self, indexes: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        self._num_set = 0
        self.update(indexes)

    @staticmethod
    def can_hold(index: int) -> bool:
        """Whether `index` may be a line's at all."""
        return 0 <= index < _MAX_INDEX

    def add(self, index: int) -> bool:
        """Put `index` into the set; True if it was not there. Raises ValueError for an index that
        no file of lines can have (it would claim memory without end).
        """
        if not self.can_hold(index):
            raise ValueError(f"line index {index} is not between 0 and {_MAX_INDEX - 1}")
        byte, bit = index >> 3, 1 << (index & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(max(byte + 1 - len(self._bits), len(self._bits) // 4, 64)))
        if self._bits[byte] & bit:
            return False
        self._bits[byte] |= bit
        self._num_set += 1
        return True

    def update(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            self.add(index)

    def missing(self, total: int) -> Iterator[int]:
        """The indexes below `total` that are not in the set, ascending."""
        for byte in range((total + 7) >> 3):
            bits = self._bits[byte] if byte < len(self._bits) else 0
            if bits == 0xFF:
                continue
            for bit in range(8):
                if not bits >> bit & 1 and (index := byte * 8 + bit) < total:
                    yield index

    def __iter__(self) -> Iterator[int]:
        """The set, ascending."""
        for byte, bits in enumerate(self._bits):
            for bit in range(8) if bits else ():
                if bits >> bit & 1:
                    yield byte * 8 + bit

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int):
            return False
        byte = index >> 3
        return 0 <= byte < len(self._bits) and bool(self._bits[byte] >> (index & 7) & 1)

    def __len__(self) -> int:
        return self._num_set
