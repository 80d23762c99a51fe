import subprocess
import sys
from pathlib import Path

from engine.executor import InProcessExecutor
from engine.step import StepPlan, StepResult


class Runner:
    """Answers every plan, and remembers when it was asked for what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.is_closed = False

    def launch(self, plan: StepPlan) -> StepPlan:
        self.calls.append(("launch", plan.step_id))
        return plan

    def finish(self, launched: StepPlan) -> StepResult:
        self.calls.append(("finish", launched.step_id))
        return StepResult(launched.step_id, {})

    def close(self) -> None:
        self.is_closed = True


def test_plans_are_launched_when_submitted_and_waited_for_when_collected() -> None:
    runner = Runner()
    executor = InProcessExecutor(runner, max_in_flight=2)  # type: ignore[arg-type]
    handles = [executor.submit(StepPlan(step_id, ())) for step_id in (4, 5)]
    assert [executor.collect(handle).step_id for handle in handles] == [4, 5]
    assert runner.calls == [("launch", 4), ("launch", 5), ("finish", 4), ("finish", 5)]


def test_one_step_is_in_flight_unless_more_are_asked_for() -> None:
    assert InProcessExecutor(Runner()).max_in_flight == 1  # type: ignore[arg-type]


def test_shutdown_releases_the_runner() -> None:
    runner = Runner()
    InProcessExecutor(runner).shutdown()  # type: ignore[arg-type]
    assert runner.is_closed


def test_the_seam_can_be_imported_without_torch() -> None:
    code = "import sys, engine.executor; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
