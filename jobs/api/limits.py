"""What one tenant may have in work at once.

Owns: the bounds for batches, and the refusal above them. Must not know: the bounds for requests
that a client waits for (jobs/online), keys. Bounds are looked at when a batch is ordered: one that
was accepted is never refused later.
"""

from jobs.api.errors import RefusalWithHeaders
from jobs.api.services import BatchLimits, Services
from jobs.api.tenants import Tenant
from jobs.api_keys import KeyLimits
from schemas.errors import ApiError

__all__ = ["check_batch_limits"]

_RETRY_LATER = {"retry-after": "30"}


async def check_batch_limits(services: Services, tenant: Tenant) -> None:
    """Whether the tenant may order another batch. Raises ApiError 429."""
    limits = _limits_of(tenant.limits, services.settings.batch_limits)
    if services.loads is None or limits == BatchLimits():
        return
    records = await services.batches.load(await services.batches.open_ids())
    mine = [
        record.batch.id
        for record in records
        if record is not None and record.tenant == tenant.name and not record.status.is_final
    ]
    if limits.max_batches and len(mine) >= limits.max_batches:
        raise _too_much(f"{len(mine)} unfinished batches", limits.max_batches)
    if not (limits.max_requests or limits.max_tokens):
        return
    loads = await services.loads.of(mine)
    num_requests = sum(load.num_jobs for load in loads)
    num_tokens = sum(load.num_tokens for load in loads)
    if limits.max_requests and num_requests >= limits.max_requests:
        raise _too_much(f"{num_requests} queued requests", limits.max_requests)
    if limits.max_tokens and num_tokens >= limits.max_tokens:
        raise _too_much(f"{num_tokens} queued tokens (estimated)", limits.max_tokens)


def _limits_of(own: KeyLimits, general: BatchLimits) -> BatchLimits:
    """A key's own limits go before those of the endpoint."""
    return BatchLimits(
        max_batches=_first(own.max_batches, general.max_batches),
        max_requests=_first(own.max_batch_requests, general.max_requests),
        max_tokens=_first(own.max_batch_tokens, general.max_tokens),
    )


def _first(own: int | None, general: int) -> int:
    return general if own is None else own


def _too_much(what: str, limit: int) -> RefusalWithHeaders:
    message = (
        f"Rate limit reached: you have {what}, and the limit is {limit}. "
        "Try again once some in_progress batches have been completed."
    )
    error = ApiError(429, message, "rate_limit_error", code="rate_limit_exceeded")
    return RefusalWithHeaders(error, _RETRY_LATER)
