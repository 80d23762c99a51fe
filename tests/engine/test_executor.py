import subprocess
import sys
from pathlib import Path

from engine.executor import InProcessExecutor
from engine.step import StepPlan, StepResult


class Runner:
    """Answers every plan, and remembers."""

    def __init__(self) -> None:
        self.plans: list[StepPlan] = []
        self.is_closed = False

    def execute(self, plan: StepPlan) -> StepResult:
        self.plans.append(plan)
        return StepResult(plan.step_id, {})

    def close(self) -> None:
        self.is_closed = True


def test_a_plan_is_computed_when_submitted_and_its_result_waits() -> None:
    runner = Runner()
    executor = InProcessExecutor(runner)  # type: ignore[arg-type]
    plan = StepPlan(4, ())
    handle = executor.submit(plan)
    assert runner.plans == [plan]
    assert executor.collect(handle) == StepResult(4, {})
    assert executor.max_in_flight == 1


def test_shutdown_releases_the_runner() -> None:
    runner = Runner()
    InProcessExecutor(runner).shutdown()  # type: ignore[arg-type]
    assert runner.is_closed


def test_the_seam_can_be_imported_without_torch() -> None:
    code = "import sys, engine.executor; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
