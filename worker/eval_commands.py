"""`headrace eval SUITE` and `headrace eval compare A B`.

Owns: their arguments. Must not know: how they work; that is imported when they run.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from worker.errors import SettingsError
from worker.logging import configure_logging
from worker.option_groups import setting, with_groups
from worker.options import (
    BatchOptions,
    EngineOptions,
    LogOptions,
    ModelOptions,
    QueueOptions,
    ServiceOptions,
)
from worker.run_command import Fresh, log_beside_the_bar, resume_command
from worker.settings import RunSettings, ServiceSettings

__all__ = ["add_eval_commands"]

_NUMBERS = re.compile(r"\d+(,\d+)*")
_DEFAULT = "run"


class _EvalGroup(TyperGroup):
    """Whatever is no other command's name is a suite or a flag of `eval` itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] == _DEFAULT or args[0] not in self.commands:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == _DEFAULT else name), command, rest


def add_eval_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    group = typer.Typer(cls=_EvalGroup, help="Run a suite of rows with known answers; compare two.")
    group.command(_DEFAULT)(with_groups(evaluate))
    group.command("compare")(with_groups(compare))
    app.add_typer(group, name="eval")


def evaluate(
    output: Annotated[str, setting("--output", "A folder for results and scores.", "-o")],
    model: ModelOptions,
    engine: EngineOptions,
    queue: QueueOptions,
    service: ServiceOptions,
    log: LogOptions,
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="A suite file (.jsonl, .yaml), or 'demo': the demo model's own.",
        ),
    ] = "demo",
    samples: Annotated[
        int | None,
        setting("--samples", "Answers to each row.", shown_default="the suite's, or 1", min=1),
    ] = None,
    pass_at: Annotated[
        str | None,
        setting(
            "--pass-at",
            "Tell pass@k for these k, such as 1,5,10.",
            shown_default="the suite's, or 1 and --samples",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        setting("--limit", "Only the suite's first rows.", shown_default="all", min=1),
    ] = None,
    cache: Annotated[
        Path | None,
        setting(
            "--cache",
            "A folder that keeps answers by request, for every suite and output.",
            shown_default="none",
        ),
    ] = None,
    per_task: Annotated[
        int, setting("--per-task", "Rows of each task of the demo suite.", min=1)
    ] = 200,
    suite_seed: Annotated[int, setting("--suite-seed", "Seed of the demo suite's rows.")] = 0,
    fresh: Fresh = False,
) -> int:
    """Run a suite of rows with known answers and print the score per task.

    'headrace eval compare A B' compares the folders of two such runs.
    """
    log_beside_the_bar(log, service)
    from worker.evaluate import EvalSettings
    from worker.evaluate import evaluate as run_suite

    run = RunSettings(
        file=Path(suite),
        output=output,
        fresh=fresh,
        batch=BatchOptions(),
        process=ServiceSettings(model=model, engine=engine, queue=queue, service=service),
        resume_command=resume_command(),
    )
    return run_suite(
        EvalSettings(
            suite=suite,
            per_task=per_task,
            suite_seed=suite_seed,
            run=run,
            samples=samples,
            pass_at=_numbers("--pass-at", pass_at),
            limit=limit,
            cache=cache,
        )
    )


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Output folder of an evaluation.")],
    after: Annotated[
        Path, typer.Argument(metavar="B", help="Output folder of the one to compare with it.")
    ],
    log: LogOptions,
    output: Annotated[
        Path | None,
        setting(
            "--output",
            "A folder for comparison.md, comparison.html and comparison.json.",
            "-o",
            shown_default="none is written",
        ),
    ] = None,
    rows: Annotated[
        int, setting("--rows", "Print at most so many of the rows that changed.", min=0)
    ] = 20,
) -> int:
    """Compare two evaluations of one suite, row by row, with paired tests."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.eval_compare import compare_evaluations

    return compare_evaluations(before, after, output=output, num_rows=rows)


def _numbers(flag: str, text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    if _NUMBERS.fullmatch(text.replace(" ", "")) is None:
        raise SettingsError(f"{flag} {text!r}: give numbers with commas between them, such as 1,5")
    return tuple(int(number) for number in text.replace(" ", "").split(","))
