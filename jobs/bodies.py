"""Requests too large for the queue: their bytes are blobs, and their jobs carry a reference.

A reference begins with a byte that no JSON text begins with. A blob's key follows from batch and
line, so that writing it again changes nothing. It outlives its job's row: a lost reply, a worker
that stood still and a server that forgets its latest writes all bring a job back that seemed done.
It is swept up when its batch ended long ago and no dead letter needs it.

Owns: references, keys, and when a blob may go. Must not know: what requests mean, Redis' scripts.
Methods without `async` block.
"""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from jobs.blobs import BlobInfo, Blobs
from jobs.errors import BlobError
from jobs.queue import FinishedRow, NewJob

__all__ = ["INLINE_BYTES", "LARGEST_BYTES", "LEFT_BEHIND_S", "Bodies", "is_reference", "key_of"]

INLINE_BYTES = 1 << 20
"""A body up to this size is part of its job."""

LARGEST_BYTES = 16 << 20
"""No request may be larger."""

LEFT_BEHIND_S = 3600.0
"""A blob stays for so long after it was written and after its batch has ended, in seconds."""

_REFERENCE = re.compile(rb"\0blob (body-[0-9a-f]{16}-[0-9]+) ([0-9]+)")
_KEY = re.compile(r"body-([0-9a-f]{16})-[0-9]+")
_REMEMBERED = 1000
_SURE_S = LEFT_BEHIND_S / 2


class Bodies:
    """The large bodies in one blob store, which producers and workers share."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._written_s: OrderedDict[tuple[str, int], float] = OrderedDict()

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

    def sweep(self, batch_ids: Collection[str], needed: Collection[str]) -> int:
        """Delete the bodies, older than an hour, of batches that are not among `batch_ids` and
        whose keys are not `needed`; how many. Raises BlobError.
        """
        alive = {_tag(batch_id) for batch_id in batch_ids}
        return self._delete(
            info.key
            for info, tag in self._walk()
            if tag not in alive and info.key not in needed and info.age_s >= LEFT_BEHIND_S
        )

    def drop(self, batch_id: str, needed: Collection[str]) -> int:
        """Delete the bodies of this batch whose keys are not `needed`; how many. Raises BlobError.

        Nobody may compute the batch any more, whatever its server remembers.
        """
        mine = _tag(batch_id)
        return self._delete(
            info.key for info, tag in self._walk() if tag == mine and info.key not in needed
        )

    def _walk(self) -> Iterator[tuple[BlobInfo, str]]:
        """Every body, with the tag of its batch."""
        for info in list(self._blobs.walk()):
            if (match := _KEY.fullmatch(info.key)) is not None:
                yield info, match[1]

    def _delete(self, keys: Iterable[str]) -> int:
        num_deleted = 0
        for key in keys:
            self._blobs.delete(key)
            num_deleted += 1
        return num_deleted

    def _put(self, batch_id: str, item: NewJob) -> NewJob:
        key = f"body-{_tag(batch_id)}-{item.idx}"
        # A full queue is sent the same chunk again and again. What was written long ago is written
        # again: its batch may have been forgotten since, and the blob swept up.
        known = (key, hash(item.body))
        if monotonic() - self._written_s.get(known, -_SURE_S) >= _SURE_S:
            writer = self._blobs.create(key)
            try:
                writer.write(item.body)
            except BaseException:
                writer.abort()
                raise
            writer.commit()
            self._written_s[known] = monotonic()
            self._written_s.move_to_end(known)
            while len(self._written_s) > _REMEMBERED:
                self._written_s.popitem(last=False)
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
