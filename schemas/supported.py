"""What this server does not do: refused by name, never ignored.

Owns: the table of parameters, values and content that are understood but have no effect yet. A
feature that arrives deletes its line here. Must not know: ranges (openai_fields.py), the model.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import BaseModel

from schemas.chat import ChatCompletionRequest
from schemas.checks import ConstraintFields
from schemas.errors import ApiError
from schemas.hints import StreamOptions
from schemas.messages import AssistantMessage
from schemas.wording import show

__all__ = [
    "ACCEPTED",
    "LIMITED",
    "REFUSED",
    "check_fields",
    "check_form",
    "check_stream",
    "check_supported",
]

REFUSED: Mapping[str, str] = {
    "functions": "Use 'tools' instead.",
    "function_call": "Use 'tool_choice' instead.",
    "audio": "",
    "web_search_options": "",
    "chat_template": "Start the worker with --chat-template.",
    "mm_processor_kwargs": "",
    "logprob_token_ids": "",
    "repetition_detection": "",
    "kv_transfer_params": "",
    "vllm_xargs": "",
}
"""Parameters of which no value has an effect, and what to do instead."""

LIMITED: Mapping[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "use_beam_search": (False,),
    "length_penalty": (1.0,),
    "spaces_between_special_tokens": (True,),
    "add_special_tokens": (False,),
    "echo": (False,),
}
"""Parameters of which only these values do what they say."""

ACCEPTED = frozenset(
    (
        "guided_decoding_backend",
        "metadata",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "request_id",
        "safety_identifier",
        "service_tier",
        "session_id",
        "store",
        "user",
        "verbosity",
    )
)
"""Parameters that are checked and then have no effect: hints, and labels of the client's own."""

TEXT_PARTS = ("text", "refusal")
"""The parts of content that a text model takes."""


class StreamedFields(Protocol):
    """What a request says about its stream."""

    @property
    def stream(self) -> bool | None: ...
    @property
    def stream_options(self) -> StreamOptions | None: ...


def check_supported(request: ChatCompletionRequest) -> None:
    """Raises ApiError 400, `unsupported_parameter` or `unsupported_value`, for the first thing
    that would have no effect.
    """
    check_fields(request, REFUSED, LIMITED)
    for check in _CHECKS:
        check(request)


def check_fields(
    request: BaseModel, refused: Mapping[str, str], limited: Mapping[str, tuple[Any, ...]]
) -> None:
    """Raises ApiError 400 for the first field that is in `refused`, or whose value is not among
    those that `limited` has for it.
    """
    given = request.model_fields_set
    for name, hint in refused.items():
        if name in given and getattr(request, name) is not None:
            message = f"Unsupported parameter: '{name}' is not supported by this server. {hint}"
            raise ApiError(400, message.rstrip(), param=name, code="unsupported_parameter")
    for name, values in limited.items():
        if name in given:
            value = getattr(request, name)
            value = getattr(value, "type", value)
            if value is not None and value not in values:
                raise _unsupported(name, value, values)


def check_form(request: ConstraintFields) -> None:
    """Raises ApiError 400 for a form of answers that is not enforced here."""
    wanted = request.response_format
    if wanted is not None and wanted.type == "structural_tag":
        values = ("text", "json_object", "json_schema")
        raise _unsupported("response_format.type", wanted.type, values)
    outputs = request.structured_outputs
    if outputs is not None and outputs.structural_tag is not None:
        raise ApiError(
            400,
            "Unsupported parameter: 'structured_outputs.structural_tag' is not supported by this "
            "server.",
            param="structured_outputs.structural_tag",
            code="unsupported_parameter",
        )


def check_stream(request: StreamedFields) -> None:
    """Raises ApiError 400 for what a stream cannot carry."""
    if not request.stream:
        return
    for name in ("return_token_ids", "prompt_logprobs"):
        if getattr(request, name) not in (None, False):
            message = f"Unsupported parameter: '{name}' is not supported when 'stream' is enabled."
            raise ApiError(400, message, param=name, code="unsupported_parameter")
    options = request.stream_options
    if options is not None and options.continuous_usage_stats:
        raise _unsupported("stream_options.continuous_usage_stats", True, (False,))


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
    check_stream,
    check_form,
    _check_tools,
    _check_messages,
)
