"""API keys: who may call the endpoint, and whose tenant they are.

Owns: making keys, keeping them in Redis, checking them. Must not know: HTTP. Only a digest of a key
is kept: keys are 256 random bits, so a plain SHA-256 of one can neither be guessed nor reversed. A
revoked key stays in the list, so that revoking the last one does not open the endpoint to
everybody.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from time import time
from typing import Any

from redis.asyncio import Redis

from jobs.errors import BadBatchError
from jobs.keys import Keys, check_name
from jobs.redis_calls import RedisCalls
from jobs.retrying import Retrying

__all__ = ["NO_LIMITS", "ApiKey", "ApiKeys", "CheckedKey", "KeyLimits"]

_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(r"hr-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")
_NOBODY = hashlib.sha256(b"").hexdigest()
_MAX_TENANT_CHARS = 64
_MAX_LABEL_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What callers with a key may have in work, counted over all that their tenant has; None: what
    the endpoint allows everybody, 0: any number. Requests and tokens are those that clients wait
    for; the others are of batches. `max_request_bytes` is the size of one request that a client
    waits for; it can only be less than what the endpoint allows everybody.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    max_batches: int | None = None
    max_batch_requests: int | None = None
    max_batch_tokens: int | None = None
    max_request_bytes: int | None = None


NO_LIMITS = KeyLimits()
"""A key without limits of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key. Times are unix seconds."""

    key_id: str
    tenant: str
    label: str
    created_at: int
    revoked_at: int | None = None
    digest: str = ""
    limits: KeyLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """Whether any key was ever made, and the valid one that a caller showed."""

    is_needed: bool
    key: ApiKey | None


class ApiKeys:
    """The keys of one namespace."""

    def __init__(self, redis: Redis, keys: Keys, *, retrying: Retrying | None = None) -> None:
        self._calls = RedisCalls(redis, keys, retrying)
        self._name = keys.api_keys

    async def create(self, tenant: str, label: str = "", limits: KeyLimits | None = None) -> str:
        """A new key for a tenant: the only time that anybody sees it. Raises BadBatchError for a
        tenant that cannot be used.
        """
        check_name("tenant", tenant)
        if len(tenant) > _MAX_TENANT_CHARS:
            raise BadBatchError(
                f"tenant {tenant[:200]!r} is too long: at most {_MAX_TENANT_CHARS} characters"
            )
        key_id = secrets.token_hex(_ID_BYTES)
        secret = f"hr-{key_id}-{secrets.token_urlsafe(_SECRET_BYTES)}"
        key = ApiKey(
            key_id=key_id,
            tenant=tenant,
            label=label[:_MAX_LABEL_CHARS],
            created_at=int(time()),
            digest=_digest(secret),
            limits=limits or NO_LIMITS,
        )
        await self._write(key)
        return secret

    async def revoke(self, key_id: str) -> bool:
        """Make a key useless, at once; False if there is no such key."""
        note = await self._calls.command(lambda redis: redis.hget(self._name, key_id))
        if note is None:
            return False
        key = _key_of(key_id, json.loads(note))
        if key.revoked_at is None:
            await self._write(replace(key, revoked_at=int(time())))
        return True

    async def list(self) -> list[ApiKey]:
        """All keys that were ever made, oldest first."""
        notes: Mapping[bytes, bytes] = await self._calls.command(
            lambda redis: redis.hgetall(self._name)
        )
        found = [_key_of(key_id.decode(), json.loads(note)) for key_id, note in notes.items()]
        return sorted(found, key=lambda key: (key.created_at, key.key_id))

    async def check(self, secret: str | None) -> CheckedKey:
        """Who shows `secret`, in a time that does not depend on how much of it is right."""
        match = _KEY.fullmatch(secret) if secret is not None else None
        key_id = match[1] if match is not None else "-"
        num_keys, note = await self._calls.pipeline(
            [("HLEN", self._name), ("HGET", self._name, key_id)]
        )
        assert note is None or isinstance(note, bytes)
        key = _key_of(key_id, json.loads(note)) if note is not None else None
        expected = key.digest if key is not None else _NOBODY
        is_right = hmac.compare_digest(_digest(secret or ""), expected)
        is_valid = is_right and match is not None and key is not None and key.revoked_at is None
        return CheckedKey(is_needed=int(num_keys) > 0, key=key if is_valid else None)

    async def _write(self, key: ApiKey) -> None:
        note = json.dumps({name: value for name, value in asdict(key).items() if name != "key_id"})
        await self._calls.command(lambda redis: redis.hset(self._name, key.key_id, note))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key_of(key_id: str, note: Mapping[str, Any]) -> ApiKey:
    """Fields that only a newer version knows are ignored."""
    known = {name: note[name] for name in ApiKey.__slots__ if name in note}
    limits = known.pop("limits", {})
    limits = {name: limits[name] for name in KeyLimits.__slots__ if name in limits}
    return ApiKey(**{**known, "key_id": key_id, "limits": KeyLimits(**limits)})
