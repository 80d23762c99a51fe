"""The parameters that vLLM adds, which clients send through `extra_body`.

Owns: their types and ranges; each is known by name, so none is ignored in silence. Must not know:
what has an effect here (supported.py).
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.openai_fields import OpenAIFields
from schemas.response_format import Choices, Schema, StructuredOutputs
from schemas.strict import StrictModel

__all__ = [
    "MAX_PROMPT_LOGPROBS",
    "MinTokens",
    "Priority",
    "RepetitionPenalty",
    "Share",
    "SomeTokenIds",
    "Text",
    "TokenId",
    "TokenIds",
    "TopK",
    "TrailingFields",
    "VllmFields",
]

MAX_PROMPT_LOGPROBS = 20

_MAX_INT32 = 2**31 - 1  # what device tensors hold
_MAX_INT64 = 2**63 - 1

Flag = bool | None
FreeForm = dict[str, Any]
TokenId = Annotated[int, Field(ge=0, le=_MAX_INT32)]
TokenIds = Annotated[list[TokenId], Field(fail_fast=True)]
SomeTokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
Text = Annotated[str, Field(min_length=1)]
TopK = Annotated[int, Field(ge=-1, le=_MAX_INT32)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
RepetitionPenalty = Annotated[float, Field(gt=0.0)]
MinTokens = Annotated[int, Field(ge=0)]
Priority = Annotated[int, Field(ge=-_MAX_INT64 - 1, le=_MAX_INT64)]


class TrailingFields(StrictModel):
    """vLLM's parameters that come last in either endpoint's list. A model that names this class
    before the one with its other fields has them in that order, which is the order of its errors.
    """

    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None
    guided_json_object: Flag = None
    guided_whitespace_pattern: str | None = None
    guided_decoding_backend: str | None = None

    priority: Priority | None = None
    request_id: str | None = None
    session_id: str | None = None
    cache_salt: Text | None = None
    kv_transfer_params: FreeForm | None = None
    vllm_xargs: FreeForm | None = None


class _ChatFields(OpenAIFields):
    top_k: TopK | None = None
    min_p: Share | None = None
    repetition_penalty: RepetitionPenalty | None = None
    length_penalty: float | None = None
    use_beam_search: Flag = None

    min_tokens: MinTokens | None = None
    ignore_eos: Flag = None
    stop_token_ids: TokenIds | None = None
    include_stop_str_in_output: Flag = None
    bad_words: list[Text] | None = None
    allowed_token_ids: SomeTokenIds | None = None
    repetition_detection: FreeForm | None = None
    thinking_token_budget: Annotated[int, Field(ge=0)] | None = None

    skip_special_tokens: Flag = None
    spaces_between_special_tokens: Flag = None
    include_reasoning: Flag = None
    echo: Flag = None
    return_token_ids: Flag = None
    return_tokens_as_token_ids: Flag = None
    prompt_logprobs: Annotated[int, Field(ge=0, le=MAX_PROMPT_LOGPROBS)] | None = None
    logprob_token_ids: TokenIds | None = None

    add_generation_prompt: Flag = None
    continue_final_message: Flag = None
    add_special_tokens: Flag = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    documents: list[FreeForm] | None = None
    chat_template: Text | None = None
    chat_template_kwargs: FreeForm | None = None
    mm_processor_kwargs: FreeForm | None = None


class VllmFields(TrailingFields, _ChatFields):
    """OpenAI's parameters and vLLM's."""
