"""Rules between the parameters of a chat request.

Owns: what no single field can say, in the order in which it is reported. Must not know: what has
an effect here (supported.py), the model.
"""

from collections.abc import Callable
from typing import Protocol

from schemas.errors import ApiError
from schemas.messages import AssistantMessage, ToolMessage
from schemas.response_format import CONSTRAINTS, ResponseFormat, Schema, StructuredOutputs
from schemas.tools import AllowedToolsChoice, CustomTool, Tool, chosen_name
from schemas.vllm_fields import VllmFields
from schemas.wording import quoted_list, show

__all__ = ["MAX_TOP_LOGPROBS", "ConstraintFields", "check_combinations", "check_one_constraint"]

MAX_TOP_LOGPROBS = 20

_RESERVED_VARIABLES = ("messages", "tools", "chat_template", "tokenize", "conversation")
_GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")
_JSON_FORMS = (
    *("guided_json", "guided_json_object", "response_format"),
    *("structured_outputs.json", "structured_outputs.json_object"),
)
_WHITE_SPACE = ("disable_any_whitespace", "whitespace_pattern")


def check_combinations(request: VllmFields) -> None:
    """Raises ApiError 400 for the first rule that the request breaks."""
    for check in _CHECKS:
        check(request)


def _tool_answers_follow_their_calls(request: VllmFields) -> None:
    open_ids: set[str] = set()
    for index, message in enumerate(request.messages):
        if isinstance(message, AssistantMessage):
            open_ids = {call.id for call in message.tool_calls or ()}
        elif not isinstance(message, ToolMessage):
            open_ids = set()
        elif not open_ids:
            raise _refuse(
                "Invalid parameter: messages with role 'tool' must be a response to a preceding "
                f"message with 'tool_calls', which 'messages[{index}]' is not.",
                f"messages[{index}].role",
                "invalid_value",
            )
        elif message.tool_call_id not in open_ids:
            raise _refuse(
                f"Invalid parameter: 'tool_call_id' of {show(message.tool_call_id)} not found in "
                "'tool_calls' of previous message.",
                f"messages[{index}].tool_call_id",
                "invalid_value",
            )


def _functions_have_a_partner(request: VllmFields) -> None:
    if request.function_call is not None and request.functions is None:
        raise _refuse(
            "'function_call' is only allowed when 'functions' are specified.", "function_call"
        )


def _tool_parameters_have_tools(request: VllmFields) -> None:
    if request.tools is not None:
        return
    for param in ("tool_choice", "parallel_tool_calls"):
        if getattr(request, param) is not None:
            raise _refuse(f"'{param}' is only allowed when 'tools' are specified.", param)


def _chosen_tools_are_declared(request: VllmFields) -> None:
    """OpenAI reports an undeclared named tool under `function_call`, and so does this."""
    choice = request.tool_choice
    if choice is None or isinstance(choice, str):
        return
    declared = {_declared_name(tool) for tool in request.tools or ()}
    if isinstance(choice, AllowedToolsChoice):
        chosen, param = choice.allowed_tools.tools, "tool_choice"
    else:
        chosen, param = [choice], "function_call"
    for tool in chosen:
        kind, name = chosen_name(tool)
        if (kind, name) not in declared:
            raise _refuse(
                f"Invalid value for 'tool_choice': no {kind} named {show(name)} was specified in "
                "the 'tools' parameter.",
                param,
            )


def _declared_name(tool: Tool) -> tuple[str, str]:
    if isinstance(tool, CustomTool):
        return "custom", tool.custom.name
    return "function", tool.function.name


def _min_tokens_fit(request: VllmFields) -> None:
    limit = request.max_completion_tokens or request.max_tokens
    if request.min_tokens is not None and limit is not None and request.min_tokens > limit:
        raise _refuse(
            f"Invalid 'min_tokens': expected at most the token limit {show(limit)}, "
            f"but got {show(request.min_tokens)} instead.",
            "min_tokens",
            "invalid_value",
        )


def _top_logprobs_are_possible(request: VllmFields) -> None:
    count = request.top_logprobs
    if count is None:
        return
    if count > MAX_TOP_LOGPROBS:
        raise _refuse(
            f"Invalid value for 'top_logprobs': must be less than or equal to {MAX_TOP_LOGPROBS}, "
            f"but got {show(count)} instead.",
            "top_logprobs",
        )
    if not request.logprobs:
        raise _refuse(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
            "top_logprobs",
        )


def _stream_options_have_a_stream(request: VllmFields) -> None:
    if request.stream_options is not None and not request.stream:
        raise _refuse(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )


class ConstraintFields(Protocol):
    """What a request says about the form of its answer."""

    @property
    def response_format(self) -> ResponseFormat | None: ...
    @property
    def structured_outputs(self) -> StructuredOutputs | None: ...
    @property
    def guided_json(self) -> Schema | None: ...
    @property
    def guided_regex(self) -> str | None: ...
    @property
    def guided_choice(self) -> list[str] | None: ...
    @property
    def guided_grammar(self) -> str | None: ...
    @property
    def guided_json_object(self) -> bool | None: ...
    @property
    def guided_whitespace_pattern(self) -> str | None: ...


def check_one_constraint(request: ConstraintFields) -> None:
    """Raises ApiError 400 for several constraints on one answer, and for what tunes none."""
    outputs = request.structured_outputs
    given = [name for name in _GUIDED if getattr(request, name) is not None]
    if request.guided_json_object:
        given.append("guided_json_object")
    if outputs is not None:
        named = outputs.constraints()
        if not named:
            raise _refuse(
                "Invalid 'structured_outputs': expected one constraint of "
                f"{quoted_list(CONSTRAINTS, 'or')}, but got none instead.",
                "structured_outputs",
                "missing_required_parameter",
            )
        given = [f"structured_outputs.{name}" for name in named] + given
    if request.response_format is not None and request.response_format.type != "text":
        given.append("response_format")
    if len(given) > 1:
        raise _refuse(
            f"Invalid '{given[0]}': only one constraint can be enforced on the output, "
            f"but got {quoted_list(given)}.",
            given[0].partition(".")[0],
            "invalid_value",
        )
    _check_tuning(request, is_json=bool(given) and given[0] in _JSON_FORMS)


def _check_tuning(request: ConstraintFields, *, is_json: bool) -> None:
    """What tunes JSON would be ignored on any other form, and one of two rules for white space."""
    outputs = request.structured_outputs
    given = [
        f"structured_outputs.{name}"
        for name in (*_WHITE_SPACE, "disable_additional_properties")
        if getattr(outputs, name, None) not in (None, False)
    ]
    if request.guided_whitespace_pattern is not None:
        given.insert(0, "guided_whitespace_pattern")
    if given and not is_json:
        raise _refuse(
            f"Invalid '{given[0]}': it says how JSON is written, and this request does not ask for "
            "JSON.",
            given[0],
            "invalid_value",
        )
    rules = [name for name in given if "whitespace" in name]
    if len(rules) > 1:
        raise _refuse(
            f"Invalid '{rules[0]}': only one of {quoted_list(rules)} can be followed.",
            rules[0],
            "invalid_value",
        )


def _one_ending_of_the_prompt(request: VllmFields) -> None:
    if request.continue_final_message and request.add_generation_prompt:
        raise _refuse(
            "Invalid 'continue_final_message': it can not be true together with "
            "'add_generation_prompt'.",
            "continue_final_message",
            "invalid_value",
        )


def _template_variables_are_free(request: VllmFields) -> None:
    for name in _RESERVED_VARIABLES:
        if name in (request.chat_template_kwargs or ()):
            raise _refuse(
                f"Invalid 'chat_template_kwargs': '{name}' is set by the request itself.",
                f"chat_template_kwargs.{name}",
                "invalid_value",
            )


def _refuse(message: str, param: str, code: str | None = None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


_CHECKS: tuple[Callable[[VllmFields], None], ...] = (
    _tool_answers_follow_their_calls,
    _functions_have_a_partner,
    _tool_parameters_have_tools,
    _chosen_tools_are_declared,
    _min_tokens_fit,
    _top_logprobs_are_possible,
    _stream_options_have_a_stream,
    check_one_constraint,
    _one_ending_of_the_prompt,
    _template_variables_are_free,
)
