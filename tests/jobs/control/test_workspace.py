import hashlib
from pathlib import Path

import pytest

from jobs.blobs import open_blobs
from jobs.control.workspace import Workspace
from jobs.errors import BadBatchError, BlobMissingError, StoreWriteError


def test_a_folder_has_one_name_for_ever(tmp_path: Path) -> None:
    first = Workspace(tmp_path / "data").store_id
    assert Workspace(tmp_path / "data").store_id == first
    assert Workspace(tmp_path / "other").store_id != first


def test_a_local_input_is_read_where_it_lies(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path / "blobs"))
    writer = blobs.create("a" * 32)
    writer.write(b"text\n")
    writer.commit()
    with Workspace(tmp_path).input(blobs, "batch_a", "a" * 32) as source:
        assert source.path == blobs.local_path("a" * 32)
        assert source.sha256 == hashlib.sha256(b"text\n").hexdigest()


def test_an_input_elsewhere_is_fetched_and_forgotten(tmp_path: Path) -> None:
    blobs = open_blobs(f"file://{tmp_path}/store")
    writer = blobs.create("a" * 32)
    writer.write(b"text\n")
    writer.commit()
    workspace = Workspace(tmp_path)
    with workspace.input(blobs, "batch_a", "a" * 32) as source:
        assert source.path.read_bytes() == b"text\n"
        assert source.path.is_relative_to(workspace.batch_folder("batch_a"))
    assert not source.path.exists()


def test_an_input_that_is_gone(tmp_path: Path) -> None:
    for place in (str(tmp_path / "blobs"), f"file://{tmp_path}/store"):
        with (
            pytest.raises(BlobMissingError),
            Workspace(tmp_path).input(open_blobs(place), "batch_a", "b" * 32),
        ):
            pass


@pytest.mark.parametrize("batch_id", ["../etc", "a/b", "", "."])
def test_no_batch_leads_out_of_the_folder(tmp_path: Path, batch_id: str) -> None:
    with pytest.raises(BadBatchError):
        Workspace(tmp_path).batch_folder(batch_id)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteError, match="data folder"):
        Workspace(tmp_path / "file" / "data")
