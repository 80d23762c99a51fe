"""Lines of a file that ask for the same answer, brought together however far apart they stand.

The queue shares an answer among jobs that are near each other; so the first line of each kind is
followed at once by all others like it, which are read again from where they stand.

Owns: finding them (one pass over the file, 16 bytes a line in memory), reading them again, their
place in the fan-out order. Must not know: the queue, how answers are shared.
"""

import io
from array import array
from collections.abc import Collection, Iterable, Iterator
from typing import Self

import numpy as np
import numpy.typing as npt
import xxhash

from jobs.bitmap import Bitmap
from jobs.producers.classify import LineClassifier, LineSettings, ReadLine, answer_hash
from jobs.producers.lines import InputFile, LineSplitter, changed, unreadable

__all__ = ["Twins"]

_NONE = 0  # the tag of a line whose answer is left to chance


class Twins:
    """Which lines of a file are like an earlier one. `idx` counts lines that are not blank."""

    def __init__(
        self, source: InputFile, settings: LineSettings, tags: "array[int]", starts: "array[int]"
    ) -> None:
        self._source = source
        self._settings = settings
        all_tags = np.frombuffer(tags, dtype=np.uint64)
        order = np.argsort(all_tags, kind="stable")
        sorted_tags = all_tags[order]
        is_like_last = np.zeros(len(order), bool)
        is_like_last[1:] = (sorted_tags[1:] == sorted_tags[:-1]) & (sorted_tags[1:] != _NONE)
        leads = np.append(is_like_last[1:], False) & ~is_like_last
        self._later = order[is_like_last]  # grouped, in file order within a group
        self._starts = np.frombuffer(starts, dtype=np.uint64)[self._later]
        leaders = order[leads]
        # How many later lines stand before each leader's group, in the order of the groups.
        firsts = np.cumsum(is_like_last)[leads]
        ends = np.append(firsts[1:], len(self._later))
        by_idx = np.argsort(leaders, kind="stable")
        self._leaders: npt.NDArray[np.int64] = leaders[by_idx]
        self._firsts, self._ends = firsts[by_idx], ends[by_idx]
        self._is_later = Bitmap(self._later.tolist())

    @classmethod
    def find(
        cls, source: InputFile, settings: LineSettings, served_models: Collection[str] | None
    ) -> Self:
        """Read the file through. Raises InputError."""
        tags, starts = array("Q"), array("Q")
        classifier = LineClassifier(served_models=served_models, settings=settings)
        splitter = LineSplitter(max_line_bytes=settings.max_line_bytes)
        start = 0
        try:
            with source.path.open("rb") as file:
                for line in splitter.split(file):
                    read = classifier.read(line)
                    hash_ = answer_hash(read) if isinstance(read, ReadLine) else None
                    tags.append(
                        _NONE if hash_ is None else xxhash.xxh3_64_intdigest(hash_.encode())
                    )
                    starts.append(start)
                    start = file.tell()
        except OSError as error:
            raise unreadable(source.path, error) from error
        return cls(source, settings, tags, starts)

    def __len__(self) -> int:
        return len(self._later)

    def is_later(self, idx: int) -> bool:
        """Whether an earlier line is like this one."""
        return idx in self._is_later

    def after(self, idx: int) -> Iterator[tuple[int, ReadLine]]:
        """The later lines like the line `idx`, in file order, each with its own idx. Raises
        InputError, InputChangedError.
        """
        position = int(np.searchsorted(self._leaders, idx))
        if position == len(self._leaders) or self._leaders[position] != idx:
            return
        group = slice(int(self._firsts[position]), int(self._ends[position]))
        places = zip(self._later[group].tolist(), self._starts[group].tolist(), strict=True)
        yield from self._read(places)

    def _read(self, places: Iterable[tuple[int, int]]) -> Iterator[tuple[int, ReadLine]]:
        splitter = LineSplitter(max_line_bytes=self._settings.max_line_bytes)
        try:
            with self._source.path.open("rb") as file:
                for idx, start in places:
                    yield idx, self._read_one(splitter, file, start)
        except OSError as error:
            raise unreadable(self._source.path, error) from error

    def _read_one(self, splitter: LineSplitter, file: io.BufferedReader, start: int) -> ReadLine:
        """Checked alone: `find` has checked it among its neighbours."""
        file.seek(start)
        line = next(splitter.split(file), None)
        read = None if line is None else LineClassifier(settings=self._settings).read(line)
        if not isinstance(read, ReadLine):
            raise changed(self._source.path)
        return read
