"""Every kind of place keeps the same promises."""

import tempfile
from pathlib import Path

import pytest
from pyarrow import fs

from jobs.arrow_blobs import ArrowBlobs
from jobs.blobs import Blobs, check_key, new_blob_key, open_blobs
from jobs.errors import BlobError, BlobMissingError
from jobs.local_blobs import LocalBlobs, _LocalWriter

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(params=["folder", "url", "store"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return open_blobs(str(tmp_path / "blobs"))
    if request.param == "url":
        return open_blobs(f"file://{tmp_path}/with space/blobs".replace(" ", "%20"))
    import fsspec

    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    memory.store.clear()
    store = fs.PyFileSystem(fs.FSSpecHandler(memory))
    store.create_dir("bucket/prefix")
    return ArrowBlobs(store, "bucket/prefix/")


def write(blobs: Blobs, key: str, *pieces: bytes) -> int:
    writer = blobs.create(key)
    for piece in pieces:
        writer.write(piece)
    return writer.commit()


def read(blobs: Blobs, key: str) -> bytes:
    with blobs.open(key) as file:
        return bytes(file.read())


def test_bytes_come_back(blobs: Blobs) -> None:
    assert write(blobs, KEY, b"one ", b"", b"two") == 7
    assert read(blobs, KEY) == b"one two"
    with blobs.open(KEY) as file:
        file.seek(4)
        assert bytes(file.read(2)) == b"tw"


def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    assert write(blobs, KEY) == 0
    assert read(blobs, KEY) == b""


def test_nothing_is_there_before_the_commit(blobs: Blobs) -> None:
    writer = blobs.create(KEY)
    writer.write(b"half")
    with pytest.raises(BlobMissingError):
        blobs.open(KEY)
    writer.commit()
    assert read(blobs, KEY) == b"half"


def test_what_is_aborted_leaves_nothing(blobs: Blobs) -> None:
    writer = blobs.create(KEY)
    writer.write(b"half")
    writer.abort()
    writer.abort()
    assert list(blobs.walk()) == []


def test_a_local_file_becomes_a_blob(blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"rows")
    assert blobs.put(KEY, path) == 4
    assert read(blobs, KEY) == b"rows"
    assert not path.exists()


def test_a_file_of_another_disk_that_cannot_be_copied_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one disk only")

    def fail(*_: object) -> None:
        raise BlobError("the disk is full")

    blobs = LocalBlobs(tmp_path / "blobs")
    with tempfile.NamedTemporaryFile(dir=elsewhere) as source:
        source.write(b"rows")
        source.flush()
        monkeypatch.setattr(_LocalWriter, "write", fail)
        with pytest.raises(BlobError, match="full"):
            blobs.put(KEY, Path(source.name))
        assert list(blobs.walk()) == []
        monkeypatch.undo()
        assert Path(source.name).read_bytes() == b"rows"


def test_deleting_may_be_repeated(blobs: Blobs) -> None:
    write(blobs, KEY, b"x")
    blobs.delete(KEY)
    blobs.delete(KEY)
    with pytest.raises(BlobMissingError):
        blobs.open(KEY)


def test_walking_shows_every_blob_and_its_age(blobs: Blobs, request: pytest.FixtureRequest) -> None:
    if "store" in request.node.name:
        pytest.skip("the store in memory does not say when a blob was written")
    keys = {new_blob_key() for _ in range(3)}
    for key in keys:
        write(blobs, key, b"x")
    found = list(blobs.walk())
    assert {info.key for info in found} == keys
    assert all(-5 < info.age_s < 60 for info in found)


@pytest.mark.parametrize("key", ["", "..", "../../etc/passwd", "a/b", "short", "A" * 32, "a" * 200])
def test_only_our_own_keys_are_used(blobs: Blobs, key: str) -> None:
    with pytest.raises(BlobError):
        check_key(key)
    for call in (blobs.create, blobs.open, blobs.delete, blobs.local_path):
        with pytest.raises(BlobError):
            call(key)


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    write(blobs, KEY, b"x")
    path = blobs.local_path(KEY)
    assert path is not None
    path.unlink()
    (tmp_path / "secret").write_text("secret")
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(BlobError):
        blobs.open(KEY)


def test_other_users_cannot_read_local_blobs(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    write(blobs, KEY, b"x")
    path = blobs.local_path(KEY)
    assert path is not None
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("place", ["nonsense://x/y", "s3://", "file://relative"])
def test_a_place_that_cannot_be_used_is_one_sentence(place: str) -> None:
    with pytest.raises(BlobError) as got:
        open_blobs(place)
    assert "\n" not in str(got.value)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlobError, match="blobs"):
        open_blobs(str(tmp_path / "file" / "blobs"))


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    blobs = LocalBlobs(tmp_path / "blobs")
    writer = blobs.create(KEY)
    writer._file.close()
    writer._file = Path("/dev/full").open("wb")  # noqa: SIM115
    writer.write(b"x")
    with pytest.raises(BlobError, match="the disk is full"):
        writer.commit()
