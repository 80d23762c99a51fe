"""The lines of a batch that the queue has lost, put back by whoever has the batch's input.

Owns: noticing that a batch is quiet and yet unfinished. Must not know: inputs, files, locks. A
process with a batch's input watches that batch itself, whoever does the maintenance; maintenance
has no inputs, and ends such a batch with error rows only after a much longer silence.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from jobs.errors import JobsError
from jobs.upkeep import Upkeep

__all__ = ["LostLines"]

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 10.0


class LostLines:
    """Watches one batch. `put_back` makes its lines without a result jobs again; it says whether
    it could.
    """

    def __init__(
        self,
        upkeep: Upkeep,
        batch_id: str,
        put_back: Callable[[], Awaitable[bool]],
        *,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._upkeep = upkeep
        self._batch_id = batch_id
        self._put_back = put_back
        self._look_every_s = look_every_s
        self._was_quiet = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._look_every_s)
            try:
                await self.look()
            except (RedisError, JobsError, OSError) as error:
                _log.warning("lines of batch %s are not put back yet: %s", self._batch_id, error)

    async def look(self) -> bool:
        """Look once; whether lines were put back. Being quiet once is no proof: a result may just
        have been recorded.
        """
        (report,) = await self._upkeep.sweep([self._batch_id])
        is_lost, self._was_quiet = report.is_quiet and self._was_quiet, report.is_quiet
        if not is_lost or not await self._put_back():
            return False
        _log.warning("the queue had lost lines of batch %s: they are put back", self._batch_id)
        self._was_quiet = False
        return True
