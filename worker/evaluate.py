"""`headrace eval`: a suite through the real queue and engine, and a score per task.

Owns: the order of an evaluation, the printed table. Must not know: scoring rules, how jobs run.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TextIO

from jobs.evals.demo import held_out_rows
from jobs.evals.report import ScoredRow, read_answers, score_rows, task_scores, write_scores
from jobs.evals.rows import EvalRow, read_rows, write_requests
from jobs.sinks.target import TargetKind, parse_target, prepare_target
from worker.errors import EXIT_OK, EXIT_ROWS_FAILED, SettingsError
from worker.names import served_names
from worker.progress import print_summary
from worker.run import run_to_files
from worker.settings import RunSettings

__all__ = ["EvalSettings", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSettings:
    """`suite` is "demo" or a suite file; `per_task` and `suite_seed` choose the demo's rows.
    `run.file` is ignored: the suite's requests take its place.
    """

    suite: str
    per_task: int
    suite_seed: int
    run: RunSettings


def evaluate(settings: EvalSettings) -> int:
    """Run the suite, print the scores and write them beside the results. Returns the exit code.

    An evaluation that was interrupted continues where it stopped, as any run does.
    Raises SettingsError, JobsError, EngineError, RunError, InterruptedRun.
    """
    started_s = monotonic()
    target = parse_target(settings.run.output)
    if target.kind is not TargetKind.FOLDER or target.path is None:
        raise SettingsError(f"-o {settings.run.output}: eval writes several files; give a folder")
    rows = _rows(settings)
    requests = target.path / "requests.jsonl"
    prepare_target(target, requests)
    target.path.mkdir(parents=True, exist_ok=True)
    model = served_names(settings.run.process.model)[0]
    write_requests(rows, requests, model=model)
    summary = run_to_files(replace(settings.run, file=requests), target, started_s)
    results = [path for path in target.final_files() if path.suffix == ".parquet"]
    scored = score_rows(rows, read_answers(results))
    print_summary(summary)
    for path in write_scores(target.path, scored):
        sys.stdout.write(f"{path}\n")
    print_scores(scored)
    return EXIT_ROWS_FAILED if summary.num_failed else EXIT_OK


def _rows(settings: EvalSettings) -> list[EvalRow]:
    if settings.suite == "demo":
        return list(held_out_rows(settings.per_task, seed=settings.suite_seed))
    rows = list(read_rows(Path(settings.suite)))
    if not rows:
        raise SettingsError(f"the suite {settings.suite} has no rows")
    return rows


def print_scores(scored: list[ScoredRow], stream: TextIO | None = None) -> None:
    """Print accuracy per task with its 95% interval."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", style="bold")
    for name in ("right", "rows", "accuracy", "95% interval"):
        table.add_column(name, justify="right")
    for found in task_scores(scored):
        low, high = found.bounds
        table.add_row(
            found.task,
            f"{found.num_right:,}",
            f"{found.num_rows:,}",
            f"{found.share:.1%}",
            f"{low:.1%} to {high:.1%}",
        )
    Console(file=stream or sys.stdout, highlight=False).print(table)
