"""A request that its client waits for, as an HTTP answer.

Owns: what a client is told when, in which status; that its going away ends the request. Must not
know: which endpoint it is. Until a worker has accepted the request nothing is sent, so every
refusal is a plain answer with a status of its own.
"""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic

from fastapi import Request, Response
from starlette.types import Message, Receive, Scope, Send

from jobs.api.answer_chunks import DONE, AnswerChunks, event
from jobs.api.bodies import read_json
from jobs.api.errors import error_response
from jobs.api.leaving import while_client_stays
from jobs.api.metrics import ApiMetrics
from jobs.api.services import Services
from jobs.api.tenants import Tenant
from jobs.api_keys import KeyLimits
from jobs.online.calls import Event, Failure, OnlineCall, OnlineCalls
from jobs.online.jobs import NewRequest, Refusal, TenantLimits
from jobs.online.messages import Accepted, Step
from jobs.producers.prompt_text import estimate_cost_tokens, rendered_text
from jobs.request_ids import request_id
from jobs.unknown_parameters import without_unknown
from schemas.batch import UNANSWERED
from schemas.errors import ApiError, model_not_found
from schemas.json_text import compact_json
from schemas.requests import ENDPOINTS, AnyRequest, check_request
from schemas.result import ResultRow

__all__ = ["OnlineAnswer", "answer_online"]

_DEFAULT_OUTPUT_TOKENS = 512
_RETRY_SOON = {"retry-after": "2"}
_RETRY_LATER = {"retry-after": "5"}
_NEVER_RETRY = {"x-should-retry": "false"}
_STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_PING = b": ping\n\n"


async def answer_online(request: Request, url: str, services: Services, tenant: Tenant) -> Response:
    """The answer to a request to the endpoint `url`. Raises ApiError for one that is refused."""
    own = tenant.limits.max_request_bytes
    largest = services.settings.max_body_bytes
    body = await read_json(request, max_bytes=min(own, largest) if own else largest)
    if services.settings.ignores_unknown:
        body = without_unknown(url, body)
    parsed = ENDPOINTS[url].parse(body)
    check_request(parsed)
    assert services.online is not None, "this app was built without online calls"
    unserved = await _unserved(parsed.model, services)
    if unserved is not None:
        return unserved
    online = services.online
    cost = estimate_cost_tokens(
        len(rendered_text(body)),
        parsed.max_output_tokens,
        parsed.num_answers,
        default_output=_DEFAULT_OUTPUT_TOKENS,
    )
    new = NewRequest(
        request_id=request_id.get() or "",
        model=parsed.model,
        url=url,
        cost_tokens=cost,
        body=compact_json(body),
        ttl_ms=round(online.settings.request_timeout_s * 1000),
    )
    limits = _limits_of(tenant.limits, online.settings.limits)
    caller = _Caller(tenant.name, limits, services.metrics)
    return OnlineAnswer(online, caller, new, parsed)


def _limits_of(own: KeyLimits, general: TenantLimits) -> TenantLimits:
    """A key's own limits go before those of the endpoint."""
    return TenantLimits(
        max_requests=general.max_requests if own.max_requests is None else own.max_requests,
        max_tokens=general.max_tokens if own.max_tokens is None else own.max_tokens,
    )


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who waits, what he may have, and where that is counted."""

    tenant: str
    limits: TenantLimits
    metrics: ApiMetrics


async def _unserved(model: str, services: Services) -> Response | None:
    """Why nobody can answer for `model` now; None if somebody can."""
    served = await services.registry.served_models()
    if model in served:
        return None
    known = {*await services.registry.known_models(), *services.settings.served_models}
    if known and model not in known:
        raise model_not_found(model, served or known)
    message = f"No worker serves the model '{model[:200]}' at the moment. Try again later."
    error = ApiError(503, message, "server_error", "model", "no_worker")
    return error_response(error, _RETRY_LATER)


class OnlineAnswer(Response):
    """Runs the request when the server sends the answer."""

    def __init__(
        self, online: OnlineCalls, caller: _Caller, new: NewRequest, parsed: AnyRequest
    ) -> None:
        super().__init__()
        self._online = online
        self._caller = caller
        self._new = new
        self._chunks = AnswerChunks(parsed) if parsed.stream else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, unless the client goes away before. Raises ClientDisconnect then."""
        await while_client_stays(receive, self._answer(scope, receive, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self._caller
        async with AsyncExitStack() as stack:
            call = await stack.enter_async_context(
                self._online.open(caller.tenant, self._new, caller.limits)
            )
            if isinstance(call, Refusal):
                caller.metrics.clients_refused.inc()
                await _too_much(call)(scope, receive, send)
                return
            stack.enter_context(caller.metrics.clients_waiting.track_inprogress())
            if self._chunks is None:
                await (await self._whole(call))(scope, receive, send)
            else:
                await self._stream(call, self._chunks, scope, receive, send)

    async def _whole(self, call: OnlineCall) -> Response:
        async for each in self._counted(call):
            if isinstance(each, ResultRow | Failure):
                return _response(each)
        raise AssertionError("events end with a row or a failure")

    async def _counted(self, call: OnlineCall) -> AsyncIterator[Event]:
        """What happens to the request, and how long its client waits for it to begin."""
        started_s, has_begun = monotonic(), False
        metrics = self._caller.metrics
        async for each in call.events():
            if each is not None and not has_begun and not isinstance(each, Failure):
                has_begun = True
                metrics.client_start_seconds.observe(monotonic() - started_s)
            if isinstance(each, Failure):
                metrics.clients_failed.labels(each.value).inc()
            yield each

    async def _stream(
        self, call: OnlineCall, chunks: AnswerChunks, scope: Scope, receive: Receive, send: Send
    ) -> None:
        is_started = False
        async for each in self._counted(call):
            if not is_started:
                if each is None:
                    continue
                if isinstance(each, Failure) or _is_error(each):
                    await _response(each)(scope, receive, send)  # type: ignore[arg-type]
                    return
                is_started = True
                await send(_start())
            parts = b"".join(_parts(chunks, each))
            is_last = isinstance(each, ResultRow | Failure)
            await send({"type": "http.response.body", "body": parts, "more_body": not is_last})


def _parts(chunks: AnswerChunks, each: Event) -> Iterable[bytes]:
    """The events that a client is sent for what happened."""
    if each is None:
        return (_PING,)
    if isinstance(each, Accepted):
        return chunks.accept(each)
    if isinstance(each, Step):
        return chunks.follow(each)
    if isinstance(each, Failure) or _is_error(each):
        return (event(bytes(_response(each).body).decode()), DONE)
    return chunks.end(json.loads(each.response_json or ""))


def _start() -> Message:
    return {"type": "http.response.start", "status": 200, "headers": list(_STREAM_HEADERS)}


def _is_error(each: Event) -> bool:
    return isinstance(each, ResultRow) and each.status_code != 200


def _response(each: ResultRow | Failure) -> Response:
    """A whole answer, or a refusal, in one piece."""
    if isinstance(each, Failure):
        return _failed(each)
    if each.status_code is None:
        message = UNANSWERED.get(each.error_code or "", "This request was not executed.")
        error = ApiError(503, message, "server_error", code=each.error_code)
        return error_response(error, _RETRY_SOON)
    headers = _NEVER_RETRY if each.status_code >= 500 else {}
    text = each.response_json or ""
    return Response(
        text.encode(), status_code=each.status_code, headers=headers, media_type="application/json"
    )


def _failed(failure: Failure) -> Response:
    if failure is Failure.NOT_STARTED:
        message = "All workers are busy: none took the request in time. Try again later."
        return error_response(
            ApiError(503, message, "server_error", code="overloaded"), _RETRY_LATER
        )
    if failure is Failure.TOO_LONG:
        message = "The request took too long and was cancelled."
        error = ApiError(504, message, "server_error", code="request_timeout")
        return error_response(error, _NEVER_RETRY)
    message = "The queue lost the request. Send it again."
    return error_response(ApiError(503, message, "server_error", code="job_lost"), _RETRY_SOON)


def _too_much(refusal: Refusal) -> Response:
    what = "requests" if refusal.what == "requests" else "estimated tokens"
    message = (
        f"Rate limit reached: {refusal.num_waiting} {what} of yours are waiting or running. "
        "Try again when some of them are done."
    )
    error = ApiError(429, message, "rate_limit_error", code="rate_limit_exceeded")
    return error_response(error, _RETRY_SOON)
