"""/v1/files.

Owns: the routes and their refusals. Must not know: how records and bytes are kept. An id that a
client sends is looked up, never used as a name of anything.
"""

import asyncio
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response

from jobs.api.downloads import send_blob
from jobs.api.openapi import ERRORS, UPLOAD_FORM
from jobs.api.paging import bounds, unknown_cursor
from jobs.api.services import Services, services_of
from jobs.api.tenants import CurrentTenant
from jobs.api.uploads import Upload, receive_upload
from jobs.records.files import FileRecord, NewFile, new_file_id
from jobs.records.page import PageRequest
from schemas.envelope import Deleted
from schemas.errors import ApiError
from schemas.files import FileList, FileObject

__all__ = ["router"]

router = APIRouter(prefix="/v1/files", tags=["Files"], responses=ERRORS)

CurrentServices = Annotated[Services, Depends(services_of)]


@router.post("", openapi_extra=UPLOAD_FORM)
async def upload_file(
    request: Request, services: CurrentServices, tenant: CurrentTenant
) -> FileObject:
    """Store a file."""
    upload = await receive_upload(request, services.blobs, services.settings)
    await asyncio.shield(asyncio.to_thread(upload.writer.commit))
    services.metrics.uploaded_bytes.inc(upload.num_bytes)
    record = await services.files.create(_new_file(upload, tenant.name, services))
    return record.file


@router.get("")
async def list_files(
    services: CurrentServices,
    tenant: CurrentTenant,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> FileList:
    """One page of files, by the time of their creation."""
    request = PageRequest(limit=limit, after=after, is_ascending=order == "asc")
    page = await services.files.page(tenant.name, request, purpose=purpose)
    if page is None:
        raise unknown_cursor(after)
    files = [record.file for record in page.items]
    return FileList(data=files, has_more=page.has_more, **bounds([file.id for file in files]))


@router.get("/{file_id}")
async def retrieve_file(
    file_id: str, services: CurrentServices, tenant: CurrentTenant
) -> FileObject:
    """One file."""
    return (await _known(file_id, services, tenant.name)).file


@router.head("/{file_id}/content", include_in_schema=False)
@router.get(
    "/{file_id}/content",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def retrieve_content(
    file_id: str, request: Request, services: CurrentServices, tenant: CurrentTenant
) -> Response:
    """A file's bytes, or the range of them that the Range header names."""
    record = await _known(file_id, services, tenant.name)
    return await send_blob(
        services.blobs,
        record.blob,
        size=record.file.bytes,
        range_header=request.headers.get("range"),
        headers={"content-disposition": _attachment(record.file.filename)},
        is_head=request.method == "HEAD",
        on_sent=services.metrics.downloaded_bytes.inc,
    )


@router.delete("/{file_id}")
async def delete_file(file_id: str, services: CurrentServices, tenant: CurrentTenant) -> Deleted:
    """Forget a file. A batch that runs on it is not disturbed."""
    if not await services.files.delete(file_id, tenant.name):
        raise _no_such_file(file_id)
    return Deleted(id=file_id)


def _new_file(upload: Upload, tenant: str, services: Services) -> NewFile:
    lifetime_s = upload.fields.expires_after_s
    if lifetime_s is None and upload.fields.purpose == "batch":
        lifetime_s = services.settings.batch_file_lifetime_s
    return NewFile(
        file_id=new_file_id(),
        tenant=tenant,
        blob=upload.blob,
        num_bytes=upload.num_bytes,
        filename=upload.filename,
        purpose=upload.fields.purpose,
        lifetime_s=lifetime_s,
    )


async def _known(file_id: str, services: Services, tenant: str) -> FileRecord:
    record = await services.files.get(file_id, tenant)
    if record is None:
        raise _no_such_file(file_id)
    return record


def _no_such_file(file_id: str) -> ApiError:
    return ApiError(404, f"No such File object: {file_id[:200]}", param="id")


def _attachment(filename: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(filename.encode('utf-8', 'replace'), safe='')}"
