"""The answer to a chat completion request, as OpenAI's client types it.

Owns: the object `chat.completion` and everything below it. Must not know: requests, engines,
where an answer goes, streams (chat_chunk.py).

A key that a client may expect is always there, null when unset. Keys that only some answers have
(`tool_calls`, reasoning, vLLM's `stop_reason`) are left out when they are None.
"""

from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
)

__all__ = [
    "MIN_LOGPROB",
    "ChatCompletionResponse",
    "Choice",
    "ChoiceLogprobs",
    "FinishReason",
    "Logprob",
    "PromptLogprob",
    "PromptLogprobs",
    "ResponseFunction",
    "ResponseMessage",
    "ResponseModel",
    "ResponseToolCall",
    "SparseModel",
    "TokenLogprob",
    "TopLogprob",
    "Usage",
]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]

MIN_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON does not have."""

Logprob = Annotated[float, BeforeValidator(lambda value: max(value, MIN_LOGPROB))]


class ResponseModel(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def to_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json()


class SparseModel(ResponseModel):
    """Part of an answer that leaves out the keys in OMITTED when they are None."""

    OMITTED: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        omitted = self.OMITTED
        return {
            key: value
            for key, value in handler(self).items()
            if value is not None or key not in omitted
        }


class ResponseFunction(ResponseModel):
    """The function called; `arguments` is JSON text as the model wrote it."""

    name: str
    arguments: str


class ResponseToolCall(ResponseModel):
    """One call."""

    id: str
    type: Literal["function"] = "function"
    function: ResponseFunction


class ResponseMessage(SparseModel):
    """What the model said. `reasoning` goes out under both of its names."""

    OMITTED = frozenset(("tool_calls", "reasoning", "reasoning_content"))

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None
    annotations: list[dict[str, Any]] = []
    tool_calls: list[ResponseToolCall] | None = None
    reasoning: str | None = None

    @computed_field  # type: ignore[prop-decorator]  # mypy has no model of stacked decorators
    @property
    def reasoning_content(self) -> str | None:
        return self.reasoning


class TopLogprob(ResponseModel):
    """A token that could have stood there; `bytes` are its UTF-8, which may be part of a
    character.
    """

    token: str
    logprob: Logprob
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token that stands there, and the likeliest ones, best first."""

    top_logprobs: list[TopLogprob] = []


class ChoiceLogprobs(ResponseModel):
    """One entry per generated token."""

    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None = None


class PromptLogprob(ResponseModel):
    """A token that stands in the prompt, or could. `rank` is 1 for the likeliest."""

    logprob: Logprob
    rank: int
    decoded_token: str


PromptLogprobs: TypeAlias = list[dict[int, PromptLogprob] | None]
"""vLLM's: one entry per token of the prompt, by token id; null where none is known, as for the
first.
"""


class Choice(SparseModel):
    """One continuation. `stop_reason` is the stop string or stop token id that ended it."""

    OMITTED = frozenset(("stop_reason", "token_ids"))

    index: int
    message: ResponseMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None


class PromptTokensDetails(ResponseModel):
    """How the prompt's tokens divide."""

    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokensDetails(ResponseModel):
    """How the output's tokens divide."""

    reasoning_tokens: int
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(ResponseModel):
    """Tokens: the prompt counted once, the outputs of all choices summed."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails

    @classmethod
    def of(
        cls,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        reasoning_tokens: int = 0,
    ) -> Self:
        """Usage from its four counts; `cached_tokens` are part of the prompt's,
        `reasoning_tokens` of the output's.
        """
        return cls(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=cached_tokens),
            completion_tokens_details=CompletionTokensDetails(reasoning_tokens=reasoning_tokens),
        )


class ChatCompletionResponse(SparseModel):
    """The whole answer. `created` is in unix seconds; `model` is the served name that was asked
    for; `service_tier` is what the request got, and there is one. The last two keys are vLLM's.
    """

    OMITTED = frozenset(("prompt_logprobs", "prompt_token_ids"))

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    service_tier: Literal["default"] = "default"
    system_fingerprint: str | None = None
    prompt_logprobs: PromptLogprobs | None = None
    prompt_token_ids: list[int] | None = None
