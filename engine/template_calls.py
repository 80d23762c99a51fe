"""Calls of earlier turns in the form that a chat template reads.

Owns: the forms in which templates expect calls, and putting a message into one of them. Must not
know: templates, tokenizers. OpenAI sends arguments as a JSON text beside a content that may be
null. Most templates want the arguments as an object; DeepSeek's join them to other texts, and some
of those tell a call by a content that is null.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.parsers.arguments import JSON_ERRORS, read_json

__all__ = ["CALL_FORMS", "CallForm"]


@dataclass(frozen=True, slots=True)
class CallForm:
    """Whether arguments stay a JSON text, whether the content of a call with nothing said is null,
    and whether what is said beside a call has to stand alone.
    """

    has_text_arguments: bool = False
    has_null_content: bool = False
    has_own_content: bool = False

    def messages(self, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """A message with `tool_calls` and a `content` in this form: one, or what is said and then
        the calls.
        """
        content = message["content"]
        if content and self.has_own_content:
            yield {key: value for key, value in message.items() if key != "tool_calls"}
            content = ""
        if not content and self.has_null_content:
            content = None
        calls = [self._call(call) for call in message["tool_calls"]]
        yield {**message, "content": content, "tool_calls": calls}

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
            return dict(call)
        arguments = self._arguments(function["arguments"])
        return {**call, "function": {**function, "arguments": arguments}}

    def _arguments(self, text: str) -> str | dict[str, Any]:
        """A text that is no JSON object (a model wrote it) stays as it is."""
        if self.has_text_arguments:
            return text if text.strip() else "{}"
        try:
            value = read_json(text) if text.strip() else {}
            if "\\u" in text:  # halves of surrogate pairs, which no prompt can hold
                json.dumps(value, ensure_ascii=False).encode()
        except JSON_ERRORS:
            return text
        return value if isinstance(value, dict) else text


CALL_FORMS = (
    CallForm(),
    CallForm(has_text_arguments=True),
    CallForm(has_null_content=True),
    CallForm(has_text_arguments=True, has_null_content=True),
)
"""The forms of a call beside which nothing is said, the usual one first."""
