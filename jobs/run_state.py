"""What a run leaves behind so that the next one can go on: the state folder.

    state.json             which batch of which input under which engine, and whether it is complete
    lock                   held by the process that works here, with its process id
    generation-0001/       the parts (jobs/store.py) of the first batch, and so on

The same input under the same engine continues its batch. A changed input or engine, or rows worth
trying again, begin a new generation, which takes over what it can from the earlier ones.

Owns: state.json, the lock, the generations' folders. Must not know: Redis, what parts hold.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from jobs.durable import storage_error, sync_folder, write_new_file
from jobs.errors import RunLockedError, RunStateError
from jobs.identity import new_batch_id

__all__ = ["RunFolder", "RunKind", "RunStart", "RunState", "open_run_folder"]

_log = logging.getLogger(__name__)

_FORMAT = 1
_GENERATION = re.compile(r"generation-(\d{4,})")


class RunKind(StrEnum):
    """NEW: a batch begins. CONTINUED: an unfinished one goes on. COMPLETE: nothing is left to do
    (the final files can be written again from the parts).
    """

    NEW = "new"
    CONTINUED = "continued"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """The content of state.json. `num_retryable` rows (5xx, cancelled, expired) of a complete run
    would be computed again by another. Times are ISO 8601, UTC.
    """

    batch_id: str
    generation: int
    input_path: str
    input_sha256: str
    engine_identity: str
    started_at: str
    completed_at: str | None = None
    num_retryable: int = 0

    @property
    def is_complete(self) -> bool:
        return self.completed_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """How a run begins. Of a new generation after an earlier one, the two flags say what is
    different now; with neither, the earlier one had rows worth trying again.
    """

    kind: RunKind
    state: RunState
    is_input_changed: bool = False
    is_engine_changed: bool = False


class RunFolder:
    """A locked state folder. Get one from `open_run_folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = self._read()

    @property
    def parts_folder(self) -> Path:
        """Where the current batch's parts lie."""
        assert self.state is not None, "begin() comes first"
        return self._generation_folder(self.state.generation)

    def begin(self, *, input_path: Path | str, input_sha256: str, engine_identity: str) -> RunStart:
        """Decide what this run is, and write it down. Raises StoreWriteError."""
        old = self.state
        is_input_changed = old is not None and old.input_sha256 != input_sha256
        is_engine_changed = old is not None and old.engine_identity != engine_identity
        if old is not None and not is_input_changed and not is_engine_changed:
            if not old.is_complete:
                return RunStart(kind=RunKind.CONTINUED, state=old)
            if old.num_retryable == 0:
                return RunStart(kind=RunKind.COMPLETE, state=old)
        state = RunState(
            batch_id=new_batch_id(),
            generation=max(self._generations(), default=0) + 1,
            input_path=str(input_path),
            input_sha256=input_sha256,
            engine_identity=engine_identity,
            started_at=_now(),
        )
        self._write(state)
        return RunStart(
            kind=RunKind.NEW,
            state=state,
            is_input_changed=is_input_changed,
            is_engine_changed=is_engine_changed,
        )

    def complete(self, *, num_retryable: int) -> None:
        """The final files are in place: write it down and drop the earlier generations. Raises
        StoreWriteError.
        """
        assert self.state is not None, "begin() comes first"
        self._write(replace(self.state, completed_at=_now(), num_retryable=num_retryable))
        for generation in self._generations():
            if generation < self.state.generation:
                shutil.rmtree(self._generation_folder(generation), ignore_errors=True)

    def earlier_parts(self) -> list[Path]:
        """The part files of all generations but the current one, newest generation first."""
        current = None if self.state is None else self.state.generation
        return [
            path
            for generation in sorted(self._generations(), reverse=True)
            if generation != current
            for path in sorted(self._generation_folder(generation).glob("part-*.parquet"))
        ]

    def wipe(self) -> None:
        """Forget everything (`--fresh`). Nothing else may use the folder. Raises
        StoreWriteError.
        """
        try:
            for path in self.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != "lock":
                    path.unlink()
        except OSError as error:
            raise storage_error("empty", self.folder, error) from error
        self.state = None

    def _generations(self) -> list[int]:
        matches = (_GENERATION.fullmatch(path.name) for path in self.folder.iterdir())
        return [int(match[1]) for match in matches if match]

    def _generation_folder(self, generation: int) -> Path:
        return self.folder / f"generation-{generation:04d}"

    def _read(self) -> RunState | None:
        path = self.folder / "state.json"
        try:
            content = json.loads(path.read_bytes())
            found = content.pop("format")
            if found == _FORMAT:
                return RunState(**content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            _log.warning("%s is damaged; results are kept, but the batch begins anew", path)
            return None
        except OSError as error:
            raise RunStateError(f"cannot read {path}: {error.strerror}") from error
        raise RunStateError(
            f"{path} has format {found!r}, this version reads {_FORMAT}; start over with --fresh"
        )

    def _write(self, state: RunState) -> None:
        temporary = self.folder / f".state-{secrets.token_hex(8)}.tmp"
        content = {"format": _FORMAT, **asdict(state)}
        try:
            try:
                self._generation_folder(state.generation).mkdir(exist_ok=True)
                write_new_file(temporary, json.dumps(content, indent=2).encode() + b"\n")
                temporary.replace(self.folder / "state.json")
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise storage_error("write the state of the run to", self.folder, error) from error
        self.state = state


@contextlib.contextmanager
def open_run_folder(folder: Path) -> Iterator[RunFolder]:
    """Lock `folder`, created if need be, for as long as the context lasts.

    Raises RunLockedError, naming the process, if another one has it; RunStateError if its state
    is of a newer version; StoreWriteError if it cannot be written. The lock goes with the process,
    however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+b")
    except OSError as error:
        raise storage_error("lock", folder, error) from error
    with file:
        _lock(file, folder)
        yield RunFolder(folder)


def _lock(file: BinaryIO, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        digits = file.read(20).strip()
        pid = int(digits) if digits.isdigit() else None
        owner = "another process" if pid is None else f"process {pid}"
        raise RunLockedError(
            f"{owner} is writing to the same output (it holds {folder}); wait for it or stop it",
            pid=pid,
        ) from error
    except OSError as error:
        raise storage_error("lock", folder, error) from error
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
    except OSError as error:
        raise storage_error("lock", folder, error) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
