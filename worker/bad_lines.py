"""The strict policy for bad lines.

Owns: the sentence with which a whole file is refused. Must not know: what makes a line bad.
"""

from pathlib import Path

from jobs.producers.jsonl import LineError
from worker.errors import RunError

__all__ = ["refuse_bad_lines"]

_MAX_SHOWN = 5


def refuse_bad_lines(file: Path | str, errors: list[LineError]) -> None:
    """Raises RunError, with the first errors and their lines, if there is any."""
    if not errors:
        return
    shown = "; ".join(map(_describe, errors[:_MAX_SHOWN]))
    rest = f"; and {len(errors) - _MAX_SHOWN} more" if len(errors) > _MAX_SHOWN else ""
    raise RunError(f"{file} was refused and nothing ran: {shown}{rest}")


def _describe(error: LineError) -> str:
    """The message behind its line, which messages about lines without an id name already."""
    message = error.error.message
    prefix = "" if error.line is None else f"line {error.line}: "
    return message if message.startswith(prefix) else prefix + message
