import hashlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import InputChangedError, InputError
from jobs.producers.lines import LineCounts, LineReader, count_lines, open_input


def read(
    path: Path, data: bytes, *, max_line_bytes: int = 1000
) -> tuple[LineReader, list[tuple[int, bytes, int]]]:
    path.write_bytes(data)
    reader = LineReader(open_input(path), max_line_bytes=max_line_bytes)
    return reader, [(line.number, line.data, line.num_bytes) for line in reader]


@pytest.mark.parametrize(
    ("data", "expected", "num_lines", "num_blank"),
    [
        (b"", [], 0, 0),
        (b"\n", [], 1, 1),
        (b"a\nb\n", [(1, b"a"), (2, b"b")], 2, 0),
        (b"a\nb", [(1, b"a"), (2, b"b")], 2, 0),
        (b"a\r\n\r\nb\r\n", [(1, b"a"), (3, b"b")], 3, 1),
        (b"\n  \t\na\n\n", [(3, b"a")], 4, 3),
        (b"\xef\xbb\xbfa\nb", [(1, b"a"), (2, b"b")], 2, 0),
        (b"\xef\xbb\xbf\na", [(2, b"a")], 2, 1),
        (b"a\xe2\x80\xa8b\xc2\x85c\x0bd\n", [(1, b"a\xe2\x80\xa8b\xc2\x85c\x0bd")], 1, 0),
        (b"a\rb\n", [(1, b"a\rb")], 1, 0),
        (b"\xff\xfea"[2:] + b"\x00\n", [(1, b"a\x00")], 1, 0),
    ],
)
def test_lines_end_at_line_feeds_and_every_one_counts(
    tmp_path: Path,
    data: bytes,
    expected: list[tuple[int, bytes]],
    num_lines: int,
    num_blank: int,
) -> None:
    reader, lines = read(tmp_path / "x", data)
    assert [line[:2] for line in lines] == expected
    assert (reader.num_lines, reader.num_blank) == (num_lines, num_blank)


@settings(max_examples=60, deadline=None)
@given(
    contents=st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=12),
    end=st.sampled_from([b"\n", b"\r\n"]),
    has_mark=st.booleans(),
    is_ended=st.booleans(),
)
def test_any_lines_of_any_length_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    contents: list[bytes],
    end: bytes,
    has_mark: bool,
    is_ended: bool,
) -> None:
    contents = [b"x" + content.rstrip(b"\r") for content in contents]
    data = end.join(contents) + (end if is_ended and contents else b"")
    path = tmp_path_factory.mktemp("lines") / "x"
    _, lines = read(path, b"\xef\xbb\xbf" * has_mark + data, max_line_bytes=15)
    expected = [
        (number, content if len(content) <= 15 else b"", len(content))
        for number, content in enumerate(contents, start=1)
    ]
    assert lines == expected


def test_an_endless_line_is_measured_not_kept(tmp_path: Path) -> None:
    data = b"a\n" + b"x" * 5_000_000 + b"\nb\n" + b"y" * 2_000_000
    _, lines = read(tmp_path / "x", data, max_line_bytes=1000)
    assert lines == [(1, b"a", 1), (2, b"", 5_000_000), (3, b"b", 1), (4, b"", 2_000_000)]


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    data = os.urandom(3_000_000).replace(b"\x1f", b"a")
    path.write_bytes(b"x" + data)
    source = open_input(str(path))
    assert source.sha256 == hashlib.sha256(b"x" + data).hexdigest()
    assert source.num_bytes == len(data) + 1
    assert list(LineReader(source, max_line_bytes=10))


@pytest.mark.parametrize("change", ["append", "edit", "truncate"])
def test_a_file_that_changes_meanwhile_is_noticed_at_its_end(tmp_path: Path, change: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"line\n" * 10)
    source = open_input(path)
    changed = {"append": b"line\n" * 11, "edit": b"lime\n" * 10, "truncate": b"line\n" * 9}
    path.write_bytes(changed[change])
    with pytest.raises(InputChangedError, match=str(path)):
        list(LineReader(source, max_line_bytes=10))


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"BZh91AY&SY", "bzip2"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1", "Parquet"),
        (b"\xff\xfe{\x00", "UTF-16"),
        (b"\xfe\xff\x00{", "UTF-16"),
    ],
)
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, start: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(start + b"...")
    with pytest.raises(InputError, match=words):
        open_input(tmp_path / "x")


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_input(tmp_path / "missing.jsonl")
    with pytest.raises(InputError, match="folder"):
        open_input(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="regular file"):
        open_input(tmp_path / "pipe")
    with pytest.raises(InputError, match="standard input"):
        open_input("-")


def test_a_read_error_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> int:
            raise OSError(5, "Input/output error")

    (tmp_path / "x").write_bytes(b"a\n")
    source = open_input(tmp_path / "x")
    monkeypatch.setattr(Path, "open", lambda *_, **__: Failing())
    with pytest.raises(InputError, match="cannot be read: input/output error"):
        list(LineReader(source, max_line_bytes=10))


def test_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a\n\n \n" + b"x" * 3_000_000 + b"\nlast")
    source = open_input(path)
    assert count_lines(source) == LineCounts(num_lines=5, num_blank=2)
    path.write_bytes(b"other")
    with pytest.raises(InputChangedError):
        count_lines(source)
