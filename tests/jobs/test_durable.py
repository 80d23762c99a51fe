import errno
import os
from pathlib import Path

import pytest

from jobs.durable import read_plain_file, storage_error, sync_folder, write_new_file


def test_a_new_file_is_flushed_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    write_new_file(tmp_path / "a", b"12345")
    sync_folder(tmp_path)
    assert sizes[0] == 5
    assert len(sizes) == 2


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_new_file(tmp_path / "link", b"x")
    assert victim.read_bytes() == b"precious"


def test_nothing_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    assert read_plain_file(tmp_path / "secret") == b"s"
    with pytest.raises(OSError) as caught:
        read_plain_file(tmp_path / "link")
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EMFILE, "Too many open files"),
    ],
)
def test_the_sentence_names_place_and_reason(code: int, words: str) -> None:
    error = storage_error("write results to", Path("/x/y"), OSError(code, os.strerror(code)))
    assert str(error).startswith("cannot write results to /x/y: ")
    assert words in str(error)
    assert error.errno == code
