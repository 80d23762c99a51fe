"""Dead letters as an operator sees them.

Owns: which letters a command means, and what it prints. Must not know: flags, how letters are
kept. Loads neither torch nor the request models.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from jobs.dead_letters import DeadLetter, DeadLetters, LetterFilter, Revival
from worker.connection import needed_url, open_connection
from worker.dead_commands import LetterOptions
from worker.errors import EXIT_OK, SettingsError
from worker.options import QueueOptions

__all__ = ["drop_dead", "list_dead", "retry_dead", "show_dead"]

_GIVE_UP_S = 60.0
_AT_ONCE = 100
_MAX_SHOWN_CHARS = 60
_COLUMNS = ("id", "died", "batch", "idx", "custom_id", "model", "attempts", "cause", "worker")


def list_dead(options: LetterOptions, queue: QueueOptions, *, as_json: bool, limit: int) -> int:
    """Print up to `limit` letters. Raises SettingsError and what connecting raises."""
    needed_url(queue)

    async def ask() -> list[DeadLetter]:
        async with _open(queue) as letters:
            found: list[DeadLetter] = []
            async for letter in letters.find(_filter(options)):
                found.append(letter)
                if len(found) > limit:
                    break
            return found

    found = asyncio.run(ask())
    shown = found[:limit]
    if as_json:
        sys.stdout.write("".join(json.dumps(_facts(letter)) + "\n" for letter in shown))
    elif shown:
        sys.stdout.write(_table([_COLUMNS, *(_cells(letter) for letter in shown)]))
    if len(found) > limit:
        sys.stderr.write(f"headrace: there are more than {limit}; --limit shows more\n")
    return EXIT_OK


def show_dead(letter_id: str, queue: QueueOptions, *, as_json: bool) -> int:
    """Print all about one letter. Raises UnknownLetterError."""
    needed_url(queue)

    async def ask() -> DeadLetter:
        async with _open(queue) as letters:
            return await letters.get(letter_id)

    facts = _all_facts(asyncio.run(ask()))
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return EXIT_OK
    earlier, body = facts.pop("earlier_attempts"), facts.pop("body")
    lines = [f"{name.replace('_', ' '):<14} {_shown(value)}" for name, value in facts.items()]
    lines += [f"{'attempt ' + str(each['attempt']):<14} {_told(each)}" for each in earlier]
    sys.stdout.write("\n".join([*lines, json.dumps(body, indent=2, ensure_ascii=True), ""]))
    return EXIT_OK


def retry_dead(
    letter_ids: Sequence[str], options: LetterOptions, queue: QueueOptions, *, every: bool
) -> int:
    """Bring jobs back and print where they are now, one line each: id, batch, idx.

    Raises SettingsError, UnknownLetterError (nothing is done then).
    """
    needed_url(queue)
    _check_choice(letter_ids, options, every=every)

    async def ask() -> set[str]:
        new_batches: set[str] = set()
        async with _open(queue) as letters:
            async for some in _chosen(letters, letter_ids, options):
                places = await letters.revive(some)
                sys.stdout.write("".join(map(_place, places)))
                new_batches |= {
                    place.batch_id
                    for place, letter in zip(places, some, strict=True)
                    if place.batch_id not in (None, letter.batch_id)
                }
        return new_batches

    for batch_id in sorted(asyncio.run(ask())):
        sys.stderr.write(
            f"headrace: {batch_id} is a new batch; fetch its rows with: "
            f"headrace results {batch_id} -o OUT\n"
        )
    return EXIT_OK


def drop_dead(
    letter_ids: Sequence[str], options: LetterOptions, queue: QueueOptions, *, every: bool
) -> int:
    """Forget letters and print how many. Raises SettingsError, UnknownLetterError."""
    needed_url(queue)
    _check_choice(letter_ids, options, every=every)

    async def ask() -> int:
        num_dropped = 0
        async with _open(queue) as letters:
            async for some in _chosen(letters, letter_ids, options):
                num_dropped += await letters.drop([letter.letter_id for letter in some])
        return num_dropped

    sys.stdout.write(f"{asyncio.run(ask())} dropped\n")
    return EXIT_OK


@asynccontextmanager
async def _open(queue: QueueOptions) -> AsyncIterator[DeadLetters]:
    async with open_connection(queue, give_up_s=_GIVE_UP_S) as connection:
        yield DeadLetters(
            connection.redis, connection.keys, connection.settings, retrying=connection.retrying
        )


def _filter(options: LetterOptions) -> LetterFilter:
    return LetterFilter(
        batch_id=options.batch, model=options.model, tenant=options.tenant, cause=options.cause
    )


def _check_choice(letter_ids: Sequence[str], options: LetterOptions, *, every: bool) -> None:
    """Nothing is retried or dropped by an oversight."""
    is_filtered = _filter(options) != LetterFilter()
    if bool(letter_ids) + is_filtered + every != 1:
        raise SettingsError(
            "which dead letters? Give their ids, or --batch, --model, --tenant, --cause, or --all"
        )


async def _chosen(
    letters: DeadLetters, letter_ids: Sequence[str], options: LetterOptions
) -> AsyncIterator[list[DeadLetter]]:
    """The letters that are meant, some at a time."""
    if letter_ids:
        yield await letters.get_all(list(dict.fromkeys(letter_ids)))
        return
    some: list[DeadLetter] = []
    async for letter in letters.find(_filter(options)):
        some.append(letter)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _facts(letter: DeadLetter) -> dict[str, Any]:
    died_at = datetime.fromtimestamp(letter.died_at_ms / 1000, UTC)
    return {
        "id": letter.letter_id,
        "died_at": died_at.isoformat(timespec="seconds"),
        "batch": letter.batch_id,
        "idx": letter.idx,
        "custom_id": letter.custom_id,
        "tenant": letter.tenant,
        "model": letter.model,
        "url": letter.url,
        "attempts": letter.num_attempts,
        "cause": letter.cause,
        "message": letter.message,
        "worker": letter.worker,
    }


def _all_facts(letter: DeadLetter) -> dict[str, Any]:
    """A body that is no JSON is shown as text."""
    try:
        body = json.loads(letter.body)
    except ValueError:
        body = letter.body.decode(errors="replace").lstrip("\0")
    return {
        **_facts(letter),
        "earlier_attempts": json.loads(letter.attempts_json),
        "body": body,
    }


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    facts = _facts(letter)
    names = ("id", "died_at", "batch", "idx", "custom_id", "model", "attempts", "cause", "worker")
    return tuple(_shown(facts[name])[:_MAX_SHOWN_CHARS] for name in names)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(_COLUMNS))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


def _shown(value: object) -> str:
    """One line of a terminal, whatever a client put into the value."""
    text = "-" if value in (None, "") else str(value)
    return text if text.isprintable() else json.dumps(text)


def _told(attempt: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(attempt["at_ms"] / 1000, UTC).isoformat(timespec="seconds")
    return _shown(
        f"{when} {attempt['cause']} on {attempt['worker'] or 'a worker'}: {attempt['message']}"
    )


def _place(place: Revival) -> str:
    if place.batch_id is None:
        return f"{place.letter_id} -\n"
    return f"{place.letter_id} {place.batch_id} {place.idx}\n"
