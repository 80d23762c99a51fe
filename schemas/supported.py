"""What this server does not do: refused by name, never ignored.

Owns: the table of parameters, values and content that are understood but have no effect yet. A
feature that arrives deletes its line here. Must not know: ranges (openai_fields.py), the model.
"""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.chat import ChatCompletionRequest
from schemas.errors import ApiError
from schemas.messages import AssistantMessage
from schemas.wording import show

__all__ = ["check_supported"]

REFUSED: Mapping[str, str] = {
    "functions": "Use 'tools' instead.",
    "function_call": "Use 'tool_choice' instead.",
    "audio": "",
    "web_search_options": "",
    "chat_template": "Start the worker with --chat-template.",
    "mm_processor_kwargs": "",
    "structured_outputs": "",
    "guided_json": "",
    "guided_regex": "",
    "guided_choice": "",
    "guided_grammar": "",
    "guided_whitespace_pattern": "",
    "guided_decoding_backend": "",
    "prompt_logprobs": "",
    "logprob_token_ids": "",
    "allowed_token_ids": "",
    "truncate_prompt_tokens": "",
    "truncation_side": "",
    "thinking_token_budget": "",
    "repetition_detection": "",
    "kv_transfer_params": "",
    "vllm_xargs": "",
}
"""Parameters of which no value has an effect, and what to do instead."""

LIMITED: Mapping[str, tuple[Any, ...]] = {
    "stream": (False,),
    "logprobs": (False,),
    "parallel_tool_calls": (True,),
    "tool_choice": ("none", "auto"),
    "modalities": (["text"],),
    "use_beam_search": (False,),
    "length_penalty": (1.0,),
    "bad_words": ([],),
    "guided_json_object": (False,),
    "include_reasoning": (True,),
    "spaces_between_special_tokens": (True,),
    "add_special_tokens": (False,),
    "echo": (False,),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
}
"""Parameters of which only these values do what they say."""

TEXT_PARTS = ("text", "refusal")
"""The parts of content that a text model takes."""


def check_supported(request: ChatCompletionRequest) -> None:
    """Raises ApiError 400, `unsupported_parameter` or `unsupported_value`, for the first thing
    that would have no effect.
    """
    given = request.model_fields_set
    for name, hint in REFUSED.items():
        if name in given and getattr(request, name) is not None:
            message = f"Unsupported parameter: '{name}' is not supported by this server. {hint}"
            raise ApiError(400, message.rstrip(), param=name, code="unsupported_parameter")
    for name, values in LIMITED.items():
        if name in given:
            value = getattr(request, name)
            if value is not None and value not in values:
                raise _unsupported(name, getattr(value, "type", value), values)
    for check in _CHECKS:
        check(request)


def _check_response_format(request: ChatCompletionRequest) -> None:
    if request.response_format is not None and request.response_format.type != "text":
        raise _unsupported("response_format.type", request.response_format.type, ("text",))


def _check_tools(request: ChatCompletionRequest) -> None:
    for index, tool in enumerate(request.tools or ()):
        if tool.type != "function":
            raise _unsupported(f"tools[{index}].type", tool.type, ("function",))


def _check_messages(request: ChatCompletionRequest) -> None:
    for index, message in enumerate(request.messages):
        if isinstance(message.content, list):
            for position, part in enumerate(message.content):
                if part.type not in TEXT_PARTS:
                    param = f"messages[{index}].content[{position}].type"
                    raise _unsupported(param, part.type, ("text",))
        if isinstance(message, AssistantMessage):
            _check_answer(message, f"messages[{index}]")


def _check_answer(message: AssistantMessage, param: str) -> None:
    for index, call in enumerate(message.tool_calls or ()):
        if call.type != "function":
            raise _unsupported(f"{param}.tool_calls[{index}].type", call.type, ("function",))
    if message.audio is not None and not message.content:
        text = f"Unsupported parameter: '{param}.audio' is not supported by this server."
        raise ApiError(400, text, param=f"{param}.audio", code="unsupported_parameter")


def _unsupported(param: str, value: Any, values: tuple[Any, ...]) -> ApiError:
    allowed = " and ".join(show(value) for value in values)
    message = (
        f"Unsupported value: '{param}' does not support {show(value)} on this server. "
        f"Supported values are: {allowed}."
    )
    return ApiError(400, message, param=param, code="unsupported_value")


_CHECKS: tuple[Callable[[ChatCompletionRequest], None], ...] = (
    _check_response_format,
    _check_tools,
    _check_messages,
)
