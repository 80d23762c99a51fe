"""The messages of a conversation, one model per role.

Owns: which keys each role takes. Must not know: templates (template.py), sampling.

Content may be absent or null in every role, as OpenAI accepts it. An answer of the server can be
sent back as it is: `annotations`, `refusal` and `audio` are taken and left out of the prompt, and
so are keys that libraries add to it (openai's `parsed`, litellm's `provider_specific_fields`, a
call's `index` in a stream). Where an answer says nothing, an unknown key is taken for a misspelled
one, as in other roles.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from schemas.content import AnswerContent, TextContent, UserContent
from schemas.strict import LenientModel, StrictModel, by_tag

__all__ = [
    "AssistantMessage",
    "DeveloperMessage",
    "FunctionCall",
    "FunctionMessage",
    "FunctionToolCall",
    "Message",
    "Messages",
    "SystemMessage",
    "ToolMessage",
    "UserMessage",
]

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s<|\\/>]+$")]
"""A participant. The pattern is OpenAI's; it keeps special tokens out of templates."""

_SAYING = frozenset(("content", "tool_calls", "function_call", "refusal", "audio"))


class _Message(StrictModel):
    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, value: Any) -> Any:
        """Without keys of other roles, or of nobody, that are null: those are as good as absent."""
        known = cls.model_fields.keys()
        if not isinstance(value, dict) or value.keys() <= known:
            return value
        return {k: v for k, v in value.items() if k in known or not cls._is_added(v, value)}

    @classmethod
    def _is_added(cls, value: Any, _message: dict[str, Any]) -> bool:
        return value is None


class SystemMessage(_Message):
    """Instructions."""

    role: Literal["system"]
    content: TextContent | None = None
    name: Name | None = None


class DeveloperMessage(_Message):
    """Instructions, under their newer name."""

    role: Literal["developer"]
    content: TextContent | None = None
    name: Name | None = None


class UserMessage(_Message):
    """What the user says."""

    role: Literal["user"]
    content: UserContent | None = None
    name: Name | None = None


class FunctionCall(LenientModel):
    """A call as a model wrote it: `arguments` is meant to be JSON, and may not be."""

    name: str
    arguments: str


class FunctionToolCall(LenientModel):
    """A call of a function tool."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class CustomCall(LenientModel):
    """A call with free text."""

    name: str
    input: str


class CustomToolCall(LenientModel):
    """A call of a custom tool."""

    id: str
    type: Literal["custom"]
    custom: CustomCall


class AudioReference(LenientModel):
    """An earlier spoken answer."""

    id: str


ToolCall = Annotated[
    FunctionToolCall | CustomToolCall,
    by_tag("type", {"function": FunctionToolCall, "custom": CustomToolCall}, unserved=("custom",)),
]


class AssistantMessage(_Message):
    """What the model said. `reasoning` and `reasoning_content` are one thing under two names."""

    role: Literal["assistant"]
    content: AnswerContent | None = None
    name: Name | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, fail_fast=True)] | None = None
    function_call: FunctionCall | None = None
    audio: AudioReference | None = None
    annotations: list[Any] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    @classmethod
    def _is_added(cls, value: Any, message: dict[str, Any]) -> bool:
        return value is None or not _SAYING.isdisjoint(message)


class ToolMessage(_Message):
    """What a tool answered. OpenAI's own examples name the function here, so `name` is taken."""

    role: Literal["tool"]
    content: TextContent | None = None
    tool_call_id: str
    name: Name | None = None


class FunctionMessage(_Message):
    """What a function answered, before there were tools."""

    role: Literal["function"]
    content: str | None = None
    name: Name


Message = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)

Messages = Annotated[
    list[
        Annotated[
            Message,
            by_tag(
                "role",
                {
                    "system": SystemMessage,
                    "developer": DeveloperMessage,
                    "user": UserMessage,
                    "assistant": AssistantMessage,
                    "tool": ToolMessage,
                    "function": FunctionMessage,
                },
            ),
        ]
    ],
    Field(min_length=1, fail_fast=True),
]
"""A conversation: at least one message."""
