"""The events of a streamed chat completion.

Owns: the object `chat.completion.chunk` and everything below it. Must not know: server-sent
events, HTTP, engines.
"""

from typing import Literal

from pydantic import computed_field

from schemas.chat_response import ChoiceLogprobs, FinishReason, ResponseModel, SparseModel, Usage

__all__ = ["ChatCompletionChunk", "ChunkChoice", "Delta", "DeltaFunction", "DeltaToolCall"]


class DeltaFunction(SparseModel):
    """The name comes once, the arguments in pieces that the client joins."""

    OMITTED = frozenset(("name", "arguments"))

    name: str | None = None
    arguments: str | None = None


class DeltaToolCall(SparseModel):
    """A piece of the call at `index`; `id` and `type` come once."""

    OMITTED = frozenset(("id", "type"))

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: DeltaFunction


class Delta(SparseModel):
    """What this chunk adds to the message: nothing in the last one."""

    OMITTED = frozenset(("role", "content", "tool_calls", "reasoning", "reasoning_content"))

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[DeltaToolCall] | None = None
    reasoning: str | None = None

    @computed_field  # type: ignore[prop-decorator]  # mypy has no model of stacked decorators
    @property
    def reasoning_content(self) -> str | None:
        return self.reasoning


class ChunkChoice(SparseModel):
    """One choice's share of a chunk; `finish_reason` is set in its last one, and `stop_reason` if a
    stop string or stop token ended it.
    """

    OMITTED = frozenset(("stop_reason",))

    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None


class ChatCompletionChunk(ResponseModel):
    """One event. All chunks of an answer share `id`, `created` and `model`; the one that carries
    `usage` has no choices.
    """

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str | None = None
    choices: list[ChunkChoice]
    usage: Usage | None = None
