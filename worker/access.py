"""From the settings of an endpoint's access to its rules and limits.

Owns: that translation, and the refusal to be open to others by accident. Must not know: HTTP.
"""

from jobs.api.access import Access, is_loopback
from jobs.api.services import BatchLimits
from jobs.api_keys import ApiKeys
from jobs.online.calls import OnlineSettings
from jobs.online.jobs import TenantLimits
from worker.access_options import AccessOptions
from worker.connection import Connection
from worker.errors import SettingsError

__all__ = ["batch_limits", "online_settings", "open_access"]


def batch_limits(options: AccessOptions) -> BatchLimits:
    """What a tenant's batches may come to."""
    return BatchLimits(
        max_batches=options.tenant_batches,
        max_requests=options.tenant_batch_requests,
        max_tokens=options.tenant_batch_tokens,
    )


def online_settings(options: AccessOptions) -> OnlineSettings:
    """How long clients wait, and how many of a tenant's at once."""
    return OnlineSettings(
        start_timeout_s=options.start_timeout,
        request_timeout_s=options.request_timeout,
        limits=TenantLimits(max_requests=options.tenant_requests, max_tokens=options.tenant_tokens),
    )


async def open_access(options: AccessOptions, host: str, connection: Connection) -> Access:
    """The rules of an endpoint on `host`. Raises SettingsError if it would be open to others."""
    keys = ApiKeys(connection.redis, connection.keys, retrying=connection.retrying)
    is_local = is_loopback(host)
    allows_anonymous = is_local or options.allow_anonymous
    if not allows_anonymous and not (await keys.check(None)).is_needed:
        raise SettingsError(
            f"--host {host} lets others in and there is no API key: make one with 'headrace keys "
            "create', or give --allow-anonymous if everybody who reaches this address may use it"
        )
    return Access(keys=keys, is_local=is_local, allows_anonymous=allows_anonymous)
