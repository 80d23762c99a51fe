"""What must happen to batches even if no worker lives: the queue calls of maintenance.

Owns: sweeping, settling, repairing, forgetting. Must not know: when that happens, files.
"""

import logging
from collections.abc import Sequence

from redis.exceptions import ResponseError

from jobs.queue import OutcomeCounts, SweepReport
from jobs.queue_client import QueueClient
from jobs.scripts import Argument
from jobs.wire import decode_sweep

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)

_ROWS_PER_CALL = 500
_BATCHES_PER_ROUND_TRIP = 100


class Upkeep(QueueClient):
    """All calls are idempotent and may run in several processes at once."""

    async def sweep(self, batch_ids: Sequence[str]) -> list[SweepReport]:
        """Do for these batches what needs no worker, at most some 500 rows of each; one report
        for each. One that cannot be swept costs the others nothing: its report says why.
        """
        reports: list[SweepReport] = []
        for first in range(0, len(batch_ids), _BATCHES_PER_ROUND_TRIP):
            some = batch_ids[first : first + _BATCHES_PER_ROUND_TRIP]
            replies = await self._calls.scripts("sweep", [self._sweep_call(one) for one in some])
            for batch_id, reply in zip(some, replies, strict=True):
                reports.append(decode_sweep(batch_id, reply))
        return reports

    async def settle(self, batch_id: str) -> bool:
        """End a quiet batch whose jobs are lost: error rows for its lines without a result, some
        500 at a time. True once it is finalizing.
        """
        return bool((await self._calls.script("settle", batch_id, _ROWS_PER_CALL))[1])

    async def recount(self, batch_id: str, counts: OutcomeCounts) -> bool:
        """Make `counts`, those of its files, the counters of a batch that waits for its sink; False
        if it does not, or has other lines by now.
        """
        return bool(
            await self._calls.script(
                "recount",
                batch_id,
                counts.num_ok,
                counts.num_err,
                counts.num_cancelled,
                counts.num_expired,
            )
        )

    async def repair(self, batch_id: str) -> bool:
        """Give a broken batch working streams; False if that is impossible."""
        return bool(await self._calls.script("repair", batch_id))

    async def active_batches(self) -> list[str]:
        """Ids of the batches that are not final."""
        return await self._members(self._keys.active)

    async def finalizing_batches(self) -> list[str]:
        """Ids of the batches that wait for their sink."""
        return await self._members(self._keys.finalizing)

    async def broken_batches(self) -> list[str]:
        """Ids of the batches with missing or foreign keys."""
        return await self._members(self._keys.broken)

    async def count_dead_letters(self) -> int:
        """How many dead letters nobody has retried or dropped yet."""
        return int(await self._calls.command(lambda redis: redis.xlen(self._keys.dead)))

    async def forget_expired_batches(self) -> int:
        """Drop the names of batches whose retention is over; how many."""
        ids = await self._calls.command(lambda redis: redis.zrange(self._keys.batches, 0, -1))
        forgotten = 0
        for first in range(0, len(ids), _BATCHES_PER_ROUND_TRIP):
            some = [each.decode() for each in ids[first : first + _BATCHES_PER_ROUND_TRIP]]
            exist = await self._calls.pipeline(
                [("EXISTS", self._keys.batch(batch_id)) for batch_id in some]
            )
            for batch_id, is_there in zip(some, exist, strict=True):
                if not is_there:
                    await self._calls.script("delete", batch_id)
                    forgotten += 1
        return forgotten

    async def rewrite_log_after_restart(self) -> bool:
        """Have a server that was restarted write its append-only file anew; whether it was asked.

        A transaction that a power cut has torn is cut off differently by versions of the server, at
        the next start but one; a file that was rewritten holds none. A server that does not allow
        it, as hosted ones, is left alone.
        """
        try:
            server = await self._calls.command(lambda redis: redis.info())
            run_id = str(server["run_id"])
            before = await self._calls.command(
                lambda redis: redis.set(self._keys.server_run, run_id, get=True)
            )
            if before is None or before.decode() == run_id or not server.get("aof_enabled"):
                return False
            await self._calls.pipeline([("BGREWRITEAOF",)])
        except ResponseError as error:
            _log.debug("the server's append-only file is not rewritten: %s", error)
            return False
        return True

    async def _members(self, key: str) -> list[str]:
        members = await self._calls.command(lambda redis: redis.smembers(key))
        return sorted(member.decode() for member in members)

    def _sweep_call(self, batch_id: str) -> tuple[Argument, ...]:
        settings = self._settings
        return (
            batch_id,
            settings.lease_ms,
            _ROWS_PER_CALL,
            settings.max_outbox,
            settings.producer_timeout_ms,
        )
