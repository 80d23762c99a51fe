"""Files of the endpoint: the object, its listing, and the fields of an upload.

Owns: their keys, OpenAI's list of purposes, the bounds of an expiry. Must not know: where bytes
lie, multipart forms.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from schemas.envelope import ResponseModel
from schemas.errors import ApiError
from schemas.strict import StrictModel
from schemas.validation import api_error
from schemas.wording import show

__all__ = [
    "UPLOAD_PURPOSES",
    "ExpiresAfter",
    "FileList",
    "FileObject",
    "UploadFields",
    "parse_upload_fields",
]

UPLOAD_PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
"""What a client may upload a file for, in the order in which OpenAI lists them."""

_FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class FileObject(ResponseModel):
    """A file. `bytes` is its size; times are unix seconds."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error"] = "processed"
    expires_at: int | None = None
    status_details: str | None = None


class FileList(ResponseModel):
    """One page of files."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ExpiresAfter(StrictModel):
    """When a file goes, in seconds from its creation."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


@dataclass(frozen=True, slots=True)
class UploadFields:
    """The fields of an upload beside the file itself."""

    purpose: str
    expires_after_s: int | None = None


class _Expiry(StrictModel):
    expires_after: ExpiresAfter


def parse_upload_fields(fields: Mapping[str, str]) -> UploadFields:
    """The text fields of an upload form, checked. Raises ApiError (400)."""
    for name in fields:
        if name not in _FIELDS:
            raise ApiError(
                400, f"Unknown parameter: {show(name)}.", param=name[:200], code="unknown_parameter"
            )
    purpose = fields.get("purpose")
    if purpose is None:
        message = "Missing required parameter: 'purpose'."
        raise ApiError(400, message, param="purpose", code="missing_required_parameter")
    if purpose not in UPLOAD_PURPOSES:
        message = f"{show(purpose)} is not one of {list(UPLOAD_PURPOSES)} - 'purpose'"
        raise ApiError(400, message, param="purpose")
    return UploadFields(purpose, _expiry(fields))


def _expiry(fields: Mapping[str, str]) -> int | None:
    given: dict[str, Any] = {
        name[14:-1]: value for name, value in fields.items() if name.startswith("expires_after[")
    }
    if not given:
        return None
    seconds = given.get("seconds")
    if seconds is not None and _INTEGER.fullmatch(seconds):
        given["seconds"] = int(seconds)
    try:
        return _Expiry.model_validate({"expires_after": given}).expires_after.seconds
    except ValidationError as error:
        raise api_error(error) from None
