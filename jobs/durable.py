"""Writing files so that they survive a power cut, and saying clearly why a write failed.

Owns: create-and-flush of new files, flushing of folders, reading without following links, the
sentence for each kind of storage failure. Must not know: what the files hold.
"""

import errno
import os
from pathlib import Path

from jobs.errors import StoreWriteError

__all__ = ["read_plain_file", "storage_error", "sync_folder", "write_new_file"]

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted there",
    errno.ENOENT: "the folder does not exist (any more)",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EIO: "the device reports an input/output error",
    errno.ENAMETOOLONG: "the name is too long",
}


def write_new_file(path: Path, data: bytes) -> None:
    """Create `path` with `data` and flush it to the device. An existing file, even a symbolic
    link, is never written through: that raises FileExistsError. Raises OSError.
    """
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the entries of `folder`: without it a rename may be undone by a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_plain_file(path: Path) -> bytes:
    """The bytes of a regular file. A symbolic link raises OSError (ELOOP) instead of leading
    somewhere else.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def storage_error(action: str, path: Path, error: OSError) -> StoreWriteError:
    """The one sentence for a failed write; `action` completes "cannot ..."."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return StoreWriteError(f"cannot {action} {path}: {reason}", errno=error.errno)
