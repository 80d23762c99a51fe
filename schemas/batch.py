"""Lines of OpenAI batch files: what goes in, what comes out.

Owns: the shape of an input line and of an output line. Must not know: files, queues, the Batch
API's objects.
"""

from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import to_json

from schemas.errors import ApiError, BadLine
from schemas.json_text import parse_json, parse_json_line
from schemas.requests import ENDPOINTS
from schemas.result import ResultRow
from schemas.strict import StrictModel
from schemas.validation import api_error
from schemas.wording import quoted_list, show, type_name

__all__ = [
    "SUPPORTED_ENDPOINTS",
    "UNANSWERED",
    "BadLine",
    "BatchLine",
    "output_line",
    "parse_batch_line",
]

SUPPORTED_ENDPOINTS = tuple(ENDPOINTS)

UNANSWERED = {
    "batch_expired": ("This request could not be executed before the completion window expired."),
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
}
"""Why a request has no response, by error code; clients know exactly these."""


class BatchLine(StrictModel):
    """One request of a batch file. `body` names a model, and messages or a prompt, and asks for no
    stream; else it is not yet validated.
    """

    custom_id: Annotated[str, Field(min_length=1)]
    method: str
    url: str
    body: dict[str, Any]


def parse_batch_line(raw: bytes, *, endpoint: str | None = None) -> BatchLine:
    """The request on one line, with or without its line end, without a byte order mark. With
    `endpoint`, it must be one to that.

    Raises BadLine for a line that is no request to an endpoint served here. Bad values inside the
    body are no concern of this function: they fail the request alone, not the line.
    """
    try:
        value = parse_json_line(raw)
    except ValueError as error:
        message = f"This line is not parseable as valid JSON. ({error})"
        raise BadLine(message, code="invalid_json_line") from None
    if not isinstance(value, dict):
        message = f"Each line must be a JSON object, but this is {type_name(value)}."
        raise BadLine(message, code="invalid_type")
    try:
        line = BatchLine.model_validate(value)
        _check_line(line, endpoint)
        ENDPOINTS[line.url].check_required(line.body)
    except (ApiError, ValidationError) as error:
        raise _bad_line(error, value.get("custom_id")) from None
    return line


def output_line(row: ResultRow, line_id: str, request_id: str) -> bytes:
    """The row as a line of an output or error file, with its line end.

    A row without a status was never answered: it has an `error` and no `response`. Every other
    row, good or bad, has a `response`; its body is `response_json` as it stands.
    """
    head = b'{"id":%b,"custom_id":%b,' % (to_json(line_id), to_json(row.custom_id))
    if row.status_code is None:
        code = row.error_code or "batch_cancelled"
        error = {"code": code, "message": row.error_message or UNANSWERED.get(code, "")}
        return b'%b"response":null,"error":%b}\n' % (head, to_json(error))
    return b'%b"response":{"status_code":%d,"request_id":%b,"body":%b},"error":null}\n' % (
        head,
        row.status_code,
        to_json(request_id),
        _body_text(row),
    )


def _check_line(line: BatchLine, endpoint: str | None) -> None:
    if line.method != "POST":
        raise BadLine(
            f"Invalid value: {show(line.method)}. Supported values are: 'POST'. "
            "Parameter: 'method'.",
            param="method",
            code="invalid_method",
        )
    if endpoint is not None and line.url != endpoint:
        raise BadLine(
            "The URL provided for this request does not match the batch endpoint. "
            f"Expected '{endpoint}', but got {show(line.url)}.",
            param="url",
            code="invalid_url",
        )
    if line.url not in SUPPORTED_ENDPOINTS:
        raise BadLine(
            "The URL provided for this request does not match the batch endpoint. "
            f"{show(line.url)} is not served; supported: {quoted_list(SUPPORTED_ENDPOINTS)}.",
            param="url",
            code="invalid_url",
        )
    if line.body.get("stream") is True:
        raise BadLine(
            f"{ENDPOINTS[line.url].name}: Streaming is not supported in the Batch API.",
            param="body.stream",
            code="streaming_unsupported",
        )


def _bad_line(error: ApiError | ValidationError, custom_id: Any) -> BadLine:
    """The same refusal, findable by the line's custom_id if that is one."""
    refusal = api_error(error) if isinstance(error, ValidationError) else error
    usable = custom_id if isinstance(custom_id, str) and custom_id else None
    return BadLine(refusal.message, param=refusal.param, code=refusal.code, custom_id=usable)


def _body_text(row: ResultRow) -> bytes:
    text = row.response_json
    if text is None:
        error = ApiError(row.status_code or 500, row.error_message or "", code=row.error_code)
        return to_json(error.body())
    if "\n" in text:  # only ever between tokens, where it means nothing, but it would end the line
        return to_json(parse_json(text.encode()))
    return text.encode()
