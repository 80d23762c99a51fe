"""The data folder: where unfinished batches lie on disk.

    store-id               names this folder; a batch belongs to the folder that it began in
    batches/<batch id>/    parts of its results, scratch files; gone when the batch has ended

Owns: its paths. Must not know: what the files hold, except that an input may have to be fetched.
"""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.blobs import Blobs
from jobs.durable import storage_error, sync_folder, write_new_file
from jobs.errors import StoreWriteError
from jobs.keys import check_name
from jobs.producers.lines import InputFile, open_input

__all__ = ["Workspace"]


class Workspace:
    """One data folder. Several processes may share it, also over a network file system with hard
    links. Raises StoreWriteError if it cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        try:
            (self.folder / "batches").mkdir(parents=True, exist_ok=True, mode=0o700)
            self.store_id = self._read_id()
        except OSError as error:
            raise storage_error("use the data folder", self.folder, error) from error

    def batch_folder(self, batch_id: str) -> Path:
        """Everything that one batch has on this disk."""
        return self.folder / "batches" / check_name("batch id", batch_id)

    def parts_folder(self, batch_id: str) -> Path:
        """Where the parts (jobs/store.py) of a batch lie."""
        return self.batch_folder(batch_id) / "parts"

    @contextmanager
    def input(self, blobs: Blobs, batch_id: str, blob: str) -> Iterator[InputFile]:
        """The batch's input as a local file that was read once. Blocks.

        Raises BlobMissingError, InputError for bytes that are no text, StoreWriteError.
        """
        path = blobs.local_path(blob)
        if path is not None:
            yield open_input(path)
            return
        folder = self.batch_folder(batch_id)
        copy = folder / f"input-{secrets.token_hex(8)}.jsonl"
        try:
            folder.mkdir(exist_ok=True, mode=0o700)
            with blobs.open(blob) as source, copy.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            yield open_input(copy)
        except OSError as error:
            raise storage_error("fetch the input to", folder, error) from error
        finally:
            with contextlib.suppress(OSError):
                copy.unlink(missing_ok=True)

    def forget(self, batch_id: str) -> None:
        """Remove what a batch has on this disk. Blocks."""
        shutil.rmtree(self.batch_folder(batch_id), ignore_errors=True)

    def _read_id(self) -> str:
        path = self.folder / "store-id"
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                temporary = self.folder / f".store-id-{secrets.token_hex(8)}.tmp"
                write_new_file(temporary, secrets.token_hex(16).encode())
                try:
                    path.hardlink_to(temporary)
                finally:
                    temporary.unlink()
                sync_folder(self.folder)
        text = path.read_text().strip()
        if not text:
            raise StoreWriteError(f"{path} is empty; delete it if this folder holds no batches")
        return text
