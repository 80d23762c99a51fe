"""Blobs in a local folder: `<folder>/<last two characters of the key>/<key>`.

Owns: their paths, and writing that survives a power cut: temporary name, fsync, rename, fsync of
the folder. Must not know: what the bytes are.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jobs.blobs import BlobInfo, check_key, move_into
from jobs.durable import storage_error, sync_folder
from jobs.errors import BlobError, BlobMissingError

__all__ = ["LocalBlobs"]

_BUFFER_BYTES = 1 << 20
_MODE = 0o600  # other users of the machine have no business with prompts


class LocalBlobs:
    """The blobs in one folder. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _error("create", self.folder, error) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise BlobError(f"the blob folder {self.folder} is not writable")

    def create(self, key: str) -> "_LocalWriter":
        return _LocalWriter(self._path(key))

    def put(self, key: str, path: Path) -> int:
        target = self._path(key)
        try:
            _make_folder(target.parent)
            size = path.stat().st_size
            if path.stat().st_dev == target.parent.stat().st_dev:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                path.replace(target)
                sync_folder(target.parent)
                return size
        except OSError as error:
            raise _error("store", target, error) from error
        return move_into(self.create(key), path, _BUFFER_BYTES)

    def open(self, key: str) -> BinaryIO:
        path = self._path(key)
        try:
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except FileNotFoundError as error:
            raise BlobMissingError(f"{path} is gone") from error
        except OSError as error:
            raise _error("read", path, error) from error

    def local_path(self, key: str) -> Path | None:
        path = self._path(key)
        if not path.is_file():
            raise BlobMissingError(f"{path} is gone")
        return path

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _error("delete", path, error) from error

    def walk(self) -> Iterator[BlobInfo]:
        now = time.time()
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                yield BlobInfo(path.name, now - path.lstat().st_mtime)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.folder / key[-2:] / key


class _LocalWriter:
    """Writes beside the final name, so that the rename stays within one file system."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A key too, so that whoever clears left-overs away can name it.
        self._temporary = path.with_name(f"tmp-{secrets.token_hex(16)}-{path.name[-2:]}")
        try:
            _make_folder(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._file = os.fdopen(os.open(self._temporary, flags, _MODE), "wb", _BUFFER_BYTES)
        except OSError as error:
            raise _error("write", path, error) from error

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise _error("write", self._path, error) from error

    def commit(self) -> int:
        try:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            self._temporary.rename(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            self.abort()
            raise _error("write", self._path, error) from error
        return size

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def _error(action: str, path: Path, error: OSError) -> BlobError:
    return BlobError(str(storage_error(action, path, error)))
