"""What a chat template is given: a request's messages and tools as plain objects.

Owns: the step from the wire's shapes to those that templates are written for. Must not know:
templates, tokenizers. Works on the client's own objects, so that keys keep their order (templates
print tools, and some calls, as JSON), and never changes them.
"""

from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["template_message", "template_tool"]

# What templates know; the rest was added by somebody's library.
_MESSAGE_KEYS = frozenset(("role", "name", "tool_call_id"))
_CALL_KEYS, _FUNCTION_KEYS = frozenset(("id", "type", "function")), frozenset(("name", "arguments"))
_PART_SEPARATOR = "\n"


def template_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """One validated message, ready for a template.

    Content is always a text: absent or null becomes "", text parts are joined by line ends. A
    refusal is what the assistant said. Deprecated function messages become tool messages. Reasoning
    goes by both its names. `developer` stays as it is, and so do the arguments of calls: a JSON
    text, which not every template wants as an object.
    """
    result = _known(message, _MESSAGE_KEYS)
    result["content"] = _content(message)
    if result["role"] == "function":
        result["role"] = "tool"
    calls = message.get("tool_calls")
    if calls is None and message.get("function_call") is not None:
        calls = [{"type": "function", "function": message["function_call"]}]
    if calls is not None:
        result["tool_calls"] = [_call(call) for call in calls]
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if reasoning:
        result["reasoning"] = result["reasoning_content"] = reasoning
    return result


def template_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """One validated tool as the client wrote it, without keys that are null."""
    result = _present(tool)
    if "function" in result:
        result["function"] = _present(tool["function"])
    return result


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, str):
        return content
    # Other parts have been refused (supported.py).
    texts = [part[part["type"]] for part in content if part["type"] in ("text", "refusal")]
    return _PART_SEPARATOR.join(texts)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    result = _known(call, _CALL_KEYS)
    if "function" in result:
        result["function"] = _known(call["function"], _FUNCTION_KEYS)
    return result


def _known(mapping: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None and key in keys}


def _present(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}
