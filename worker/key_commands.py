"""The commands for API keys: keys create, keys revoke, keys list.

Owns: their arguments and what they print. Must not know: how keys are kept.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from jobs.errors import BadBatchError
from worker.access_options import KeyLimitOptions
from worker.errors import EXIT_OK, SettingsError
from worker.logging import configure_logging
from worker.option_groups import setting, with_groups
from worker.options import LogOptions, QueueOptions

if TYPE_CHECKING:
    from jobs.api_keys import ApiKeys, KeyLimits

__all__ = ["add_key_commands"]

_GIVE_UP_S = 5.0

T = TypeVar("T")


def add_key_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    keys = typer.Typer(
        name="keys",
        help="Make, revoke and list the API keys of the endpoint.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    keys.command()(with_groups(create))
    keys.command()(with_groups(revoke))
    keys.command(name="list")(with_groups(list_keys))
    app.add_typer(keys)


def create(
    queue: QueueOptions,
    log: LogOptions,
    limits: KeyLimitOptions,
    tenant: Annotated[
        str, setting("--tenant", "Whose files and batches the key opens.")
    ] = "default",
    label: Annotated[str, setting("--label", "A note for 'headrace keys list'.")] = "",
) -> int:
    """Make a key and print it. It cannot be shown again. Its own limits, if any, go before those
    of 'headrace serve' and count what the whole tenant has; 0 is no limit.
    """
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    try:
        secret = _run(queue, lambda keys: keys.create(tenant, label, _limits(limits)))
    except BadBatchError as error:
        raise SettingsError(f"--tenant: {error}") from error
    sys.stdout.write(f"{secret}\n")
    return EXIT_OK


def revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id that 'headrace keys list' shows.")
    ],
    queue: QueueOptions,
    log: LogOptions,
) -> int:
    """Make a key useless, at once."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    if not _run(queue, lambda keys: keys.revoke(key_id)):
        raise SettingsError(f"there is no key {key_id[:100]!r}; 'headrace keys list' shows them")
    return EXIT_OK


def list_keys(
    queue: QueueOptions,
    log: LogOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List all keys that were ever made, without their secrets."""
    configure_logging(log_format=log.log_format, level=log.log_level, quiet=True)
    found = _run(queue, lambda keys: keys.list())
    if as_json:
        shown = [
            {name: value for name, value in asdict(key).items() if name != "digest"}
            for key in found
        ]
        sys.stdout.write(json.dumps(shown) + "\n")
        return EXIT_OK
    for key in found:
        state = f"revoked {_day(key.revoked_at)}" if key.revoked_at else "valid"
        made = _day(key.created_at)
        parts = (key.key_id, key.tenant, f"made {made}", state, key.label)
        sys.stdout.write("  ".join((*parts, _shown_limits(key.limits))).rstrip())
        sys.stdout.write("\n")
    return EXIT_OK


def _limits(options: KeyLimitOptions) -> "KeyLimits":
    from jobs.api_keys import KeyLimits

    return KeyLimits(**asdict(options))


def _shown_limits(limits: "KeyLimits") -> str:
    given = {name: value for name, value in asdict(limits).items() if value is not None}
    return " ".join(f"{name.replace('_', '-')}={value}" for name, value in given.items())


def _run(queue: QueueOptions, work: "Callable[[ApiKeys], Awaitable[T]]") -> T:
    from jobs.api_keys import ApiKeys
    from worker.connection import needed_url, open_connection

    needed_url(queue)

    async def run() -> T:
        async with open_connection(queue, give_up_s=_GIVE_UP_S) as connection:
            return await work(
                ApiKeys(connection.redis, connection.keys, retrying=connection.retrying)
            )

    return asyncio.run(run())


def _day(seconds: int | None) -> str:
    return datetime.fromtimestamp(seconds or 0, UTC).strftime("%Y-%m-%d")
