"""Requests too large for the queue: their bytes are blobs, and their jobs carry a reference.

A reference begins with a byte that no JSON text begins with. A blob's key follows from batch and
line, so that writing it again changes nothing. It is deleted when its job has its row; what was
left behind (rows that scripts made, killed workers) is swept up once its batch has ended and no
dead letter needs it.

Owns: references, keys, and when a blob may go. Must not know: what requests mean, Redis' scripts.
Methods without `async` block.
"""

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace

from jobs.blobs import Blobs
from jobs.errors import BlobError
from jobs.queue import FinishedRow, NewJob

__all__ = ["INLINE_BYTES", "LARGEST_BYTES", "Bodies", "is_reference", "key_of"]

_log = logging.getLogger(__name__)

INLINE_BYTES = 1 << 20
"""A body up to this size is part of its job."""

LARGEST_BYTES = 16 << 20
"""No request may be larger."""

_REFERENCE = re.compile(rb"\0blob (body-[0-9a-f]{16}-[0-9]+) ([0-9]+)")
_KEY = re.compile(r"body-([0-9a-f]{16})-[0-9]+")
_REMEMBERED = 1000
_LEFT_BEHIND_S = 3600.0


class Bodies:
    """The large bodies in one blob store, which producers and workers share."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._written: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def outside(
        self, batch_id: str, items: Sequence[NewJob | FinishedRow]
    ) -> list[NewJob | FinishedRow]:
        """`items` with references in the place of large bodies, which are durable after the
        return. Raises BlobError.
        """
        sent: list[NewJob | FinishedRow] = []
        for item in items:
            if isinstance(item, NewJob) and len(item.body) > INLINE_BYTES:
                sent.append(await asyncio.to_thread(self._put, batch_id, item))
            else:
                sent.append(item)
        return sent

    def fetch(self, body: bytes) -> bytes:
        """The bytes that a job's body stands for. Raises BlobError, BlobMissingError."""
        match = _REFERENCE.fullmatch(body)
        if match is None:
            return body
        with self._blobs.open(match[1].decode()) as file:
            data = file.read()
        if len(data) != int(match[2]):
            raise BlobError(f"{match[1].decode()} has {len(data)} bytes, not {int(match[2])}")
        return bytes(data)

    async def forget(self, body: bytes) -> None:
        """The job has its row: its bytes may go. Never raises."""
        if (key := key_of(body)) is None:
            return
        try:
            await asyncio.to_thread(self._blobs.delete, key)
        except BlobError as error:
            _log.warning("a request stays behind for now: %s", error)

    def sweep(self, batch_ids: Collection[str], needed: Collection[str]) -> int:
        """Delete the bodies, older than an hour, of batches that are not among `batch_ids` and
        whose keys are not `needed`; how many. Raises BlobError.
        """
        alive = {_tag(batch_id) for batch_id in batch_ids}
        num_deleted = 0
        for info in list(self._blobs.walk()):
            match = _KEY.fullmatch(info.key)
            if match is None or match[1] in alive or info.key in needed:
                continue
            if info.age_s >= _LEFT_BEHIND_S:
                self._blobs.delete(info.key)
                num_deleted += 1
        return num_deleted

    def _put(self, batch_id: str, item: NewJob) -> NewJob:
        key = f"body-{_tag(batch_id)}-{item.idx}"
        known = (key, hash(item.body))  # a full queue is sent the same chunk again and again
        if known not in self._written:
            writer = self._blobs.create(key)
            try:
                writer.write(item.body)
            except BaseException:
                writer.abort()
                raise
            writer.commit()
            self._written[known] = None
            while len(self._written) > _REMEMBERED:
                self._written.popitem(last=False)
        return replace(item, body=b"\0blob %b %d" % (key.encode(), len(item.body)))


def is_reference(body: bytes) -> bool:
    """Whether a job's body lies elsewhere."""
    return body.startswith(b"\0")


def key_of(body: bytes) -> str | None:
    """The key of the blob that a job's body refers to, if it does."""
    match = _REFERENCE.fullmatch(body)
    return match[1].decode() if match is not None else None


def _tag(batch_id: str) -> str:
    return hashlib.sha256(batch_id.encode()).hexdigest()[:16]
