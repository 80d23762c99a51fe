"""A stage for commands that run jobs: everything is real but the model.

Owns: the stand-in for the model. Must not know: commands.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ModelRefusedError
from engine.step import StepPlan, StepResult
from tests.worker.doubles import ScriptedExecutor, fake_machine
from worker import loading, run_plan
from worker.machine import Machine

__all__ = ["CountingExecutor", "Stage"]


class Stage:
    """Stands in for the model. `executors` has one executor for each model that was loaded."""

    def __init__(self) -> None:
        self.executors: list[CountingExecutor] = []
        self.make: Callable[[], CountingExecutor] = CountingExecutor
        self.refusal: str | None = None
        self.hash = "hash"

    def load(self, _config: object, names: tuple[str, ...]) -> Machine:
        if self.refusal is not None:
            raise ModelRefusedError(self.refusal)
        self.executors.append(self.make())
        return fake_machine(
            self.executors[-1], names=names, identity=f"{self.hash} dtype=auto seed=0"
        )

    @property
    def num_computed(self) -> int:
        return sum(len(executor.seen) for executor in self.executors)

    @classmethod
    def set_up(cls, monkeypatch: pytest.MonkeyPatch) -> "Stage":
        """A stage on which `headrace run` plays."""
        stage = cls()
        monkeypatch.setattr(run_plan, "resolve_model", lambda *_: Path("/nowhere"))
        monkeypatch.setattr(run_plan, "model_hash", lambda _: stage.hash)
        monkeypatch.setattr(loading, "load_machine", stage.load)
        return stage


class CountingExecutor(ScriptedExecutor):
    """Remembers the requests it saw; sends this process a signal before step `signal_at`."""

    def __init__(self, signal_at: int | None = None, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.signal_at = signal_at
        self.number = number

    def submit(self, plan: StepPlan) -> StepResult:
        if self.signal_at is not None and len(self.num_rows) == self.signal_at:
            os.kill(os.getpid(), self.number)
        self.seen.update(row.request_id for row in plan.rows)
        return super().submit(plan)
