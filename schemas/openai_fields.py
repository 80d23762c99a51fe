"""OpenAI's parameters of a chat completion.

Owns: their types and ranges, in the order in which OpenAI checks them (the first that is wrong is
the one reported). Must not know: rules between parameters (checks.py), what has an effect here
(supported.py).

None means absent, so that the model's own defaults can apply.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from schemas.hints import (
    AudioOutput,
    Metadata,
    Moderation,
    Prediction,
    PromptCacheOptions,
    StreamOptions,
    WebSearchOptions,
)
from schemas.messages import Messages
from schemas.response_format import ResponseFormat
from schemas.strict import StrictModel, by_type, checked, supported
from schemas.tools import FunctionCallChoice, Functions, ToolChoice, Tools

__all__ = [
    "MAX_SEED",
    "MAX_STOP_STRINGS",
    "Count",
    "LogitBias",
    "OpenAIFields",
    "Penalty",
    "Stop",
]

MAX_SEED = 2**63 - 1
MAX_STOP_STRINGS = 4

Count = Annotated[int, Field(ge=1)]
Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]
LogitBias = dict[
    Annotated[str, Field(pattern="^[0-9]{1,18}$")], Annotated[float, Field(ge=-100.0, le=100.0)]
]
StopString = Annotated[str, Field(min_length=1)]
Stop = Annotated[
    str | list[str],
    by_type(
        "one of a string or array",
        {
            str: checked(StopString),
            list: checked(
                Annotated[list[StopString], Field(min_length=1, max_length=MAX_STOP_STRINGS)]
            ),
        },
    ),
]
ReasoningEffort = Annotated[
    str, supported("none", "minimal", "low", "medium", "high", "xhigh", "max")
]


class OpenAIFields(StrictModel):
    """Everything that api.openai.com takes."""

    model_config = ConfigDict(defer_build=True)  # only the request at the end is ever validated

    model: Annotated[str, Field(min_length=1)]
    messages: Messages
    functions: Functions | None = None
    function_call: FunctionCallChoice | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None  # the upper bound: checks.py
    stop: Stop | None = None
    seed: Annotated[int, Field(ge=-MAX_SEED - 1, le=MAX_SEED)] | None = None
    logit_bias: LogitBias | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    moderation: Moderation | None = None
    prediction: Prediction | None = None
    modalities: Annotated[list[Literal["text", "audio"]], Field(min_length=1)] | None = None
    audio: AudioOutput | None = None
    web_search_options: WebSearchOptions | None = None
