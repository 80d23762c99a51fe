"""/v1/batches.

Owns: the routes and their refusals. Must not know: how batches are run; it writes down what a
client wants, and the control plane does it.
"""

import hashlib
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from jobs.api.bodies import read_json
from jobs.api.limits import check_batch_limits
from jobs.api.live import live_batches
from jobs.api.openapi import CREATE_BATCH_BODY, ERRORS
from jobs.api.paging import bounds, unknown_cursor
from jobs.api.services import Services, services_of
from jobs.api.tenants import CurrentTenant
from jobs.identity import new_batch_id
from jobs.queue import BatchState
from jobs.records.batches import BatchRecord, Creation, Idempotency, NewRecord
from jobs.records.page import PageRequest
from schemas.batch_object import Batch, BatchList, parse_create_batch
from schemas.errors import ApiError
from schemas.json_text import canonical_json

__all__ = ["router"]

_log = logging.getLogger(__name__)

_MAX_KEY_CHARS = 255
_STAYS = (BatchState.COMPLETED, BatchState.FAILED, BatchState.EXPIRED)

router = APIRouter(prefix="/v1/batches", tags=["Batches"], responses=ERRORS)

CurrentServices = Annotated[Services, Depends(services_of)]


@router.post("", openapi_extra=CREATE_BATCH_BODY)
async def create_batch(request: Request, services: CurrentServices, tenant: CurrentTenant) -> Batch:
    """Order a batch. What is wrong with its file is said by the batch itself, later."""
    body = await read_json(request, max_bytes=services.settings.max_body_bytes)
    windows = services.settings.windows
    wanted = parse_create_batch(body, list(windows))
    idempotency = _idempotency(request.headers.get("idempotency-key"), body)
    if idempotency is None or not await services.batches.knows(tenant.name, idempotency):
        await check_batch_limits(services, tenant)  # a call that is made again orders nothing
    lifetime = wanted.output_expires_after
    new = NewRecord(
        batch_id=new_batch_id(),
        tenant=tenant.name,
        endpoint=wanted.endpoint,
        input_file_id=wanted.input_file_id,
        completion_window=wanted.completion_window,
        window_s=windows[wanted.completion_window],
        metadata=wanted.metadata,
        output_lifetime_s=lifetime.seconds if lifetime is not None else None,
        idempotency=idempotency,
    )
    creation, batch_id = await services.batches.create(new)
    if creation is Creation.REUSED:
        message = (
            "The Idempotency-Key of this request was used for another request before. "
            "Use a new key for a new request."
        )
        raise ApiError(400, message, param="Idempotency-Key", code="idempotency_key_reused")
    if creation is Creation.NEW:
        _log.info("batch %s is created", batch_id)
        await services.kick(batch_id)
    return await _shown(await _known(batch_id, services, tenant.name), services)


@router.get("")
async def list_batches(
    services: CurrentServices,
    tenant: CurrentTenant,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> BatchList:
    """One page of batches, newest first."""
    page = await services.batches.page(tenant.name, PageRequest(limit=limit, after=after))
    if page is None:
        raise unknown_cursor(after)
    batches = await live_batches(page.items, services.queue)
    ids = [batch.id for batch in batches]
    return BatchList(data=batches, has_more=page.has_more, **bounds(ids))


@router.get("/{batch_id}")
async def retrieve_batch(batch_id: str, services: CurrentServices, tenant: CurrentTenant) -> Batch:
    """One batch."""
    return await _shown(await _known(batch_id, services, tenant.name), services)


@router.post("/{batch_id}/cancel")
async def cancel_batch(batch_id: str, services: CurrentServices, tenant: CurrentTenant) -> Batch:
    """Ask a batch to end. What is finished stays; running requests may finish."""
    await _known(batch_id, services, tenant.name)
    move = await services.batches.cancel(batch_id)
    if move.status in _STAYS:
        raise ApiError(409, f"Cannot cancel a batch with status '{move.status}'.")
    if move.is_done:
        _log.info("batch %s is to be cancelled", batch_id)
        await services.queue.cancel(batch_id)
        await services.kick(batch_id)
    return await _shown(await _known(batch_id, services, tenant.name), services)


async def _known(batch_id: str, services: Services, tenant: str) -> BatchRecord:
    record = await services.batches.get(batch_id, tenant)
    if record is None:
        raise ApiError(404, f"No batch found with id '{batch_id[:200]}'.", param="id")
    return record


async def _shown(record: BatchRecord, services: Services) -> Batch:
    return (await live_batches([record], services.queue))[0]


def _idempotency(key: str | None, body: Any) -> Idempotency | None:
    if key is None:
        return None
    if not key or len(key) > _MAX_KEY_CHARS:
        message = f"Invalid 'Idempotency-Key': expected 1 to {_MAX_KEY_CHARS} characters."
        raise ApiError(400, message, param="Idempotency-Key", code="invalid_value")
    return Idempotency(
        key=hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(),
        request=hashlib.sha256(canonical_json(body)).hexdigest(),
    )
