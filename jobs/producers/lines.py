"""The lines of an input file, as bytes, one at a time.

Owns: which files can be read at all, where a line ends (line feed bytes only: U+2028 and its like
are legal inside JSON strings), the byte order mark, line numbers, the hash of the bytes that were
read. Must not know: what a line means.
"""

import hashlib
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jobs.errors import InputChangedError, InputError

__all__ = [
    "InputFile",
    "Line",
    "LineCounts",
    "LineReader",
    "LineSplitter",
    "changed",
    "count_lines",
    "open_input",
    "unreadable",
]

_BUFFER_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FOREIGN_STARTS = (
    (b"\x1f\x8b", "gzip data; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstd data; decompress it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"PAR1", "a Parquet file, not JSONL"),
    (b"\xff\xfe", "UTF-16 text; convert it to UTF-8 first"),
    (b"\xfe\xff", "UTF-16 text; convert it to UTF-8 first"),
)


class _Digest(Protocol):
    def update(self, data: memoryview, /) -> None: ...


@dataclass(frozen=True, slots=True)
class InputFile:
    """A readable input file and the hash of its bytes (sha256, hex)."""

    path: Path
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank. `number` counts physical lines from 1. A line longer than the
    reader's limit has no `data`, only its length.
    """

    number: int
    data: bytes
    num_bytes: int

    @property
    def is_too_long(self) -> bool:
        return self.num_bytes > len(self.data)


def open_input(path: Path | str) -> InputFile:
    """Check that `path` can be read as JSONL and hash it (one pass over the file).

    Raises InputError with one sentence: missing, not a regular file (a pipe cannot be read twice,
    which resuming needs), compressed or otherwise foreign.
    """
    if str(path) == "-":
        raise InputError("standard input cannot be read twice; save it to a file and give its name")
    path = Path(path)
    digest, num_bytes = hashlib.sha256(), 0
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"the input {path} is a folder, not a file")
        if not stat.S_ISREG(mode):
            raise InputError(f"the input {path} is not a regular file; save it to one first")
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_BUFFER_BYTES):
                if num_bytes == 0:
                    _refuse_foreign(path, chunk)
                digest.update(chunk)
                num_bytes += len(chunk)
    except FileNotFoundError as error:
        raise InputError(f"the input {path} does not exist") from error
    except OSError as error:
        raise unreadable(path, error) from error
    return InputFile(path, num_bytes, digest.hexdigest())


def unreadable(path: Path, error: OSError) -> InputError:
    """The one sentence for an input that fails to be read."""
    return InputError(f"the input {path} cannot be read: {(error.strerror or str(error)).lower()}")


def changed(path: Path) -> InputChangedError:
    """The one sentence for an input that is not what it was."""
    return InputChangedError(
        f"the input {path} changed while it was read; run the same command again (results of lines "
        "that did not change are kept)"
    )


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Physical lines of a file, and how many of them are blank."""

    num_lines: int
    num_blank: int


def count_lines(source: InputFile) -> LineCounts:
    """Read the file through. Raises InputError, InputChangedError."""
    reader = LineReader(source, max_line_bytes=_BUFFER_BYTES)
    for _ in reader:
        continue
    return LineCounts(reader.num_lines, reader.num_blank)


class LineSplitter:
    """Cuts files into lines that are not blank, in flat memory: of a line above `max_line_bytes`
    only the length is kept. `num_lines` and `num_blank` count physical lines of the latest file.
    """

    def __init__(self, *, max_line_bytes: int) -> None:
        self.num_lines = 0
        self.num_blank = 0
        self._max_line_bytes = max_line_bytes

    def split(self, file: io.BufferedReader) -> Iterator[Line]:
        """The lines of one file from its start. Raises what reading raises."""
        self.num_lines = self.num_blank = 0
        limit = self._max_line_bytes
        while data := file.readline(limit + 5):  # room for line end and byte order mark
            self.num_lines += 1
            if self.num_lines == 1:
                data = data.removeprefix(_BYTE_ORDER_MARK)
            content = data.removesuffix(b"\n").removesuffix(b"\r")
            if len(content) > limit:
                yield Line(self.num_lines, b"", _measure_line(data, file))
            elif not content.strip():
                self.num_blank += 1
            else:
                yield Line(self.num_lines, content, len(content))


class LineReader(LineSplitter):
    """The same for one input file, which must be the one that was opened."""

    def __init__(self, source: InputFile, *, max_line_bytes: int) -> None:
        super().__init__(max_line_bytes=max_line_bytes)
        self._source = source

    def __iter__(self) -> Iterator[Line]:
        """Raises InputError on a read error, and InputChangedError after the last line if the
        bytes are not those that were hashed when the file was opened.
        """
        digest = hashlib.sha256()
        try:
            with self._source.path.open("rb", buffering=0) as raw:
                yield from self.split(io.BufferedReader(_Hashing(raw, digest), _BUFFER_BYTES))
        except OSError as error:
            raise unreadable(self._source.path, error) from error
        if digest.hexdigest() != self._source.sha256:
            raise changed(self._source.path)


class _Hashing(io.RawIOBase):
    """A raw file that feeds what is read from it to a digest."""

    def __init__(self, raw: io.FileIO, digest: _Digest) -> None:
        self._raw = raw
        self._digest = digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = self._raw.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        return count


def _measure_line(start: bytes, file: io.BufferedReader) -> int:
    """Read to the end of the line that begins with `start`; its bytes without the line end."""
    num_bytes, tail = len(start), start[-2:]
    while not tail.endswith(b"\n") and (piece := file.readline(_BUFFER_BYTES)):
        num_bytes += len(piece)
        tail = (tail + piece)[-2:]
    return num_bytes - len(tail) + len(tail.removesuffix(b"\n").removesuffix(b"\r"))


def _refuse_foreign(path: Path, start: bytes) -> None:
    for magic, kind in _FOREIGN_STARTS:
        if start.startswith(magic):
            raise InputError(f"the input {path} is {kind}")
