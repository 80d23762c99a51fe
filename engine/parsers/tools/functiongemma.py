"""Google FunctionGemma: <start_function_call>call:get_weather{city:<escape>Paris<escape>,days:3}
<end_function_call>, one for each call.

Owns: that format. Must not know: other families. It is that of Google's page on formatting for
FunctionGemma and of the chat template of google/functiongemma-270m-it. <escape> stands on both
sides of every string; numbers, true, false and null are bare; objects and lists look like JSON
without quotes. The model at times escapes what is no string, so the tool's schema decides, and
without one the text does. Commas between arguments may be missing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.arguments import JSON_ERRORS, read_json
from engine.parsers.contract import ParsedTools, ToolCall, ToolSyntax
from engine.parsers.found import Found, read_marked
from engine.parsers.json_calls import skip_space
from engine.parsers.parameters import Parameter, call_with
from engine.parsers.stripped import stripped

__all__ = ["PARSER", "FunctiongemmaParser"]

_START, _END, _ESCAPE = "<start_function_call>", "<end_function_call>", "<escape>"
_SYNTAX = ToolSyntax(starts=(_START,), ends=(_END,), markers=(_START, _END, _ESCAPE))
_TAG = re.compile(f"{_START}|{_END}")
_HEAD = re.compile(r"\s*call:\s*(?P<name>[^\s{}<>:,]++)\s*\{")
_KEY = re.compile(r"[\s,]*+(?:<escape>)?(?P<key>[^<>{}\[\],:]++)(?:<escape>)?\s*+:")
_BARE = re.compile(r"[^<>{}\[\],]*+")
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class FunctiongemmaParser:
    """A `ToolParser`."""

    name: str = "functiongemma"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        def read(text: str, start: int, found: Found) -> int:
            return _read_call(text, start, tools, found)

        return stripped(read_marked(text, _START, read))


def _read_call(text: str, start: int, tools: Sequence[Mapping[str, Any]], found: Found) -> int:
    """Read the call at `start`; return where the text goes on."""
    head = _HEAD.match(text, start + len(_START))
    reader = _Reader(text, head.end() if head is not None else start + len(_START))
    call: ToolCall | str = "a call has no function"
    if head is not None:
        try:
            call = call_with(head["name"], reader.parameters(), tools)
        except _UnreadableError as error:
            call = f"the call of {head['name']!r} {error}"
    end = skip_space(text, reader.position)
    is_closed = text.startswith(_END, end)
    if isinstance(call, ToolCall):
        if is_closed or end == len(text) or text.startswith(_START, end):
            found.calls.append(call)
            return end + len(_END) if is_closed else end
        call = f"the call of {call.name!r} is followed by something else than its end"
    tag = _TAG.search(text, reader.position)
    stop = len(text) if tag is None else tag.end() if tag[0] == _END else tag.start()
    found.add_failure(text[start:stop], call)
    return stop


class _UnreadableError(Exception):
    """What is wrong with the arguments of a call."""


class _Reader:
    """Reads arguments from `position` on; never further than the text of one call is readable."""

    def __init__(self, text: str, position: int) -> None:
        self.text, self.position = text, position

    def parameters(self) -> list[Parameter]:
        """The arguments of a call, up to and including its closing brace."""
        found: list[Parameter] = []
        while (key := self._key()) is not None:
            self.position = skip_space(self.text, self.position)
            if self.text[self.position : self.position + 1] in ("{", "["):
                value = json.dumps(self._value(_MAX_DEPTH), ensure_ascii=False)
            else:
                value = self._scalar()
            found.append(Parameter(key, value, guess=True))
        return found

    def _key(self) -> str | None:
        """The next key, or None behind the closing brace."""
        key = _KEY.match(self.text, self.position)
        if key is not None:
            self.position = key.end()
            return key["key"].strip()
        self._skip_separators()
        if not self._take("}"):
            raise _UnreadableError(self._fault("an argument has no name"))
        return None

    def _value(self, depth: int) -> Any:
        if depth == 0:
            raise _UnreadableError(f"is nested deeper than {_MAX_DEPTH}")
        self.position = skip_space(self.text, self.position)
        if self._take("{"):
            pairs: dict[str, Any] = {}
            while (key := self._key()) is not None:
                pairs[key] = self._value(depth - 1)
            return pairs
        if self._take("["):
            items: list[Any] = []
            self._skip_separators()
            while not self._take("]"):
                items.append(self._value(depth - 1))
                self._skip_separators()
            return items
        if self.text.startswith(_ESCAPE, self.position):
            return self._scalar()
        return _plain(self._scalar())

    def _scalar(self) -> str:
        """The text of a value that is neither object nor list."""
        if not self._take(_ESCAPE):
            bare = _BARE.match(self.text, self.position)
            if bare is None or not bare[0].strip():
                raise _UnreadableError(self._fault("an argument has no value"))
            self.position = bare.end()
            return bare[0].strip()
        end = self.text.find(_ESCAPE, self.position)
        if end < 0:
            raise _UnreadableError("is cut off")
        value = self.text[self.position : end]
        self.position = end + len(_ESCAPE)
        return value

    def _skip_separators(self) -> None:
        while self.text[self.position : self.position + 1] in (" ", "\n", "\t", "\r", ","):
            self.position += 1

    def _take(self, sign: str) -> bool:
        if not self.text.startswith(sign, self.position):
            return False
        self.position += len(sign)
        return True

    def _fault(self, otherwise: str) -> str:
        is_end = self.position >= len(self.text)
        return "is cut off" if is_end else f"cannot be read: {otherwise}"


def _plain(text: str) -> Any:
    try:
        return read_json(text)
    except JSON_ERRORS:
        return text


PARSER = FunctiongemmaParser()
