"""Where the bytes of files lie: a local folder, or any object store that Arrow can reach.

A blob is written once under a key of ours and never changed. It comes into being when it is
committed, whole; nothing refers to it before. Keys are made here and in the control plane from hex
digits; an id that a client sends is looked up in a record and never becomes a key or a path.

Owns: keys, and the choice of a place by URL. Must not know: files' records, HTTP. Calls block: the
event loop runs them in threads.
"""

import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from jobs.errors import BlobError

__all__ = [
    "BlobInfo",
    "BlobWriter",
    "Blobs",
    "check_key",
    "move_into",
    "new_blob_key",
    "open_blobs",
]

_KEY = re.compile(r"[a-z0-9][a-z0-9-]{7,127}")


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob that is there. `age_s`: seconds since it was written."""

    key: str
    age_s: float


class BlobWriter(Protocol):
    """A blob in the making. Exactly one of `commit` and `abort` ends it."""

    def write(self, data: bytes) -> None:
        """Append. Raises BlobError."""
        ...

    def commit(self) -> int:
        """Make the blob exist, durably; its size in bytes. Raises BlobError."""
        ...

    def abort(self) -> None:
        """Leave nothing behind. Never raises."""
        ...


class Blobs(Protocol):
    """One place. Methods raise BlobMissingError for a key that is not there, else BlobError."""

    def create(self, key: str) -> BlobWriter:
        """Begin to write `key`; an older blob of that key is replaced by the commit."""
        ...

    def put(self, key: str, path: Path) -> int:
        """Make the local file `path` the blob `key`, taking the file away; its size."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The bytes, as a seekable file; close it."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the bytes lie on this machine; None if they must be fetched."""
        ...

    def delete(self, key: str) -> None:
        """Delete the blob if it is there."""
        ...

    def walk(self) -> Iterator[BlobInfo]:
        """Every blob, and what was left half-written."""
        ...


def open_blobs(place: str) -> Blobs:
    """The blobs in a local folder (created if need be) or under an URL such as s3://bucket/prefix,
    gs://bucket/prefix or file:///folder. Raises BlobError.
    """
    if "://" not in place:
        from jobs.local_blobs import LocalBlobs

        return LocalBlobs(Path(place))
    from jobs.arrow_blobs import ArrowBlobs

    return ArrowBlobs.from_url(place)


def new_blob_key() -> str:
    """A key that was never used."""
    return secrets.token_hex(16)


def move_into(writer: BlobWriter, path: Path, buffer_bytes: int) -> int:
    """Copy a local file into a blob, commit that and take the file away; its size."""
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, writer, buffer_bytes)
    except BaseException:
        writer.abort()
        raise
    size = writer.commit()
    path.unlink()
    return size


def check_key(key: str) -> str:
    """`key` itself if it may be part of a path. Raises BlobError otherwise."""
    if not _KEY.fullmatch(key):
        raise BlobError(f"{key[:100]!r} is no blob key")
    return key
