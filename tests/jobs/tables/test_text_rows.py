import io

import pytest

from jobs.errors import InputError
from jobs.tables.source import Row
from jobs.tables.text_rows import csv_rows, json_rows
from schemas.errors import ApiError


def reader(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]


def csv(data: bytes, delimiter: str = ",") -> list[Row]:
    return list(csv_rows(reader(data), delimiter=delimiter))


def json(data: bytes) -> list[Row]:
    return list(json_rows(reader(data)))


def reasons(rows: list[Row]) -> list[str | None]:
    return [row.message if isinstance(row, ApiError) else None for row in rows]


def test_csv_as_it_is_found() -> None:
    data = '\ufeffa,b\r\n"x, ""y""\r\nz",\r\n\r\né,2'.encode()
    assert csv(data) == [{"a": 'x, "y"\r\nz', "b": None}, {"a": "é", "b": "2"}]
    assert csv(b"a\tb\n1\t2,3\n", "\t") == [{"a": "1", "b": "2,3"}]
    assert csv(b"") == []
    assert csv(b"a,b\n") == []


def test_cells_may_be_long() -> None:
    assert csv(b"a\n" + b"x" * 1_000_000) == [{"a": "x" * 1_000_000}]


def test_csv_lines_that_are_no_rows_are_errors_of_their_own() -> None:
    rows = csv(b'a,b\n1,2\n3\n4,5,6\n"7"x,8\n\xff,9\n10,11\n')
    assert reasons(rows) == [
        None,
        "Line 3 is no row of the table: it has 1 cells, the header has 2.",
        "Line 4 is no row of the table: it has 3 cells, the header has 2.",
        "Line 5 is no row of the table: ',' expected after '\"'.",
        "Line 6 is no row of the table: it is not UTF-8 text.",
        None,
    ]
    assert rows[-1] == {"a": "10", "b": "11"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'a\n"never\nclosed\n', "is a quote not closed"),
        (b'a\n"' + b"x" * (17 << 20), "is a quote not closed"),
        (b'"a"b,c\n1,2\n', "is no CSV"),
        (b"a,\n1,2\n", "a column without a name"),
        (b"a,a\n1,2\n", "two columns that are called 'a'"),
        (b"\xff\n1\n", "a header that is not UTF-8"),
    ],
)
def test_csv_whose_rows_nobody_can_tell_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        csv(data)


def test_json_lines_as_they_are_found() -> None:
    data = '\ufeff{"a": 1}\r\n\n{"a": "é", "b": [null]}'.encode()
    assert json(data) == [{"a": 1}, {"a": "é", "b": [None]}]


def test_json_lines_that_are_no_rows_are_errors_of_their_own() -> None:
    rows = json(b'{"a": 1}\n\n{"a"\n[1]\n"x"\n{"b": 2}\n')
    found = reasons(rows)
    assert found[0] is found[4] is None
    assert str(found[1]).startswith("Line 3 is no row of the table: it is not JSON (")
    assert found[2:4] == [
        "Line 4 is no row of the table: it is an array, not an object.",
        "Line 5 is no row of the table: it is a string, not an object.",
    ]


def test_a_line_that_is_too_long_is_an_error_of_its_own() -> None:
    rows = json(b'{"a": "' + b"x" * (17 << 20) + b'"}\n{"a": 1}\n')
    assert "which is too long" in str(reasons(rows)[0])
    assert rows[1] == {"a": 1}


def test_an_array_is_not_lines() -> None:
    with pytest.raises(InputError, match="is a JSON array"):
        json(b'[\n{"a": 1}\n]\n')
