"""Errors of the worker processes, and how any failure becomes one sentence and an exit code.

    WorkerError             an expected failure; its text is the sentence the user reads
    ├── SettingsError       a flag or variable that cannot be honoured (exit code 2)
    ├── RunError            the run cannot start or go on (exit code 1)
    └── InterruptedRun      a signal ended the run; it can be resumed (exit code 128 + signal)

Owns: the mapping of exceptions of every package to sentences. Must not know: commands.
"""

from collections.abc import Iterator

__all__ = [
    "EXIT_FAILED",
    "EXIT_OK",
    "EXIT_ROWS_FAILED",
    "EXIT_USAGE",
    "InterruptedRun",
    "RunError",
    "SettingsError",
    "WorkerError",
    "exit_code_of",
    "first_cause",
    "sentence_for",
]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_ROWS_FAILED = 3

_SENTENCE_CHARS = 1000


class WorkerError(Exception):
    """A failure that is explained by its message alone."""

    exit_code = EXIT_FAILED


class SettingsError(WorkerError):
    """A setting that cannot be honoured; the message names the flag and the offending value."""

    exit_code = EXIT_USAGE


class RunError(WorkerError):
    """The run cannot start, or cannot go on."""


class InterruptedRun(WorkerError):  # noqa: N818 - not an error of the program
    """SIGINT or SIGTERM ended the run before its end; the message says how to resume."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def first_cause(error: BaseException) -> BaseException:
    """The exception that tells most: the first leaf of a (nested) group that is neither a
    cancellation nor another group; `error` itself when it is no group.
    """
    leaves = list(_leaves(error))
    telling = [leaf for leaf in leaves if isinstance(leaf, Exception)]
    return (telling or leaves)[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error


def sentence_for(error: BaseException) -> str | None:
    """The one sentence that explains `error` to its user; None when it is a bug of ours.

    Recognised by where the class lives, so that nothing has to be imported to fail well.
    """
    if isinstance(error, WorkerError):
        return str(error)
    package = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError) and package == "builtins":
        return _os_sentence(error)
    if package == "redis":
        return f"Redis: {_one_line(error)}"
    if package in ("jobs", "engine", "kernels"):
        return _one_line(error)
    return None


def exit_code_of(error: BaseException) -> int:
    """The exit code a failure ends the process with."""
    return error.exit_code if isinstance(error, WorkerError) else EXIT_FAILED


def _os_sentence(error: OSError) -> str:
    reason = error.strerror or _one_line(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SENTENCE_CHARS else text[: _SENTENCE_CHARS - 1] + "…"
