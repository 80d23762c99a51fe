"""The events of a streamed text completion.

Owns: the object `text_completion` as a stream has it: `finish_reason` is null until a choice's last
event. Must not know: server-sent events, HTTP, engines.
"""

from typing import Literal

from schemas.chat_response import ResponseModel, SparseModel, Usage
from schemas.completion_response import CompletionFinishReason, CompletionLogprobs

__all__ = ["CompletionChunk", "CompletionChunkChoice"]


class CompletionChunkChoice(SparseModel):
    """One choice's share of an event; `stop_reason` comes with the `finish_reason`."""

    OMITTED = frozenset(("stop_reason",))

    text: str
    index: int
    logprobs: CompletionLogprobs | None = None
    finish_reason: CompletionFinishReason | None = None
    stop_reason: int | str | None = None


class CompletionChunk(ResponseModel):
    """One event. The one that carries `usage` has no choices."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChunkChoice]
    system_fingerprint: str | None = None
    usage: Usage | None = None
