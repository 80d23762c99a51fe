"""Every failure as OpenAI's envelope.

Owns: which status, body and headers an exception becomes. Must not know: routes. Clients repeat
409, 429 and 5xx unless they are told not to, so an answer that will not change says so.
"""

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from jobs.errors import BlobError, BlobMissingError, QueueError
from schemas.errors import ApiError
from schemas.json_text import canonical_json
from schemas.validation import request_error

__all__ = ["RefusalWithHeaders", "add_error_handlers", "error_response", "unexpected"]

_log = logging.getLogger(__name__)

_NEVER_RETRY = {"x-should-retry": "false"}
_RETRY_SOON = {"retry-after": "1"}


class RefusalWithHeaders(ApiError):  # noqa: N818 - named for what it is
    """A refusal that says something in headers, too."""

    def __init__(self, refusal: ApiError, headers: Mapping[str, str]) -> None:
        super().__init__(
            refusal.status_code, refusal.message, refusal.type, refusal.param, refusal.code
        )
        self.headers = headers


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that says `error`."""
    known = _NEVER_RETRY if error.status_code == 409 else {}
    return Response(
        canonical_json(error.body()),
        status_code=error.status_code,
        headers={**known, **(headers or {})},
        media_type="application/json",
    )


def unexpected(error: Exception) -> Response:
    """What a client hears of a failure that is none of its doing."""
    if isinstance(error, BlobMissingError):
        refusal = ApiError(410, "The bytes of this file are gone.", "server_error")
        return error_response(refusal, _NEVER_RETRY)
    if isinstance(error, RedisError | QueueError | BlobError | OSError):
        _log.warning("a request failed for now: %s", error)
        refusal = ApiError(503, "The server cannot reach its storage; try again.", "server_error")
        return error_response(refusal, _RETRY_SOON)
    _log.error("a request failed", exc_info=error)
    refusal = ApiError(
        500, "The server had an error while processing your request.", "server_error"
    )
    return error_response(refusal, _NEVER_RETRY)


def add_error_handlers(app: FastAPI) -> None:
    """Let every exception that leaves a route of `app` end in the envelope."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _by_framework)
    for kind in (RedisError, QueueError, BlobError):
        app.add_exception_handler(kind, _failed)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error, error.headers if isinstance(error, RefusalWithHeaders) else None)


async def _failed(_request: Request, error: Exception) -> Response:
    return unexpected(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    """A query that the route's types refuse."""
    assert isinstance(error, RequestValidationError)
    return error_response(request_error(error.errors()))


async def _by_framework(request: Request, error: Exception) -> Response:
    """Unknown routes, wrong methods, and what else the framework itself refuses."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    messages = {
        404: f"Invalid URL ({where})",
        405: f"Invalid method for URL ({where})",
    }
    message = messages.get(error.status_code, str(error.detail))
    code = {404: "unknown_url", 405: "method_not_supported"}.get(error.status_code)
    kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
    return error_response(ApiError(error.status_code, message, kind, code=code), error.headers)
