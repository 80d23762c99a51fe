"""The endpoint's files: which exist, whose they are, which blob holds their bytes.

Owns: their records in Redis. Must not know: blobs themselves, HTTP. A file whose time is over does
not exist any more, whether or not somebody has swept it away yet.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.records.page import Page, PageRequest, walk
from jobs.redis_calls import RedisCalls
from jobs.retrying import Retrying
from schemas.files import FileObject

__all__ = ["FileRecord", "FileRecords", "NewFile", "new_file_id"]

_REMEMBER_DELETED_S = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A blob that is to become a file. `lifetime_s` None: it stays until it is deleted."""

    file_id: str
    tenant: str
    blob: str
    num_bytes: int
    filename: str
    purpose: str
    lifetime_s: int | None = None

    def fields(self) -> list[str | int]:
        """What the record says beside owner, blob and times, as field, value, ..."""
        return ["bytes", self.num_bytes, "filename", self.filename, "purpose", self.purpose]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that exists."""

    file: FileObject
    tenant: str
    blob: str


def new_file_id() -> str:
    """An id that nobody can guess: `file-` and 32 hex digits."""
    return f"file-{secrets.token_hex(16)}"


class FileRecords:
    """The files of one namespace."""

    def __init__(self, redis: Redis, keys: Keys, *, retrying: Retrying | None = None) -> None:
        self._calls = RedisCalls(redis, keys, retrying)
        self._keys = keys

    async def create(self, new: NewFile) -> FileRecord:
        """Make a durable blob a file. May be repeated with the same id."""
        lifetime_s = "" if new.lifetime_s is None else new.lifetime_s
        await self._calls.script(
            "file_create", new.file_id, new.tenant, new.blob, lifetime_s, *new.fields()
        )
        record = await self.get(new.file_id, new.tenant)
        assert record is not None, "a file that was just created"
        return record

    async def get(self, file_id: str, tenant: str) -> FileRecord | None:
        """The tenant's file; None if there is none, as for a file of somebody else."""
        found = (await self._load([file_id]))[0]
        return found if found is not None and found.tenant == tenant else None

    async def delete(self, file_id: str, tenant: str) -> bool:
        """Forget a file; False if the tenant has none with this id."""
        if await self.get(file_id, tenant) is None:
            return False
        reply = await self._calls.script("file_delete", file_id, tenant, _REMEMBER_DELETED_S)
        return bool(reply)

    async def page(
        self, tenant: str, request: PageRequest, *, purpose: str | None = None
    ) -> Page[FileRecord] | None:
        """Some of the tenant's files, all of one purpose if that is given; None if `after` names
        no file that the tenant has or recently had.
        """
        after: int | None = None
        if request.after is not None:
            after = await self._position(request.after, tenant)
            if after is None:
                return None
        wanted = None if purpose is None else _shown_purpose(purpose)
        items: list[FileRecord] = []
        steps = walk(
            self._calls, self._keys.files(tenant), after=after, is_ascending=request.is_ascending
        )
        async for ids in steps:
            for found in await self._load(ids):
                if found is None or (wanted is not None and found.file.purpose != wanted):
                    continue
                if len(items) == request.limit:
                    return Page(items, has_more=True)
                items.append(found)
        return Page(items, has_more=False)

    async def delete_expired(self) -> int:
        """Forget files whose time is over; how many."""
        key = self._keys.file_expiry
        ids = await self._calls.command(
            lambda redis: redis.zrangebyscore(key, "-inf", time(), start=0, num=1000)
        )
        return sum([await self._delete_expired(each.decode()) for each in ids])

    async def garbage(self) -> list[str]:
        """Blobs that nobody holds any more."""
        members = await self._calls.command(lambda redis: redis.smembers(self._keys.garbage))
        return sorted(member.decode() for member in members)

    async def forget_garbage(self, blobs: Sequence[str]) -> None:
        """These blobs are deleted."""
        if blobs:
            await self._calls.command(lambda redis: redis.srem(self._keys.garbage, *blobs))

    async def held_blobs(self) -> set[str]:
        """Every blob that a file or a batch holds."""
        names = await self._calls.command(lambda redis: redis.hkeys(self._keys.blobs))
        return {name.decode() for name in names}

    async def blob_owner(self) -> str:
        """What this namespace's data on this server is called in its blob store; the same for as
        long as the data lasts.
        """
        key = self._keys.blob_owner
        await self._calls.command(lambda redis: redis.set(key, secrets.token_hex(16), nx=True))
        name = await self._calls.command(lambda redis: redis.get(key))
        return str(name.decode())

    async def _delete_expired(self, file_id: str) -> int:
        name = self._keys.file(file_id)
        tenant = await self._calls.command(lambda redis: redis.hget(name, "tenant"))
        owner = tenant.decode() if tenant is not None else ""
        reply = int(await self._calls.script("file_delete", file_id, owner, _REMEMBER_DELETED_S))
        if not reply:  # somebody else's deletion came between
            key = self._keys.file_expiry
            await self._calls.command(lambda redis: redis.zrem(key, file_id))
        return reply

    async def _position(self, file_id: str, tenant: str) -> int | None:
        name = self._keys.file(file_id)
        owner, seq = await self._calls.command(lambda redis: redis.hmget(name, ["tenant", "seq"]))
        return int(seq) if owner is not None and owner.decode() == tenant else None

    async def _load(self, file_ids: Sequence[str]) -> list[FileRecord | None]:
        replies = await self._calls.pipeline(
            [("HGETALL", self._keys.file(file_id)) for file_id in file_ids]
        )
        return [
            _decode(file_id, _as_mapping(reply))
            for file_id, reply in zip(file_ids, replies, strict=True)
        ]


def _as_mapping(reply: object) -> dict[str, str]:
    assert isinstance(reply, Mapping)
    return {name.decode(): value.decode() for name, value in reply.items()}


def _shown_purpose(purpose: str) -> str:
    """OpenAI takes uploads for `evals`, but no file of theirs says so: strict clients refuse it."""
    return "user_data" if purpose == "evals" else purpose


def _decode(file_id: str, fields: Mapping[str, str]) -> FileRecord | None:
    if "blob" not in fields:
        return None
    expires_at = int(fields["expires_at"]) if "expires_at" in fields else None
    if expires_at is not None and expires_at <= time():
        return None
    file = FileObject(
        id=file_id,
        bytes=int(fields["bytes"]),
        created_at=int(fields["created_at"]),
        filename=fields["filename"],
        purpose=_shown_purpose(fields["purpose"]),
        expires_at=expires_at,
    )
    return FileRecord(file, fields["tenant"], fields["blob"])
