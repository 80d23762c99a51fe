"""JSON bodies of requests.

Owns: the content type, the size limit, the parse. Must not know: what bodies mean.
"""

from typing import Any

from fastapi import Request

from schemas.errors import ApiError, unreadable_body
from schemas.json_text import parse_json
from schemas.wording import show

__all__ = ["read_json"]

_MAX_DIGITS = 18


async def read_json(request: Request, *, max_bytes: int) -> Any:
    """The JSON value that a request carries. Raises ApiError: 400 for anything that is not JSON,
    413 above `max_bytes`, 415 for what is compressed.
    """
    kind = request.headers.get("content-type", "application/json")
    essence = kind.partition(";")[0].strip().lower()
    if essence != "application/json" and not essence.endswith("+json"):
        message = f"Invalid Content-Type: {show(kind)}. Send the body as application/json."
        raise ApiError(400, message)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        message = f"Invalid Content-Encoding: {show(encoding)}. Send the body uncompressed."
        raise ApiError(415, message)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:_MAX_DIGITS]) > max_bytes:
        raise _too_large(max_bytes)  # before any of it is read
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    try:
        return parse_json(bytes(body))
    except ValueError as error:
        raise unreadable_body(str(error)) from None


def _too_large(max_bytes: int) -> ApiError:
    message = f"The body is too large. Expected at most {max_bytes} bytes."
    return ApiError(413, message, code="request_too_large")
