"""The command line.

Owns: the commands, their arguments, and how every failure ends: one sentence and an exit code. Must
not know: how a command does its work; that is imported when it runs, so that commands that only
talk to Redis start fast and load no torch.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine.threads import let_waiting_threads_sleep
from worker.background import is_any_left
from worker.dead_commands import add_dead_commands
from worker.endpoint_commands import add_endpoint_commands
from worker.errors import EXIT_FAILED, EXIT_USAGE, exit_code_of, first_cause, sentence_for
from worker.eval_commands import add_eval_commands
from worker.key_commands import add_key_commands
from worker.logging import configure_logging
from worker.measuring_commands import add_measuring_commands
from worker.option_groups import setting, with_groups
from worker.options import (
    BatchOptions,
    BodyOptions,
    EngineOptions,
    LogOptions,
    ModelOptions,
    QueueOptions,
    ServiceOptions,
    SharedQueueOptions,
)
from worker.run_command import Fresh, log_beside_the_bar, resume_command
from worker.settings import EnqueueSettings, ResultsSettings, RunSettings, ServiceSettings
from worker.streams import flush_output, open_standard_streams
from worker.table_options import TableOptions, table_settings

__all__ = ["main"]

app = typer.Typer(
    name="headrace",
    add_completion=False,
    rich_markup_mode=None,  # rich's panels cut long flags off in narrow windows and pipes
    pretty_exceptions_enable=False,
)


def _print_version(is_asked_for: bool) -> None:
    if is_asked_for:
        from importlib.metadata import version

        sys.stdout.write(f"headrace {version('headrace')}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Runs files of OpenAI-format chat requests through a language model."""


InputFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="OpenAI batch file: one JSON request per line.")
]
FileOrTable = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="OpenAI batch file (one JSON request per line), or with --prompt-column a table.",
    ),
]
BatchId = Annotated[str, typer.Argument(metavar="ID", help="The id that enqueue printed.")]
_OUTPUT_HELP = "A folder, a .jsonl file, a .parquet file, or 'redis'."
Output = Annotated[str, setting("--output", _OUTPUT_HELP, "-o")]


@app.command()
@with_groups
def run(
    file: FileOrTable,
    output: Output,
    table: TableOptions,
    model: ModelOptions,
    engine: EngineOptions,
    batch: BatchOptions,
    queue: QueueOptions,
    service: ServiceOptions,
    bodies: BodyOptions,
    log: LogOptions,
    fresh: Fresh = False,
) -> int:
    """Run FILE and write its results; run it again to continue after an interruption."""
    log_beside_the_bar(log, service)
    from worker.run import run_file

    return run_file(
        RunSettings(
            file=Path(file),
            table=table_settings(file, table),
            output=output,
            fresh=fresh,
            batch=batch,
            process=ServiceSettings(
                model=model, engine=engine, queue=queue, service=service, blobs=bodies.blobs
            ),
            resume_command=resume_command(),
        )
    )


@app.command()
@with_groups
def worker(
    model: ModelOptions,
    engine: EngineOptions,
    queue: SharedQueueOptions,
    service: ServiceOptions,
    bodies: BodyOptions,
    log: LogOptions,
) -> int:
    """Take jobs from a queue and run them until told to stop (SIGTERM drains)."""
    configure_logging(log_format=log.log_format, level=log.log_level)
    from worker.service import serve

    return serve(
        ServiceSettings(
            model=model, engine=engine, queue=queue, service=service, blobs=bodies.blobs
        )
    )


@app.command()
@with_groups
def enqueue(
    file: InputFile,
    batch: BatchOptions,
    queue: SharedQueueOptions,
    bodies: BodyOptions,
    log: LogOptions,
    output: Annotated[
        str | None,
        setting(
            "--output",
            _OUTPUT_HELP + " Without --wait: a path that the workers can write.",
            "-o",
            shown_default="rows wait in Redis for 'headrace results'",
        ),
    ] = None,
    wait: Annotated[
        bool, setting("--wait", "Stay until the batch is finished.", shown_default="off")
    ] = False,
    batch_id: Annotated[
        str | None,
        setting(
            "--batch-id",
            "Id of the batch; the id of an interrupted enqueue of the same FILE continues it.",
            shown_default="a new one",
        ),
    ] = None,
) -> int:
    """Put the jobs of FILE into a queue and print the batch's id."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.enqueue import enqueue_file

    return enqueue_file(
        EnqueueSettings(
            file=file,
            output=output,
            wait=wait,
            batch_id=batch_id,
            batch=batch,
            queue=queue,
            resume_command=resume_command(),
            blobs=bodies.blobs,
        )
    )


@app.command()
@with_groups
def status(
    batch_id: BatchId,
    queue: SharedQueueOptions,
    log: LogOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Show where a batch stands."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.batches import show_status

    return show_status(batch_id, queue, as_json=as_json)


@app.command()
@with_groups
def results(batch_id: BatchId, output: Output, queue: SharedQueueOptions, log: LogOptions) -> int:
    """Write the results of a batch, waiting until it is finished."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.batches import fetch_results

    return fetch_results(
        ResultsSettings(
            batch_id=batch_id, output=output, queue=queue, resume_command=resume_command()
        )
    )


@app.command()
@with_groups
def cancel(batch_id: BatchId, queue: SharedQueueOptions, log: LogOptions) -> int:
    """Cancel a batch; rows that are finished stay."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.batches import cancel_batch

    return cancel_batch(batch_id, queue)


add_dead_commands(app)
add_endpoint_commands(app)
add_key_commands(app)
add_eval_commands(app)
add_measuring_commands(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. Never raises, never prints a traceback
    unless --debug or HEADRACE_DEBUG asks for it.
    """
    open_standard_streams()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    let_waiting_threads_sleep()  # before any command imports torch
    code = _run(arguments)
    flush_output()
    if is_any_left():
        os._exit(code)  # a model was being loaded, and nobody waits for it any more
    return code


def _run(arguments: list[str]) -> int:
    try:
        code = app(args=arguments or ["--help"], prog_name="headrace", standalone_mode=False)
    except typer.TyperException as error:
        sentence = error.format_message().rstrip(".")
        _complain(f"{sentence}. See 'headrace {_command(arguments)}--help'.")
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:  # noqa: BLE001 - the process boundary
        return _fail(error, is_debugging=_is_debugging(arguments))
    return code if isinstance(code, int) else EXIT_FAILED


def _fail(error: Exception, *, is_debugging: bool) -> int:
    cause = first_cause(error)
    sentence = sentence_for(cause)
    if is_debugging:
        traceback.print_exception(error)
    if sentence is None:
        kind = type(cause).__name__
        _complain(f"internal error: {kind}: {cause} (--debug shows the traceback)")
        return EXIT_FAILED
    _complain(sentence)
    return exit_code_of(cause)


def _complain(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the exit code says it too
        sys.stderr.write(f"headrace: {' '.join(sentence.split())}\n")


def _command(arguments: Sequence[str]) -> str:
    commands = app.registered_commands
    names = {each.name or each.callback.__name__ for each in commands if each.callback}
    names |= {each.name for each in app.registered_groups if each.name}
    return f"{arguments[0]} " if arguments and arguments[0] in names else ""


def _is_debugging(arguments: Sequence[str]) -> bool:
    variable = os.environ.get("HEADRACE_DEBUG", "").lower()
    return "--debug" in arguments or variable in ("1", "true", "yes", "on", "t", "y")


if __name__ == "__main__":
    sys.exit(main())
