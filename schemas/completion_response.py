"""The answer to a text completion request, as OpenAI's client types it.

Owns: the object `text_completion` and everything below it. Must not know: requests, engines, where
an answer goes.
"""

from typing import Literal

from schemas.chat_response import Logprob, PromptLogprobs, ResponseModel, SparseModel, Usage

__all__ = [
    "CompletionChoice",
    "CompletionFinishReason",
    "CompletionLogprobs",
    "CompletionResponse",
]

CompletionFinishReason = Literal["stop", "length", "content_filter"]


class CompletionLogprobs(ResponseModel):
    """Four lists with one entry per token of the text: with `echo`, of the prompt too.

    `text_offset` is where the token begins in the choice's text, in characters. The first token of
    an echoed prompt follows nothing: its two entries are null. `top_logprobs` has the likeliest
    tokens, best first, and the one that stands there.
    """

    tokens: list[str]
    token_logprobs: list[Logprob | None]
    top_logprobs: list[dict[str, Logprob] | None]
    text_offset: list[int]


class CompletionChoice(SparseModel):
    """One continuation. `stop_reason` is the stop string or stop token id that ended it."""

    OMITTED = frozenset(("stop_reason", "token_ids", "prompt_token_ids", "prompt_logprobs"))

    text: str
    index: int
    logprobs: CompletionLogprobs | None = None
    finish_reason: CompletionFinishReason
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: PromptLogprobs | None = None


class CompletionResponse(ResponseModel):
    """The whole answer; choice k of prompt p has index p * n + k."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    system_fingerprint: str | None = None
