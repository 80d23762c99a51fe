"""Requests of every endpoint that this server runs.

Owns: which endpoints those are, and what a body must be for each. Must not know: what any one of
them takes, queues, HTTP. Batch lines and HTTP routes both come through here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from schemas.chat import ChatCompletionRequest, check_required, parse_chat_request
from schemas.completions import (
    CompletionRequest,
    check_completion_required,
    parse_completion_request,
)
from schemas.completions_supported import check_completion_supported
from schemas.supported import check_supported

__all__ = ["CHAT_URL", "COMPLETIONS_URL", "ENDPOINTS", "AnyRequest", "Endpoint", "check_request"]

CHAT_URL = "/v1/chat/completions"
COMPLETIONS_URL = "/v1/completions"

AnyRequest: TypeAlias = ChatCompletionRequest | CompletionRequest


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One kind of request. `name` is OpenAI's title for it.

    `check_required` raises ApiError for a body that lacks what every request must have, `parse`
    for everything else that is wrong with it. `parameters` are the keys that a body may have.
    """

    name: str
    parameters: frozenset[str]
    check_required: Callable[[Mapping[str, Any]], None]
    parse: Callable[[Any], AnyRequest]


ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        CHAT_URL: Endpoint(
            "Chat Completions",
            frozenset(ChatCompletionRequest.model_fields),
            check_required,
            parse_chat_request,
        ),
        COMPLETIONS_URL: Endpoint(
            "Completions",
            frozenset(CompletionRequest.model_fields),
            check_completion_required,
            parse_completion_request,
        ),
    }
)


def check_request(request: AnyRequest) -> None:
    """Raises ApiError (400) for the first thing in the request that would have no effect here."""
    if isinstance(request, ChatCompletionRequest):
        check_supported(request)
    else:
        check_completion_supported(request)
