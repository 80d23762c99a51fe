"""The seam between the core and the device.

Owns: how a plan reaches the ranks and its result comes back. Must not know: what either means.
Today one rank lives in the engine's own process; several ranks, or a pipeline of them, come in
behind the same three methods.
"""

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from engine.step import StepPlan, StepResult

if TYPE_CHECKING:  # the core is usable, and tested, without torch
    from engine.model_runner import ModelRunner

__all__ = ["Executor", "Handle", "InProcessExecutor"]

# What `submit` returns and `collect` takes; only the executor that made it knows what it is.
Handle: TypeAlias = Any


class Executor(Protocol):
    """Runs steps. At most `max_in_flight` plans are submitted and not yet collected; results are
    collected in the order of submission. Both methods raise what the device raises.
    """

    max_in_flight: int

    def submit(self, plan: StepPlan) -> Handle:
        """Start a step."""
        ...

    def collect(self, handle: Handle) -> StepResult:
        """Wait for a step that was submitted."""
        ...

    def shutdown(self) -> None:
        """Release the devices. Nothing can be submitted afterwards."""
        ...


class InProcessExecutor:
    """One rank in this process. A step is computed when it is submitted, so one is in flight."""

    max_in_flight = 1

    def __init__(self, runner: "ModelRunner") -> None:
        self._runner = runner

    def submit(self, plan: StepPlan) -> StepResult:
        return self._runner.execute(plan)

    def collect(self, handle: StepResult) -> StepResult:
        return handle

    def shutdown(self) -> None:
        self._runner.close()
