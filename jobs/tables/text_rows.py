"""The rows of one CSV or JSONL file, one at a time.

Owns: what a row of each format is, and why a piece of text is none. Must not know: types, which
files there are. Text that is not a row is an error of that row alone.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence

from jobs.errors import InputError
from jobs.producers.lines import Line, LineSplitter
from jobs.tables.source import Row
from schemas.errors import ApiError
from schemas.json_text import parse_json_line
from schemas.wording import type_name

__all__ = ["csv_rows", "json_rows"]

_MAX_ROW_BYTES = 16 << 20


def json_rows(file: io.BufferedReader) -> Iterator[Row]:
    """One object a line; blank lines are skipped. Raises what reading raises, and InputError for a
    JSON array instead of lines.
    """
    for line in LineSplitter(max_line_bytes=_MAX_ROW_BYTES).split(file):
        if line.number == 1 and line.data.strip() == b"[":
            raise InputError("is a JSON array; write one object a line, without brackets")
        yield _json_row(line)


def _json_row(line: Line) -> Row:
    if line.is_too_long:
        return _bad_row(line.number, f"it has {line.num_bytes} bytes, which is too long")
    try:
        value = parse_json_line(line.data)
    except ValueError as error:
        return _bad_row(line.number, f"it is not JSON ({error})")
    if not isinstance(value, dict):
        return _bad_row(line.number, f"it is {type_name(value)}, not an object")
    return value


def csv_rows(
    file: io.BufferedReader,
    *,
    delimiter: str,
    on_header: Callable[[Sequence[str]], object] = lambda _: None,
) -> Iterator[Row]:
    """The rows below the header, whose names are the columns (`on_header` gets them, also where no
    row follows); an empty cell is null. Blank lines are skipped, cells may hold line ends.

    Raises what reading raises, and InputError without a header that can be used, or for a quote
    that never ends: nobody knows what it swallowed.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    csv.field_size_limit(_MAX_ROW_BYTES)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield _broken_row(reader.line_num, error, has_header=header is not None)
                continue
            if cells and header is None:
                _check_header(cells)
                header = cells
                on_header(header)
            elif cells and header is not None:
                yield _csv_row(header, cells, reader.line_num)
    finally:
        text.detach()


def _broken_row(number: int, error: csv.Error, *, has_header: bool) -> ApiError:
    """The reader goes on at the next line, unless it has read to the end for want of a quote."""
    reason = str(error)
    if not has_header or "end of data" in reason or "field limit" in reason:
        raise InputError(f"is no CSV: {reason}, before line {number}; is a quote not closed?")
    return _bad_row(number, reason)


def _check_header(header: list[str]) -> None:
    """Without a name a column could not be asked for, and with that of another neither."""
    if not _is_text(header):
        raise InputError("has a header that is not UTF-8 text")
    for name in header:
        if not name:
            raise InputError(
                "has a column without a name in its header; name it (pandas leaves its index out "
                "with to_csv(index=False))"
            )
        if header.count(name) > 1:
            raise InputError(f"has two columns that are called {name!r}; rename one")


def _csv_row(header: list[str], cells: list[str], number: int) -> Row:
    if len(cells) != len(header):
        return _bad_row(number, f"it has {len(cells)} cells, the header has {len(header)}")
    if not _is_text(cells):
        return _bad_row(number, "it is not UTF-8 text")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _is_text(cells: list[str]) -> bool:
    """Bytes that are not UTF-8 came in as surrogates."""
    joined = "".join(cells)
    if joined.isascii():
        return True
    try:
        joined.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad_row(number: int, reason: str) -> ApiError:
    return ApiError(400, f"Line {number} is no row of the table: {reason}.", code="invalid_row")
