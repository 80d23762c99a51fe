"""A text completion request, parsed and checked.

Owns: `parse_completion_request`, the parameters of /v1/completions with their ranges (OpenAI's in
the order in which it lists them, then vLLM's), and what follows from them. Must not know: the
tokenizer, the model, which parameters have an effect here (completions_supported.py).

None means absent, so that the model's own defaults can apply.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from schemas.checks import check_one_constraint
from schemas.errors import ApiError, unreadable_body
from schemas.hints import Metadata, StreamOptions
from schemas.openai_fields import MAX_SEED, LogitBias, Penalty, Stop
from schemas.prompts import Prompt, PromptItem, prompt_items
from schemas.response_format import ResponseFormat
from schemas.sampling_fields import SamplingProperties
from schemas.strict import StrictModel
from schemas.validation import api_error
from schemas.vllm_fields import (
    MAX_PROMPT_LOGPROBS,
    MinTokens,
    RepetitionPenalty,
    Share,
    SomeTokenIds,
    Text,
    TokenIds,
    TopK,
    TrailingFields,
)
from schemas.wording import show, type_name

__all__ = ["CompletionRequest", "check_completion_required", "parse_completion_request"]

_DEFAULT_MAX_TOKENS = 16
_MAX_LOGPROBS = 20  # OpenAI stops at 5, vLLM here
_MAX_BEST_OF = 20

Flag = bool | None
FreeForm = dict[str, Any]


class _OwnFields(StrictModel):
    model: Annotated[str, Field(min_length=1)]
    prompt: Prompt
    best_of: Annotated[int, Field(ge=1, le=_MAX_BEST_OF)] | None = None
    echo: Flag = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    logprobs: Annotated[int, Field(ge=0, le=_MAX_LOGPROBS)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    presence_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-MAX_SEED - 1, le=MAX_SEED)] | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Share | None = None
    user: str | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None

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
    skip_special_tokens: Flag = None
    spaces_between_special_tokens: Flag = None
    add_special_tokens: Flag = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    return_token_ids: Flag = None
    return_tokens_as_token_ids: Flag = None
    prompt_logprobs: Annotated[int, Field(ge=0, le=MAX_PROMPT_LOGPROBS)] | None = None
    logprob_token_ids: TokenIds | None = None
    logprob_start_len: Annotated[int, Field(ge=0)] | None = None
    prompt_embeds: Any = None
    response_format: ResponseFormat | None = None


class CompletionRequest(SamplingProperties, TrailingFields, _OwnFields):
    """A request for text that continues one or more prompts. Get one from
    `parse_completion_request`.
    """

    model_config = ConfigDict(defer_build=False)

    @property
    def max_output_tokens(self) -> int:
        """The limit on output tokens: 16 unless said otherwise."""
        return _DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def prompts(self) -> list[PromptItem]:
        """Each prompt, as text or as token ids."""
        return prompt_items(self.prompt)

    @property
    def num_answers(self) -> int:
        """How many texts are generated in all."""
        return len(self.prompts) * self.num_choices

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Whether tokens of the prompt are to be scored."""
        return self.prompt_logprobs is not None or (bool(self.echo) and self.logprobs is not None)


def parse_completion_request(body: Any) -> CompletionRequest:
    """The request that a JSON body asks for.

    The body must come from `parse_json` or be made of the same types. Raises ApiError (400) for the
    first thing that is wrong: model, prompt, unknown keys, fields, combinations.
    """
    if not isinstance(body, dict):
        raise unreadable_body(f"expected an object, but got {type_name(body)} instead")
    check_completion_required(body)
    try:
        request = CompletionRequest.model_validate(body)
    except ValidationError as error:
        raise api_error(error) from None
    _check_combinations(request)
    check_one_constraint(request)
    return request


def check_completion_required(body: Mapping[str, Any]) -> None:
    """Raises ApiError (400) for a body without a model or without a prompt."""
    if body.get("model") in (None, ""):
        raise ApiError(400, "you must provide a model parameter")
    if body.get("prompt") is None:
        message = "Missing required parameter: 'prompt'."
        raise ApiError(400, message, param="prompt", code="missing_required_parameter")


def _check_combinations(request: CompletionRequest) -> None:
    if request.best_of is not None and request.best_of < request.num_choices:
        raise _refuse(
            f"Invalid 'best_of': expected at least n, which is {request.num_choices}, "
            f"but got {request.best_of} instead.",
            "best_of",
        )
    if request.max_tokens == 0 and not (request.echo or request.prompt_logprobs is not None):
        raise ApiError(
            400,
            "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got 0 "
            "instead. (0 is allowed together with 'echo'.)",
            param="max_tokens",
            code="integer_below_min_value",
        )
    if request.min_tokens is not None and request.min_tokens > request.max_output_tokens:
        raise _refuse(
            f"Invalid 'min_tokens': expected at most the token limit {request.max_output_tokens}, "
            f"but got {show(request.min_tokens)} instead.",
            "min_tokens",
        )
    if request.stream_options is not None and not request.stream:
        raise ApiError(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if request.logprob_start_len is not None and not request.wants_prompt_logprobs:
        raise _refuse(
            "Invalid 'logprob_start_len': it says from which token of the prompt on log "
            "probabilities are told, so it needs 'echo' with 'logprobs', or 'prompt_logprobs'.",
            "logprob_start_len",
        )


def _refuse(message: str, param: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
