"""`headrace run`: one file in, its results out, everything in one process.

Owns: the order of a run from its plan to its summary. Must not know: flags, how jobs are run.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from jobs.sinks.target import Target, TargetKind, parse_target
from worker.errors import EXIT_OK, EXIT_ROWS_FAILED, InterruptedRun, SettingsError
from worker.progress import Display, Summary, open_display, print_summary
from worker.settings import RunSettings

__all__ = ["run_file", "run_to_files"]


def run_file(settings: RunSettings) -> int:
    """Run the file and print the summary. Returns the exit code.

    Raises SettingsError, RunError, InterruptedRun, JobsError, EngineError.
    """
    started_s = monotonic()
    target = parse_target(settings.output, is_table=settings.table is not None)
    if target.kind is TargetKind.REDIS and settings.table is None:
        summary = _run_to_redis(settings, started_s)
    else:
        summary = run_to_files(settings, target, started_s)
    print_summary(summary)
    return EXIT_ROWS_FAILED if summary.num_failed else EXIT_OK


def run_to_files(settings: RunSettings, target: Target, started_s: float) -> Summary:
    """Run the file, or take it up again, until `target`'s files are written.

    `started_s` is `time.monotonic()` at the command's start. Raises what `run_file` raises.
    """
    from worker.run_plan import open_plan

    with _display() as display:
        display.phase("checking input and model")
        with open_plan(settings, target) as plan:
            if plan.is_complete:
                from worker.run_complete import answer_from_files

                summary = answer_from_files(plan, started_s)
                if summary is not None:
                    return summary
            from worker.file_run import FileRun

            return asyncio.run(FileRun(plan, display, started_s).execute())


def _run_to_redis(settings: RunSettings, started_s: float) -> Summary:
    if settings.process.queue.redis is None:
        raise SettingsError("-o redis needs --redis URL")
    from worker.run_to_redis import run_to_redis

    with _display() as display:
        return asyncio.run(run_to_redis(settings, display, started_s))


@contextmanager
def _display() -> Iterator[Display]:
    display = open_display()
    try:
        yield display
    except KeyboardInterrupt:
        raise InterruptedRun("interrupted before anything ran", signal_number=2) from None
    finally:
        display.close()
