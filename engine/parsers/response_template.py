"""Answers read by the checkpoint's own response template.

Owns: the use of transformers' response parser, which a checkpoint may configure in its tokenizer
(`response_template`). Must not know: families. transformers raises on output that its template did
not foresee and overwrites a field that occurs twice; here neither loses text: contents are put
together from the parser's events, and what it cannot read is left to the caller (None).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers.utils.chat_parsing import ResponseParser
from transformers.utils.chat_parsing.response_templates import load_response_template

from engine.parsers.contract import SplitReasoning, ToolCall
from engine.parsers.json_calls import call_from
from engine.tokenizer import Tokenizer

__all__ = ["ResponseTemplateParser", "TemplateAnswer", "response_template_parser"]

_REASONING = ("reasoning_content", "reasoning", "thinking")
_KNOWN = frozenset(("content", "tool_calls", *_REASONING))
# What transformers and the patterns of a template raise on output they do not fit.
_PARSE_ERRORS = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class TemplateAnswer:
    """One output, read whole."""

    split: SplitReasoning
    calls: tuple[ToolCall, ...]


class ResponseTemplateParser:
    """Reads outputs by one template. Thread safe. `markers` are the tokenizer's texts in it."""

    def __init__(self, template: Any, markers: tuple[str, ...]) -> None:
        self._template = template
        self.markers = markers

    def parse(
        self, text: str, prefix: str, tools: Sequence[Mapping[str, Any]]
    ) -> TemplateAnswer | None:
        """The answer in `text`, which goes on where the prompt's end `prefix` stops. None if the
        template cannot read all of it.
        """
        try:
            functions: list[Any] = [dict(tool) for tool in tools]
            parser = ResponseParser(self._template, prefix=prefix, tools=functions)
            events = parser.feed(text)
            _, last_events = parser.finalize()
        except _PARSE_ERRORS:
            return None
        return _answer(text, [*events, *last_events])


def response_template_parser(tokenizer: Tokenizer) -> ResponseTemplateParser | None:
    """The parser that the checkpoint brings, None if it brings none that keeps all text: it needs
    a field `content` that takes what no other field does.
    """
    spec = getattr(tokenizer.hf_tokenizer, "response_template", None)
    if spec is None:
        return None
    try:
        template = load_response_template(spec)
    except _PARSE_ERRORS:
        return None
    if template.implicit != "content" or not _KNOWN.issuperset(template.fields):
        return None
    plain = re.sub(r"\\(.)", r"\1", _texts(spec))
    markers = tuple(token for token in tokenizer.added_token_ids if token in plain)
    return ResponseTemplateParser(template, markers)


def _answer(text: str, events: Sequence[Mapping[str, Any]]) -> TemplateAnswer | None:
    """Each field's text from the pieces that went into it."""
    content: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    spans: list[tuple[int, int]] = []
    position = 0
    for event in events:
        field = event["field"]
        if event["type"] == "region_chunk" and (start := text.find(event["text"], position)) >= 0:
            position = start + len(event["text"])
            if field in _REASONING:
                spans.append((start, position))
        if event["type"] == "region_chunk" and field == "content":
            content.append(event["text"])
        elif event["type"] == "region_chunk" and field in _REASONING:
            reasoning.append(event["text"])
        elif event["type"] == "region_close" and field == "tool_calls":
            value = event["value"]
            for item in value if isinstance(value, list) else [value]:
                call = call_from(item)
                if isinstance(call, str):
                    return None
                calls.append(call)
    thought = "".join(reasoning)
    split = SplitReasoning(thought if thought.strip() else None, "".join(content), tuple(spans))
    return TemplateAnswer(split, tuple(calls))


def _texts(value: Any) -> str:
    """All strings of a template, one after the other."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(_texts(item) for item in value.values())
    if isinstance(value, list | tuple):
        return "\n".join(_texts(item) for item in value)
    return ""
