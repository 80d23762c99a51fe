"""The Lua scripts of the queue: each file one atomic step, its header the contract.

Owns: loading, includes, and running by hash. Must not know: what the scripts do. A line
`--@include _name.lua` is replaced by that file. Files that start with an underscore are shared
parts, not scripts.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

__all__ = ["Argument", "Script", "ScriptRunner", "assemble", "load_script"]

Argument = str | bytes | int | float

_INCLUDE = "--@include "


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text and the hash by which servers know it."""

    name: str
    source: str
    sha: str


def assemble(source: str) -> str:
    """`source` with its includes in place. Raises FileNotFoundError for an unknown one."""
    lines = []
    for line in source.splitlines():
        lines.append(_read(line.removeprefix(_INCLUDE)) if line.startswith(_INCLUDE) else line)
    return "\n".join(lines) + "\n"


@cache
def load_script(name: str) -> Script:
    """The script in `<name>.lua`. Raises FileNotFoundError if there is none."""
    source = assemble(_read(f"{name}.lua"))
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(name, source, sha)


def _read(file_name: str) -> str:
    return resources.files("jobs.scripts").joinpath(file_name).read_text("utf-8")


class ScriptRunner:
    """Runs scripts on one server by hash; a server that does not know one is told its text."""

    def __init__(self, redis: Redis, key_prefix: str) -> None:
        self._redis = redis
        self._key_prefix = key_prefix

    async def run(self, name: str, *arguments: Argument) -> Any:
        """The script's reply. Raises redis' errors."""
        script = load_script(name)
        try:
            return await self._execute(self._by_hash(script, arguments))
        except NoScriptError:
            return await self._execute(self._by_text(script, arguments))

    async def run_many(self, name: str, calls: Sequence[Sequence[Argument]]) -> list[Any]:
        """One reply for each call, in one round trip; a call that failed replies its RedisError.

        Raises redis' errors of the connection itself.
        """
        script = load_script(name)
        replies = await self._send([self._by_hash(script, arguments) for arguments in calls])
        unknown = [k for k, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._send([self._by_text(script, calls[k]) for k in unknown])
            for k, reply in zip(unknown, again, strict=True):
                replies[k] = reply
        return replies

    def _by_hash(self, script: Script, arguments: Sequence[Argument]) -> tuple[Argument, ...]:
        return ("EVALSHA", script.sha, 1, self._key_prefix, *arguments)

    def _by_text(self, script: Script, arguments: Sequence[Argument]) -> tuple[Argument, ...]:
        return ("EVAL", script.source, 1, self._key_prefix, *arguments)

    async def _execute(self, command: tuple[Argument, ...]) -> Any:
        return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def _send(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(await pipeline.execute(raise_on_error=False))
