"""The seam between the core and the device.

Owns: how a plan reaches the ranks and its result comes back. Must not know: what either means.
Today one rank lives in the engine's own process; several ranks, or a pipeline of them, come in
behind the same three methods.
"""

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from engine.step import StepPlan, StepResult

if TYPE_CHECKING:  # the core is usable, and tested, without torch
    from engine.model_runner import LaunchedStep, ModelRunner

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
    """One rank in this process. `submit` hands a step to the device and returns; with
    `max_in_flight` 2 the next one can be planned while the device computes. A device that computes
    at once, as the CPU, gains nothing from more than one.
    """

    def __init__(self, runner: "ModelRunner", *, max_in_flight: int = 1) -> None:
        self.max_in_flight = max_in_flight
        self._runner = runner

    def submit(self, plan: StepPlan) -> "LaunchedStep":
        return self._runner.launch(plan)

    def collect(self, handle: "LaunchedStep") -> StepResult:
        return self._runner.finish(handle)

    def shutdown(self) -> None:
        self._runner.close()
