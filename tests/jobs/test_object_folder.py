from pathlib import Path

import pytest

from jobs.errors import StoreError, StoreWriteError
from jobs.object_folder import ObjectFolder, ObjectInfo, object_error_reason
from tests.jobs.object_fake import FakeStore


def test_objects_and_folders_below_a_prefix(tmp_path: Path) -> None:
    fake = FakeStore()
    folder = fake.folder()
    folder.put("b", b"bb")
    folder.put("a", b"a")
    folder.within("deep").put("c", b"ccc")
    assert folder.listing() == [ObjectInfo("a", 1), ObjectInfo("b", 2)]
    assert folder.folders() == ["deep"]
    assert folder.read("b") == b"bb"
    folder.download("b", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"bb"
    folder.delete(["a", "never was"])
    folder.delete_folder("deep")
    assert list(fake.objects) == ["bucket/prefix/b"]


def test_a_file_becomes_an_object_whole(tmp_path: Path) -> None:
    fake = FakeStore()
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 70_000)
    fake.folder().upload("file", file)
    assert fake.objects["bucket/prefix/file"] == file.read_bytes()


def test_a_file_that_cannot_be_read_to_its_end_leaves_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeStore()
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    monkeypatch.setattr("jobs.object_folder._COPY_BYTES", 60)
    reads: list[int] = []

    class Torn:
        def read(self, size: int) -> bytes:
            reads.append(size)
            if len(reads) > 1:
                raise OSError(5, "Input/output error")
            return b"x" * size

        def __enter__(self) -> "Torn":
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(Path, "open", lambda *_: Torn())
    with pytest.raises(StoreWriteError, match="Input/output error"):
        fake.folder().upload("file", file)
    assert not fake.objects


def test_a_long_listing_is_repeated_until_it_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeStore()
    folder = fake.folder()
    for number in range(3):
        folder.put(f"{number}", b"")
    monkeypatch.setattr("jobs.object_folder._WHOLE_LISTING", 2)
    listings: list[str] = []

    def replace(action: str, path: str) -> None:
        if action == "list":
            listings.append(path)
            if len(listings) == 1:
                fake.objects["bucket/prefix/new"] = b""

    fake.fail = replace
    assert [info.name for info in folder.listing()] == ["0", "1", "2", "new"]
    assert len(listings) >= 2


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("AWS Error NO_SUCH_BUCKET during PutObject operation", "the bucket does not exist"),
        ("Bucket 'b' not found. To create buckets, enable", "the bucket does not exist"),
        ("AWS Error INVALID_ACCESS_KEY_ID during PutObject", "refuses the credentials"),
        ("AWS Error SIGNATURE_DOES_NOT_MATCH during", "refuses the credentials"),
        ("AWS Error ACCESS_DENIED during HeadBucket operation", "access is denied"),
        ("PermanentRedirect (HTTP status 301)", "the region is missing or wrong"),
        ("When resolving region for bucket 'b': AWS Error NETWORK_CONNECTION", "looked up"),
        ("AWS Error NETWORK_CONNECTION curlCode: 7", "cannot be reached"),
        ("google::cloud::Status(UNAUTHENTICATED: x)", "access is denied"),
    ],
)
def test_what_a_store_says_becomes_advice(said: str, told: str) -> None:
    reason = object_error_reason(OSError(f"{said}\n more"))
    assert told in reason
    assert said in reason


def test_an_url_that_arrow_does_not_know() -> None:
    with pytest.raises(StoreError, match="foo://x/y cannot be used"):
        ObjectFolder.from_url("foo://x/y?secret=1")


@pytest.mark.parametrize("path", ["deep/a b", "deep/a%20b", "deep/ä+b", ""])
def test_a_path_is_taken_as_it_stands(path: str) -> None:
    query = "region=here&endpoint_override=localhost:1&scheme=http"
    folder = ObjectFolder.from_url(f"s3://bucket/{path}?{query}")
    assert folder._prefix == f"bucket/{path}".rstrip("/")
    assert folder.url == f"s3://bucket/{path}".rstrip("/")
