"""Where a process of a chaos run kills itself.

Owns: the named points, their odds, the record of deaths. Must not know: what the processes do. The
product has no hooks for this: the entries of chaos processes wrap its objects.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

__all__ = ["BEGUN", "SINK_POINTS", "WORKER_POINTS", "KillPoints", "read_deaths"]

BEGUN = "begun"

WORKER_POINTS = (
    "after-take",
    "after-start",
    "mid-generation",
    "before-commit",
    "mid-commit",
    "after-commit",
)
SINK_POINTS = (
    "before-fsync",
    "before-rename",
    "after-rename",
    "before-manifest",
    "after-manifest",
    "after-delete",
)


class KillPoints:
    """One process's dice. `odds` maps a point to its probability; points that are absent never
    kill. The same `seed` dies at the same throw.
    """

    def __init__(self, odds: Mapping[str, float], *, seed: str, record: Path) -> None:
        self._odds = odds
        self._dice = random.Random(seed)
        self._record = record
        self._has_begun = False

    def draw(self, name: str) -> bool:
        """Whether the process should die here; noted if so."""
        odds = self._odds.get(name, 0.0)
        if odds <= 0 or self._dice.random() >= odds:
            return False
        self.note(name)
        return True

    def hit(self, name: str) -> None:
        """Die here, or go on."""
        if self.draw(name):
            self.die()

    def note(self, name: str) -> None:
        """Write a death down before it happens."""
        descriptor = os.open(self._record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{name}\n".encode())
        os.close(descriptor)

    def begin(self) -> None:
        """The process has work in its hands: from now on faults mean something."""
        if not self._has_begun:
            self._has_begun = True
            self._record.with_name(BEGUN).touch()

    def die(self) -> None:
        """SIGKILL: no cleanup of any kind."""
        os.kill(os.getpid(), signal.SIGKILL)

    def random(self) -> float:
        """A throw of the same dice, in [0, 1)."""
        return self._dice.random()


def read_deaths(record: Path) -> Counter[str]:
    """Deaths by point."""
    if not record.exists():
        return Counter()
    return Counter(record.read_text().split())
