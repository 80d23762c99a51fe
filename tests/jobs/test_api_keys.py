import hashlib

import pytest
from redis.asyncio import Redis

from jobs.api_keys import ApiKeys
from jobs.errors import BadBatchError
from jobs.keys import Keys


@pytest.fixture
def api_keys(redis: Redis, keys: Keys) -> ApiKeys:
    return ApiKeys(redis, keys)


async def test_a_key_opens_its_tenant_and_no_key_is_needed_before_the_first(
    api_keys: ApiKeys,
) -> None:
    assert not (await api_keys.check(None)).is_needed
    secret = await api_keys.create("acme", "laptop")
    checked = await api_keys.check(secret)
    assert checked.is_needed
    assert checked.key is not None
    assert (checked.key.tenant, checked.key.label) == ("acme", "laptop")


@pytest.mark.parametrize(
    "wrong", [None, "", "x", "hr-", "hr-000000000000-" + "a" * 43, "hr-\udc80", "Ω" * 60]
)
async def test_anything_else_opens_nothing(api_keys: ApiKeys, wrong: str | None) -> None:
    secret = await api_keys.create("acme")
    for one in (wrong, secret[:-1], secret + "a", secret[:16] + "b" * 43, secret.upper()):
        checked = await api_keys.check(one)
        assert checked.is_needed
        assert checked.key is None


async def test_a_revoked_key_opens_nothing_and_keeps_the_endpoint_closed(
    api_keys: ApiKeys,
) -> None:
    secret = await api_keys.create("acme")
    (key,) = await api_keys.list()
    assert await api_keys.revoke(key.key_id)
    assert await api_keys.revoke(key.key_id)
    assert not await api_keys.revoke("unknown")
    checked = await api_keys.check(secret)
    assert checked.is_needed
    assert checked.key is None
    assert (await api_keys.list())[0].revoked_at is not None


async def test_no_secret_is_kept(api_keys: ApiKeys, redis: Redis, keys: Keys) -> None:
    secret = await api_keys.create("acme")
    kept = str(await redis.hgetall(keys.api_keys))
    assert secret not in kept
    assert secret.rpartition("-")[2] not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() in kept


@pytest.mark.parametrize("tenant", ["", "a b", "a:b", "x" * 65, "../x"])
async def test_a_tenant_must_be_a_plain_name(api_keys: ApiKeys, tenant: str) -> None:
    with pytest.raises(BadBatchError, match="tenant"):
        await api_keys.create(tenant)
