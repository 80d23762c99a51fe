"""OpenAI's harmony, the format of gpt-oss, in which every message is wrapped:

    <|channel|>analysis<|message|>We need the weather.<|end|>
    <|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>
    {"city": "Paris"}<|call|>

Owns: that format. Must not know: how the reasoning is cut off (engine/parsers/reasoning/harmony.py,
which leaves the other messages wrapped). The format is that of OpenAI's harmony guide. A message
with a recipient is a call, of whatever channel; the recipient may stand before or behind the
channel. Without one, `analysis` is reasoning and every other channel is said to the user. Messages
of one kind are put together on lines of their own. The prompt ends behind <|start|>assistant.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.detokenizer import MessageHeads
from engine.parsers.arguments import JSON_ERRORS, arguments_json, read_json
from engine.parsers.contract import ParsedTools, ToolCall, ToolSyntax

__all__ = ["PARSER", "HarmonyParser", "content_so_far", "message_heads"]

_START, _CHANNEL, _CONSTRAIN = "<|start|>", "<|channel|>", "<|constrain|>"
_MESSAGE, _END, _CALL, _RETURN = "<|message|>", "<|end|>", "<|call|>", "<|return|>"
_MARKERS = (_START, _CHANNEL, _CONSTRAIN, _MESSAGE, _END, _CALL, _RETURN)
_SYNTAX = ToolSyntax(starts=(), ends=(_CALL, _END), markers=_MARKERS, wraps_answers=True)
_MARKER = re.compile("|".join(map(re.escape, _MARKERS)))
_RECIPIENT = re.compile(r"\bto=(?P<recipient>[^\s<]++)")
_CHANNEL_NAME = re.compile(re.escape(_CHANNEL) + r"\s*(?P<channel>\w++)")
_HEAD_WORDS = ("analysis", "assistant", "code", "commentary", "final", "json", "text")
_HEAD_PART = re.compile(rf"{_MARKER.pattern}|\b(?:{'|'.join(_HEAD_WORDS)})\b")
_TO_SOMEBODY = ("assistant", "user", "all")


@dataclass(frozen=True, slots=True)
class _Message:
    """A message at [start, stop) of the text. `body` is None if the text ended in its head, `stray`
    what stands in its head and has no place there.
    """

    start: int
    stop: int
    head: str
    body: str | None
    stray: str = ""

    @property
    def recipient(self) -> str | None:
        """The function it calls."""
        match = _RECIPIENT.search(self.head)
        if match is None or match["recipient"] in _TO_SOMEBODY:
            return None
        return match["recipient"].removeprefix("functions.")

    @property
    def is_reasoning(self) -> bool:
        match = _CHANNEL_NAME.search(self.head)
        return match is not None and match["channel"] == "analysis"


@dataclass(slots=True)
class _Said:
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class HarmonyParser:
    """A `ToolParser`."""

    name: str = "openai"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return self._parse(text, frozenset())

    def parse_known(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        """The same where nothing but `tools` can be called: the message of any other call is
        content, raw, and an error, whatever stands around it.
        """
        return self._parse(text, _names(tools))

    def _parse(self, text: str, names: frozenset[Any]) -> ParsedTools:
        said = _Said()
        for message in _messages(text):
            _take(message, text, names, said)
        content, reasoning = "\n".join(said.content), "\n".join(said.reasoning)
        return ParsedTools(
            content if content.strip() else None,
            tuple(said.calls),
            said.error,
            reasoning if reasoning.strip() else None,
        )


def content_so_far(text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """The content of an unfinished answer, as far as it is certain, and whether the message at its
    end, which goes on, is content.
    """
    said = _Said()
    names = _names(tools)
    *whole, last = _messages(text)
    for message in whole:
        _take(message, text, names, said)
    has_head = last.head and last.body is not None
    is_content = bool(has_head and last.recipient is None and not last.is_reasoning)
    if is_content:
        _take(last, text, names, said)
    return "\n".join(said.content), is_content and bool(last.body)


def message_heads(token_ids: Mapping[str, int]) -> MessageHeads | None:
    """The tokens around the heads of messages, of those that a tokenizer has in one piece; None if
    it has none that ends a head.
    """
    if _MESSAGE not in token_ids:
        return None
    marks = frozenset(token_ids[mark] for mark in _MARKERS if mark in token_ids)
    return MessageHeads(token_ids[_MESSAGE], marks - {token_ids[_MESSAGE]})


def _names(tools: Sequence[Mapping[str, Any]]) -> frozenset[Any]:
    """The functions that may be called."""
    return frozenset(tool.get("name") for tool in tools)


def _take(message: _Message, text: str, names: frozenset[Any], said: _Said) -> None:
    recipient, body = message.recipient, message.body
    call = _call(recipient, body) if recipient is not None else None
    if isinstance(call, ToolCall) and names and call.name not in names:
        call = f"the request has no tool {call.name!r}"
    if isinstance(call, str):
        said.content.append(text[message.start : message.stop])
        said.error = said.error or call
        return
    if message.stray:
        said.content.append(message.stray)
    if call is not None:
        said.calls.append(call)
    elif body:
        (said.reasoning if message.is_reasoning else said.content).append(body)


def _call(name: str, body: str | None) -> ToolCall | str:
    if body is None:
        return f"the call of {name!r} is cut off"
    if not name:
        return "a call has no function"
    try:
        arguments = read_json(body) if body.strip() else {}
    except JSON_ERRORS:
        return f"the arguments of {name!r} are no JSON"
    if not isinstance(arguments, dict):
        return f"the arguments of {name!r} are no JSON object"
    try:
        return ToolCall(name, arguments_json(arguments))
    except JSON_ERRORS:
        return f"the arguments of {name!r} are nested too deep"


def _messages(text: str) -> list[_Message]:
    """All messages in order. Text that no message holds is one of its own, without a head."""
    messages: list[_Message] = []
    start, body = 0, None
    for marker in _MARKER.finditer(text):
        kind = marker[0]
        is_end = kind in (_END, _CALL, _RETURN)
        if body is None and kind == _MESSAGE:
            body = marker.end()
        elif is_end or kind == _START or (body is not None and kind == _CHANNEL):
            stop = marker.end() if is_end else marker.start()
            messages += _cut(text, start, body, marker.start(), stop)
            start, body = stop, None
    return messages + _cut(text, start, body, len(text), len(text))


def _cut(text: str, start: int, body: int | None, end: int, stop: int) -> list[_Message]:
    """The message whose text is [body, end), or whose head ends there if it has no text."""
    if body is not None:
        head = text[start:body]
        return [_Message(start, stop, head, text[body:end], _stray(head))]
    head = text[start:end]
    if _MARKER.search(head) is None:
        return [_Message(start, stop, "", head)]
    stray = _stray(head)
    if end == len(text) and any(word.startswith(stray) for word in _HEAD_WORDS):
        stray = ""
    return [_Message(start, stop, head, None, stray)]


def _stray(head: str) -> str:
    return _HEAD_PART.sub("", _RECIPIENT.sub("", head, count=1)).strip()


PARSER = HarmonyParser()
