import pytest
from redis.asyncio import Redis

from jobs.api.services import BatchLimits
from jobs.api_keys import ApiKeys
from jobs.online.jobs import TenantLimits
from tests.worker.site import Site
from worker.access import batch_limits, online_settings, open_access
from worker.access_options import AccessOptions
from worker.errors import SettingsError


async def test_an_endpoint_for_others_needs_a_key_or_a_word(site: Site, redis: Redis) -> None:
    with pytest.raises(SettingsError, match=r"--host 0.0.0.0 .* keys create.*--allow-anonymous"):
        await open_access(AccessOptions(), "0.0.0.0", site.connection)
    open_to_all = AccessOptions(allow_anonymous=True)
    assert (await open_access(open_to_all, "0.0.0.0", site.connection)).allows_anonymous
    await ApiKeys(redis, site.connection.keys).create("acme")
    assert not (await open_access(AccessOptions(), "::", site.connection)).allows_anonymous


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_loopback_is_open_until_there_is_a_key(site: Site, host: str) -> None:
    access = await open_access(AccessOptions(), host, site.connection)
    assert access.allows_anonymous
    assert await access.valid_key(None) is None


def test_every_limit_arrives_where_it_is_kept() -> None:
    options = AccessOptions(
        tenant_requests=1,
        tenant_tokens=2,
        tenant_batches=3,
        tenant_batch_requests=4,
        tenant_batch_tokens=5,
        start_timeout=6.0,
        request_timeout=7.0,
    )
    assert batch_limits(options) == BatchLimits(max_batches=3, max_requests=4, max_tokens=5)
    online = online_settings(options)
    assert online.limits == TenantLimits(max_requests=1, max_tokens=2)
    assert (online.start_timeout_s, online.request_timeout_s) == (6.0, 7.0)
