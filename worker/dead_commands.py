"""The commands about dead letters: dead list, show, retry, drop.

Owns: their arguments. Must not know: how they do their work; that is imported when they run.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from worker.logging import configure_logging
from worker.option_groups import with_groups
from worker.options import LogOptions, SharedQueueOptions

__all__ = ["LetterOptions", "add_dead_commands"]

LetterId = Annotated[str, typer.Argument(metavar="ID", help="The id that 'dead list' shows.")]
LetterIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids that 'dead list' shows.")
]
AllLetters = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterOptions:
    """Which dead letters are meant."""

    batch: Annotated[str | None, typer.Option("--batch", help="Only those of this batch.")] = None
    model: Annotated[str | None, typer.Option("--model", help="Only those for this model.")] = None
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those of this tenant.")] = (
        None
    )
    cause: Annotated[
        str | None, typer.Option("--cause", help="Only those that died of this, as list shows it.")
    ] = None


def add_dead_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    group = typer.Typer(help="Jobs that were given up: list, show, retry, drop.")
    group.command("list")(with_groups(list_letters))
    group.command("show")(with_groups(show_letter))
    group.command("retry")(with_groups(retry_letters))
    group.command("drop")(with_groups(drop_letters))
    app.add_typer(group, name="dead")


def list_letters(
    letters: LetterOptions,
    queue: SharedQueueOptions,
    log: LogOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="Print at most so many.", min=1)] = 100,
) -> int:
    """List the jobs that were given up, oldest first."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.dead import list_dead

    return list_dead(letters, queue, as_json=as_json, limit=limit)


def show_letter(
    letter_id: LetterId, queue: SharedQueueOptions, log: LogOptions, as_json: AsJson = False
) -> int:
    """Show one of them: every attempt, and the request."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.dead import show_dead

    return show_dead(letter_id, queue, as_json=as_json)


def retry_letters(
    letters: LetterOptions,
    queue: SharedQueueOptions,
    log: LogOptions,
    letter_ids: LetterIds = None,
    every: AllLetters = False,
) -> int:
    """Run them again with all their attempts: in their batch if it is open, else in a new one."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.dead import retry_dead

    return retry_dead(letter_ids or [], letters, queue, every=every)


def drop_letters(
    letters: LetterOptions,
    queue: SharedQueueOptions,
    log: LogOptions,
    letter_ids: LetterIds = None,
    every: AllLetters = False,
) -> int:
    """Forget them; the error rows of their lines stay."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    from worker.dead import drop_dead

    return drop_dead(letter_ids or [], letters, queue, every=every)
