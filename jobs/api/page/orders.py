"""What the page's forms order.

Owns: running an uploaded file, cancelling a batch. Must not know: HTML, sessions. The endpoint of a
batch is that of its file's first request.
"""

import asyncio
import logging

from fastapi import Request

from jobs.api.batches import cancel_batch
from jobs.api.files import upload_file
from jobs.api.limits import check_batch_limits
from jobs.api.services import Services
from jobs.api.tenants import Tenant
from jobs.blobs import Blobs
from jobs.identity import new_batch_id
from jobs.records.batches import NewRecord
from schemas.batch import SUPPORTED_ENDPOINTS
from schemas.errors import ApiError
from schemas.json_text import parse_json

__all__ = ["cancel", "upload_and_order"]

_log = logging.getLogger(__name__)

_MAX_FIRST_LINE = 1 << 20


async def upload_and_order(request: Request, services: Services, tenant: Tenant) -> str:
    """Store the form's file and order a batch of it; the batch's id. Raises ApiError."""
    await check_batch_limits(services, tenant)
    file = await upload_file(request, services, tenant)
    record = await services.files.get(file.id, tenant.name)
    if record is None:
        raise ApiError(404, "The file was deleted meanwhile.", param="id")
    endpoint = await asyncio.to_thread(_endpoint, services.blobs, record.blob)
    window, window_s = next(iter(services.settings.windows.items()))
    new = NewRecord(
        batch_id=new_batch_id(),
        tenant=tenant.name,
        endpoint=endpoint,
        input_file_id=file.id,
        completion_window=window,
        window_s=window_s,
    )
    _, batch_id = await services.batches.create(new)
    _log.info("batch %s is created", batch_id)
    await services.kick(batch_id)
    return batch_id


async def cancel(batch_id: str, services: Services, tenant: str) -> None:
    """Ask a batch to end. Raises ApiError."""
    await cancel_batch(batch_id, services, Tenant(tenant))


def _endpoint(blobs: Blobs, key: str) -> str:
    """Where the file's first request goes; what is wrong with it is found out by the batch."""
    with blobs.open(key) as file:
        first = file.readline(_MAX_FIRST_LINE)
    try:
        value = parse_json(first.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        return SUPPORTED_ENDPOINTS[0]
    url = value.get("url") if isinstance(value, dict) else None
    return url if url in SUPPORTED_ENDPOINTS else SUPPORTED_ENDPOINTS[0]
