"""Every error of jobs/.

    JobsError                   its text is one clear sentence that may be shown as it is
      InputError                the input file cannot be used
        InputChangedError       it changed while it was read
      TableSettingError         a column, template or schema that is asked for cannot be used
      TargetError               the place for the results cannot be used
      RunStateError             the state folder of a run cannot be used
        RunLockedError          another process works on the same output
      StoreError                the parts of the results on disk
        StoreWriteError         they cannot be written (disk full, read-only, ...); may heal
        StoreDamagedError       they cannot be read back
      BlobError                 the bytes of a file cannot be written or read
        BlobMissingError        they are gone
      QueueError                the queue refuses a call, or cannot be reached
        BadBatchError           a batch's id, tenant, priority or weight cannot be used
        UnknownBatchError       no batch has this id
        UnknownLetterError      no dead letter has this id
        RedisUnavailableError   the server did not answer, or refused us
          RedisUrlError         its URL cannot be understood
        RedisConfigError        the server is too old, or may evict jobs
      ServerError               the embedded server cannot be used
        ServerStartError        it did not start
        StateFolderBusyError    another live process uses the same state folder

Owns: the exception classes. Must not know: who raises them.
"""

from pathlib import Path

__all__ = [
    "BadBatchError",
    "BlobError",
    "BlobMissingError",
    "InputChangedError",
    "InputError",
    "JobsError",
    "QueueError",
    "RedisConfigError",
    "RedisUnavailableError",
    "RedisUrlError",
    "RunLockedError",
    "RunStateError",
    "ServerError",
    "ServerStartError",
    "StateFolderBusyError",
    "StoreDamagedError",
    "StoreError",
    "StoreWriteError",
    "TableSettingError",
    "TargetError",
    "UnknownBatchError",
    "UnknownLetterError",
]


class JobsError(Exception):
    """Root of the tree. `str(error)` is one sentence for the user."""


class InputError(JobsError):
    """The input file is missing, unreadable or of a kind that cannot be read."""


class InputChangedError(InputError):
    """The input file's bytes are not those that were hashed at the start."""


class TableSettingError(JobsError):
    """What is asked of a table cannot be had: no such column, no template, no schema."""


class TargetError(JobsError):
    """`-o` names something that cannot take the results."""


class RunStateError(JobsError):
    """The state folder of a run is unreadable or foreign."""


class RunLockedError(RunStateError):
    """Another process holds the state folder. `pid` is its process id, if it is known."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class StoreError(JobsError):
    """Something about the parts of the results on disk."""


class StoreWriteError(StoreError):
    """A part, a manifest or a final file could not be written; nothing that was acknowledged is
    lost and the same call may succeed later. `errno` is the system's reason.
    """

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class StoreDamagedError(StoreError):
    """A published file is missing or broken. `path` names it."""

    def __init__(self, message: str, *, path: Path | str) -> None:
        super().__init__(message)
        self.path = path


class BlobError(JobsError):
    """The bytes of a file of the endpoint cannot be written or read; may heal."""


class BlobMissingError(BlobError):
    """They are not there any more."""


class QueueError(JobsError):
    """The queue refuses a call, or cannot be reached."""


class BadBatchError(QueueError):
    """A batch's id, tenant, priority or weight cannot be used."""


class UnknownBatchError(QueueError):
    """No batch has this id: it never existed, was deleted, or its retention is over."""


class UnknownLetterError(QueueError):
    """No dead letter has this id: it was never written, or somebody retried or dropped it."""


class RedisUnavailableError(QueueError):
    """The server did not answer in time, or refused us (address, password, TLS)."""


class RedisUrlError(RedisUnavailableError):
    """The server's URL cannot be understood. The text holds no password."""


class RedisConfigError(QueueError):
    """The server is too old, or is configured so that it would lose jobs."""


class ServerError(JobsError):
    """The embedded server cannot be used."""


class ServerStartError(ServerError):
    """The embedded server did not start; the text ends with its last log lines."""


class StateFolderBusyError(ServerError):
    """Another live process uses the same state folder."""
