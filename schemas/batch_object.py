"""Batches of the endpoint: the object, its listing, and the request that creates one.

Owns: their keys and the rules of a creation. Must not know: the state machine, lines of files
(batch.py), queues.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from schemas.batch import SUPPORTED_ENDPOINTS
from schemas.envelope import ResponseModel
from schemas.errors import ApiError, unreadable_body
from schemas.files import ExpiresAfter
from schemas.hints import Metadata
from schemas.strict import StrictModel
from schemas.validation import api_error
from schemas.wording import quoted_list, show, type_name

__all__ = [
    "Batch",
    "BatchErrors",
    "BatchList",
    "BatchUsage",
    "CreateBatchRequest",
    "InputTokensDetails",
    "LineError",
    "OutputTokensDetails",
    "RequestCounts",
    "parse_create_batch",
]

BatchStatusWord = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]


class LineError(ResponseModel):
    """Why the input file was refused. `line` counts from 1; null: the file as a whole."""

    code: str | None
    message: str
    param: str | None = None
    line: int | None = None


class BatchErrors(ResponseModel):
    """Everything that was wrong with the input file."""

    object: Literal["list"] = "list"
    data: list[LineError]


class RequestCounts(ResponseModel):
    """Requests of a batch; cancelled and expired ones count only in `total`."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class InputTokensDetails(ResponseModel):
    """Of the input tokens, those that came from the prefix cache."""

    cached_tokens: int


class OutputTokensDetails(ResponseModel):
    """Of the output tokens, those that were reasoning."""

    reasoning_tokens: int


class BatchUsage(ResponseModel):
    """Tokens of all answered requests."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class Batch(ResponseModel):
    """A batch. Times are unix seconds; every key is there, null when unset."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None = None
    errors: BatchErrors | None = None
    input_file_id: str
    completion_window: str
    status: BatchStatusWord
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = RequestCounts()
    usage: BatchUsage | None = None
    metadata: dict[str, str] | None = None


class BatchList(ResponseModel):
    """One page of batches, newest first."""

    object: Literal["list"] = "list"
    data: list[Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool


def _one_of_the_endpoints(value: str) -> str:
    if value not in SUPPORTED_ENDPOINTS:
        listed = ", ".join(f"'{endpoint}'" for endpoint in SUPPORTED_ENDPOINTS)
        raise PydanticCustomError("literal_error", "not listed", {"expected": listed})
    return value


Endpoint = Annotated[
    str,
    AfterValidator(_one_of_the_endpoints),
    Field(json_schema_extra={"enum": list(SUPPORTED_ENDPOINTS)}),
]


class CreateBatchRequest(StrictModel):
    """The body of POST /v1/batches."""

    input_file_id: Annotated[str, Field(min_length=1)]
    endpoint: Endpoint
    completion_window: str
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


def parse_create_batch(body: Any, windows: Sequence[str]) -> CreateBatchRequest:
    """The creation that a JSON body asks for; `windows` are the completion windows on offer.

    Raises ApiError (400) for the first thing that is wrong.
    """
    if not isinstance(body, dict):
        raise unreadable_body(f"expected an object, but got {type_name(body)} instead")
    try:
        request = CreateBatchRequest.model_validate(body)
    except ValidationError as error:
        raise api_error(error) from None
    if request.completion_window not in windows:
        message = (
            f"Invalid value: {show(request.completion_window)}. Supported values are: "
            f"{quoted_list(windows)}. Parameter: 'completion_window'."
        )
        raise ApiError(400, message, param="completion_window", code="invalid_value")
    return request
