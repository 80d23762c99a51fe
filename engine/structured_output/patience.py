"""How long the caller of a compiler waits.

Owns: the three answers to that, and the one that holds for what is called from here. Must not know:
grammars. One hostile grammar takes seconds to be refused; work that many rows wait for does not
wait for it, but comes back with more patience elsewhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

__all__ = ["Patience", "current_patience", "patience"]


class Patience(StrEnum):
    """CACHED: only for what is compiled already. QUICK: as long as most grammars take. FULL: until
    the limits.
    """

    CACHED = "cached"
    QUICK = "quick"
    FULL = "full"


_current: ContextVar[Patience] = ContextVar("patience", default=Patience.FULL)


def current_patience() -> Patience:
    """The patience of whoever called; FULL unless somebody said otherwise."""
    return _current.get()


@contextmanager
def patience(value: Patience) -> Iterator[None]:
    """Let everything that is called inside have this patience."""
    token = _current.set(value)
    try:
        yield
    finally:
        _current.reset(token)
