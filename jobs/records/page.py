"""Pages over lists that grow and shrink while they are read.

Owns: the cursor. Must not know: what is listed. Members are ordered by the number that each got
when it was created, which no other one has, so that a page begins exactly after the last one, also
where many were created within one second or the last one was deleted meanwhile.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs.redis_calls import RedisCalls

__all__ = ["Page", "PageRequest", "walk"]

_IDS_AT_ONCE = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """At most `limit` items after the item `after`, newest first unless `is_ascending`."""

    limit: int
    after: str | None = None
    is_ascending: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and whether there are more behind them."""

    items: list[T]
    has_more: bool


async def walk(
    calls: RedisCalls, key: str, *, after: int | None, is_ascending: bool
) -> AsyncIterator[list[str]]:
    """The members of the ZSET `key` behind the one numbered `after`, some hundreds at a time."""
    while True:
        ids = await _members(calls, key, after=after, is_ascending=is_ascending)
        if not ids:
            return
        yield [name.decode() for name, _ in ids]
        after = int(ids[-1][1])


async def _members(
    calls: RedisCalls, key: str, *, after: int | None, is_ascending: bool
) -> list[tuple[bytes, float]]:
    beyond = f"({after}" if after is not None else ("-inf" if is_ascending else "+inf")
    if is_ascending:
        reply = await calls.command(
            lambda redis: redis.zrangebyscore(
                key, beyond, "+inf", start=0, num=_IDS_AT_ONCE, withscores=True
            )
        )
    else:
        reply = await calls.command(
            lambda redis: redis.zrevrangebyscore(
                key, beyond, "-inf", start=0, num=_IDS_AT_ONCE, withscores=True
            )
        )
    members: list[tuple[bytes, float]] = reply
    return members
