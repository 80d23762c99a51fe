"""The process's standard streams, whatever it was started with.

Owns: streams that are closed, characters that one cannot show, readers that went away. Must not
know: what is written.
"""

import io
import os
import sys

__all__ = ["discard_output", "flush_output", "open_standard_streams"]


def open_standard_streams() -> None:
    """Put the null device where a stream is closed (`2>&-`, some supervisors): Python has no object
    for it, and the next file to be opened would get its number. A file name that the output cannot
    show is shown with escapes, not the end of a command whose work is done.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - for good
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """A reader that went away (`headrace status ... | head -1`) is no failure."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Write what still comes to the null device: the reader has gone away."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
