"""Blobs in an object store, through pyarrow.fs: s3://, gs://, file:// and what else it knows.

Owns: keys to object names, the store's errors in our words. Must not know: credentials (Arrow finds
them where the store's own tools do). An object appears whole when its upload is closed; one that
was cut off may be left behind under a temporary name, which nothing refers to.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import pyarrow as pa
from pyarrow import fs

from jobs.blobs import BlobInfo, check_key, move_into, new_blob_key
from jobs.errors import BlobError, BlobMissingError
from jobs.object_folder import object_error_reason, open_file_system

__all__ = ["ArrowBlobs"]

_log = logging.getLogger(__name__)
_BUFFER_BYTES = 8 << 20  # above the 5 MiB that S3 wants of a part


class ArrowBlobs:
    """The blobs under one folder or prefix of a file system of Arrow's."""

    def __init__(self, filesystem: fs.FileSystem, prefix: str) -> None:
        self._fs = filesystem
        self._prefix = prefix.rstrip("/")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Raises BlobError for an URL that Arrow cannot use."""
        try:
            filesystem, prefix = open_file_system(url)
            blobs = cls(filesystem, prefix)
            filesystem.create_dir(blobs._prefix, recursive=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            shown = url.partition("?")[0]
            reason = object_error_reason(error)
            raise BlobError(f"the blob store {shown} cannot be used: {reason}") from error
        return blobs

    def create(self, key: str) -> "_ArrowWriter":
        return _ArrowWriter(self._fs, self._name(key), self._name(f"tmp-{new_blob_key()}"))

    def put(self, key: str, path: Path) -> int:
        return move_into(self.create(key), path, _BUFFER_BYTES)

    def open(self, key: str) -> BinaryIO:
        try:
            return cast(BinaryIO, self._fs.open_input_file(self._name(key)))
        except FileNotFoundError as error:
            raise BlobMissingError(f"{self._name(key)} is gone") from error
        except (pa.ArrowException, OSError) as error:
            raise _error("read", self._name(key), error) from error

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def delete(self, key: str) -> None:
        try:
            self._fs.delete_file(self._name(key))
        except FileNotFoundError:
            return
        except (pa.ArrowException, OSError) as error:
            raise _error("delete", self._name(key), error) from error

    def walk(self) -> Iterator[BlobInfo]:
        now = time.time()
        try:
            found = self._fs.get_file_info(fs.FileSelector(self._prefix, allow_not_found=True))
        except (pa.ArrowException, OSError) as error:
            raise _error("list", self._prefix, error) from error
        for info in found:
            if info.type == fs.FileType.File and info.mtime is not None:
                yield BlobInfo(info.base_name, now - info.mtime.timestamp())

    def _name(self, key: str) -> str:
        check_key(key)
        return f"{self._prefix}/{key}"


class _ArrowWriter:
    """Uploads under a temporary name: Arrow has no way to abandon an upload, only to close it."""

    def __init__(self, filesystem: fs.FileSystem, name: str, temporary: str) -> None:
        self._fs = filesystem
        self._name = name
        self._temporary = temporary
        self._num_bytes = 0
        try:
            self._stream: Any = filesystem.open_output_stream(temporary, buffer_size=_BUFFER_BYTES)
        except (pa.ArrowException, OSError) as error:
            raise _error("write", name, error) from error

    def write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _error("write", self._name, error) from error
        self._num_bytes += len(data)

    def commit(self) -> int:
        try:
            self._stream.close()
            self._fs.move(self._temporary, self._name)
        except (pa.ArrowException, OSError) as error:
            self.abort()
            raise _error("write", self._name, error) from error
        return self._num_bytes

    def abort(self) -> None:
        with contextlib.suppress(pa.ArrowException, OSError, ValueError):
            self._stream.close()
        try:
            self._fs.delete_file(self._temporary)
        except FileNotFoundError:
            return
        except (pa.ArrowException, OSError) as error:
            _log.warning("%s is left behind: %s", self._temporary, object_error_reason(error))


def _error(action: str, name: str, error: Exception) -> BlobError:
    return BlobError(f"cannot {action} {name}: {object_error_reason(error)}")
