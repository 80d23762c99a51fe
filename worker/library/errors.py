"""Errors of calls of the Python library.

    HeadraceError   an expected failure of a call; its text is one sentence for the user

A row that fails is a row of the result, never an exception. What is no expected failure (a bug of
ours) passes as it is.

Owns: the class, and the step from the packages' own errors to it. Must not know: who calls.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import first_cause, sentence_for

__all__ = ["HeadraceError", "clear_errors"]


class HeadraceError(Exception):
    """A call failed: a setting, the input, the model, the server. `__cause__` has the details."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn every expected failure inside the block into HeadraceError with its sentence."""
    try:
        yield
    except HeadraceError:
        raise
    except Exception as error:
        cause = first_cause(error)
        if isinstance(cause, HeadraceError):
            raise cause from None
        sentence = sentence_for(cause)
        if sentence is None:
            raise
        raise HeadraceError(sentence) from cause
