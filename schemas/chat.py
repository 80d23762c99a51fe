"""A chat completion request, parsed and checked.

Owns: `parse_chat_request`, the one way from a JSON body to a request, and what the parameters
mean once they are put together. Must not know: the tokenizer, the model, the template (what needs
those is checked where they are), which parameters have an effect here (supported.py).
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from schemas.checks import check_combinations
from schemas.errors import ApiError, unreadable_body
from schemas.sampling_fields import SamplingProperties
from schemas.template_input import template_message, template_tool
from schemas.tools import AllowedToolsChoice, chosen_name
from schemas.validation import api_error
from schemas.vllm_fields import VllmFields
from schemas.wording import type_name

__all__ = ["ChatCompletionRequest", "check_required", "parse_chat_request"]


class ChatCompletionRequest(SamplingProperties, VllmFields):
    """A request for a chat completion: the client's parameters as fields, None where absent, and
    what follows from them as properties. Get one from `parse_chat_request`.
    """

    model_config = ConfigDict(defer_build=False)

    _body: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_body(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        request = handler(value)
        if isinstance(value, dict):
            request._body = value
        return request

    @property
    def max_output_tokens(self) -> int | None:
        """The limit on output tokens, if one was asked for: max_completion_tokens wins."""
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens
        return self.max_tokens

    @property
    def num_answers(self) -> int:
        """How many texts are generated in all."""
        return self.num_choices

    @property
    def opens_answer(self) -> bool:
        """Whether the prompt ends with the start of an assistant turn: unless said otherwise, it
        does, except when the last message is to be continued.
        """
        if self.add_generation_prompt is not None:
            return self.add_generation_prompt
        return not self.continue_final_message

    @property
    def template_tools(self) -> list[dict[str, Any]] | None:
        """The tools as plain objects for the template: those that may be called, None if there are
        none of them. A named tool is shown among the others.
        """
        if self.tools is None or self.tool_choice == "none":
            return None
        tools = [template_tool(tool) for tool in self._body["tools"]]
        if not isinstance(self.tool_choice, AllowedToolsChoice):
            return tools
        names = {chosen_name(tool) for tool in self.tool_choice.allowed_tools.tools}
        return [tool for tool in tools if (tool["type"], tool[tool["type"]]["name"]) in names]

    @property
    def tool_choice_mode(self) -> Literal["none", "auto", "required"]:
        """Whether tools may, must or must not be called; a named tool must be."""
        choice = self.tool_choice
        if self.tools is None:
            return "none"
        if choice is None:
            return "auto"
        if isinstance(choice, AllowedToolsChoice):
            return choice.allowed_tools.mode
        return choice if isinstance(choice, str) else "required"

    @property
    def template_variables(self) -> dict[str, Any]:
        """What the template gets besides messages and tools: documents, reasoning_effort and the
        enable_thinking that follows from it, then the client's chat_template_kwargs.
        """
        variables: dict[str, Any] = {}
        if self.documents:
            variables["documents"] = self.documents
        if self.reasoning_effort is not None:
            variables["reasoning_effort"] = self.reasoning_effort
            variables["enable_thinking"] = self.reasoning_effort != "none"
        return variables | (self.chat_template_kwargs or {})

    def template_messages(self) -> list[dict[str, Any]]:
        """The conversation as plain objects for the template: see `template_message`."""
        return [template_message(message) for message in self._body["messages"]]


def parse_chat_request(body: Any) -> ChatCompletionRequest:
    """The request that a JSON body asks for.

    The body must come from `parse_json` or be made of the same types, and belongs to the request
    from here on. Raises ApiError (400) for the first thing that is wrong, in OpenAI's order:
    model, messages, unknown keys, fields, combinations.
    """
    if not isinstance(body, dict):
        raise unreadable_body(f"expected an object, but got {type_name(body)} instead")
    check_required(body)
    try:
        request = ChatCompletionRequest.model_validate(body)
    except ValidationError as error:
        raise api_error(error) from None
    check_combinations(request)
    return request


def check_required(body: Mapping[str, Any]) -> None:
    """Raises ApiError (400) for a body without a model or without messages. In a batch file that
    is a bad line; any other bad value fails its request alone.
    """
    if body.get("model") in (None, ""):
        raise ApiError(400, "you must provide a model parameter")
    if body.get("messages") is None:
        message = "Missing required parameter: 'messages'."
        raise ApiError(400, message, param="messages", code="missing_required_parameter")
