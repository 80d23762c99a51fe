"""What must be done now and then, whatever batches do.

Owns: expired files, blobs that nobody holds, lines that the queue has lost. Must not know: clocks
that call it. May run in several processes at once.
"""

import asyncio
import logging
from contextlib import ExitStack

from jobs.control.collect import open_store
from jobs.control.context import Control
from jobs.control.feed import input_producer
from jobs.errors import JobsError
from jobs.lost_lines import LostLines
from jobs.queue import BatchState
from jobs.records.batches import BatchRecord
from jobs.recovery import put_back_missing

__all__ = ["Housekeeping"]

_log = logging.getLogger(__name__)

_ORPHAN_S = 86_400.0
_OWNER = "owner-"
_BODY = "body-"


class Housekeeping:
    """One process's rounds. Remembers which batches were quiet the last time."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._watches: dict[str, LostLines] = {}

    async def sweep_files(self) -> None:
        """Forget files whose time is over, and delete the bytes that nobody holds."""
        files, blobs = self._control.files, self._control.blobs
        num_expired = await files.delete_expired()
        garbage = await files.garbage()
        for blob in garbage:
            await asyncio.to_thread(blobs.delete, blob)
        await files.forget_garbage(garbage)
        if num_expired or garbage:
            _log.info("%d files expired, %d blobs deleted", num_expired, len(garbage))

    async def sweep_orphans(self) -> None:
        """Delete what uploads and processes that were killed left half-written.

        Only where every blob must be ours: a store that several namespaces or servers share, or
        one whose Redis has lost its data, keeps everything.
        """
        blobs = self._control.blobs
        owner = f"{_OWNER}{await self._control.files.blob_owner()}"
        held = await self._control.files.held_blobs()

        def delete() -> int:
            found = list(blobs.walk())
            owners = {info.key for info in found if info.key.startswith(_OWNER)}
            if owner not in owners:
                blobs.create(owner).commit()
            if owners != {owner}:
                return 0
            old = [info.key for info in found if info.age_s >= _ORPHAN_S]
            free = (key for key in old if not key.startswith(_BODY))  # those are swept elsewhere
            orphans = [key for key in free if key not in held and key != owner]
            for key in orphans:
                blobs.delete(key)
            return len(orphans)

        if num_deleted := await asyncio.to_thread(delete):
            _log.info("%d left-over blobs deleted", num_deleted)

    async def put_back_lost_lines(self) -> None:
        """Make lines jobs again that the queue has neither as job nor as result."""
        control = self._control
        ids = await control.batches.open_ids()
        records = await control.batches.load(ids) if ids else []
        running = {
            record.batch.id: record
            for record in records
            if record is not None
            and record.status in (BatchState.IN_PROGRESS, BatchState.CANCELLING)
            and record.store_id == control.workspace.store_id
        }
        self._watches = {name: seen for name, seen in self._watches.items() if name in running}
        for batch_id, record in running.items():
            watch = self._watches.setdefault(batch_id, self._watch(record))
            try:
                await watch.look()
            except (JobsError, OSError) as error:
                _log.warning("lines of batch %s are not put back yet: %s", batch_id, error)

    def _watch(self, record: BatchRecord) -> LostLines:
        async def put_back() -> bool:
            return await _put_back(self._control, record)

        return LostLines(self._control.upkeep, record.batch.id, put_back)


async def _put_back(control: Control, record: BatchRecord) -> bool:
    if record.input_blob is None:
        return False
    batch_id, blob = record.batch.id, record.input_blob
    with ExitStack() as stack:
        context = control.workspace.input(control.blobs, batch_id, blob)
        source = await asyncio.to_thread(stack.enter_context, context)
        loop = asyncio.get_running_loop()
        store = await loop.run_in_executor(control.thread, open_store, control, batch_id)
        return await put_back_missing(
            control.queue, batch_id, input_producer(control, source), store
        )
