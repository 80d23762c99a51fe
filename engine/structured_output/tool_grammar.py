"""The grammar of tool calls, in the format of each family that has one here.

Owns: the table of formats, and how a grammar is built from one. Must not know: how calls are read
back (engine/parsers/tools has a parser for each of these names), compiling, requests. A marker that
the tokenizer has as one token is demanded as that token, since only then it counts as a marker.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import GrammarError
from engine.structured_output.grammar import GrammarPart, grammar_text, json_part, quoted
from engine.structured_output.json_schema import COMPACT

__all__ = [
    "TOOL_FORMATS",
    "CallRules",
    "ToolFormat",
    "arguments_part",
    "opens_with_token",
    "tool_format",
    "tool_grammar",
]

_NO_PARAMETERS: Mapping[str, Any] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How a family writes calls: `begin`, calls with `separator` between them, `end`; a call is its
    name and its arguments between three pieces of text.
    """

    begin: str = ""
    before_name: str = '{"name": "'
    after_name: str = '", "arguments": '
    after_arguments: str = "}"
    separator: str = ", "
    end: str = ""

    @property
    def opening(self) -> str:
        """What every answer with calls begins with."""
        return self.begin + self.before_name


_HERMES = ToolFormat(
    before_name='<tool_call>\n{"name": "', after_arguments="}\n</tool_call>", separator="\n"
)
_LLAMA = ToolFormat(after_name='", "parameters": ', separator="; ")
_MISTRAL_LIST = ToolFormat(begin="[TOOL_CALLS][", end="]")
_MISTRAL_NAMED = ToolFormat(
    before_name="[TOOL_CALLS]", after_name="[ARGS]", after_arguments="", separator=""
)

TOOL_FORMATS: Mapping[str, ToolFormat] = {
    "deepseek_v3": ToolFormat(
        begin="<｜tool▁calls▁begin｜>",
        before_name="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        after_name="\n```json\n",
        after_arguments="\n```<｜tool▁call▁end｜>",
        separator="\n",
        end="<｜tool▁calls▁end｜>",
    ),
    "deepseek_v31": ToolFormat(
        begin="<｜tool▁calls▁begin｜>",
        before_name="<｜tool▁call▁begin｜>",
        after_name="<｜tool▁sep｜>",
        after_arguments="<｜tool▁call▁end｜>",
        separator="",
        end="<｜tool▁calls▁end｜>",
    ),
    "ernie45": _HERMES,
    "granite": ToolFormat(begin="<|tool_call|>[", end="]"),
    "granite4": _HERMES,
    "hermes": _HERMES,
    "hunyuan_a13b": ToolFormat(begin="<tool_calls>[", end="]</tool_calls>"),
    "internlm": ToolFormat(
        before_name='<|action_start|><|plugin|>\n{"name": "',
        after_name='", "parameters": ',
        after_arguments="}<|action_end|>",
        separator="\n",
    ),
    "jamba": ToolFormat(begin="<tool_calls>[\n    ", separator=",\n    ", end="\n]</tool_calls>"),
    "llama3_json": _LLAMA,
    "llama4_json": _LLAMA,
    "mistral": _MISTRAL_LIST,
    "phi4_mini_json": ToolFormat(begin="functools[", end="]"),
    "xlam": ToolFormat(begin="[", end="]"),
}
"""Format by the name of its parser."""


def tool_format(family: str, tokens: Mapping[str, int]) -> ToolFormat | None:
    """The format that the family writes with this tokenizer; None if there is no grammar for it."""
    if family == "mistral" and "[ARGS]" in tokens:
        return _MISTRAL_NAMED
    return TOOL_FORMATS.get(family)


def opens_with_token(form: ToolFormat, tokens: Mapping[str, int]) -> bool:
    """Whether the first token tells calls from any other answer."""
    return _Lark(form, tokens).opens_with_token


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules:
    """Whether and how often an answer may call. `answer` is the form of an answer without calls,
    for formats that open with a token only; None: if a call is not demanded, any text, before and
    between calls too.
    """

    must_call: bool
    is_parallel: bool = True
    answer: GrammarPart | None = None


def tool_grammar(
    form: ToolFormat,
    functions: Sequence[Mapping[str, Any]],
    rules: CallRules,
    tokens: Mapping[str, int],
) -> str:
    """The text of a grammar for answers that call these functions ({"name", "parameters"}).

    `tokens` are the tokenizer's added tokens. Raises GrammarError for parameters that cannot be
    enforced.
    """
    lark = _Lark(form, tokens)
    parts = []
    choices = []
    for index, function in enumerate(functions):
        parts.append({"name": f"arguments_{index}", **arguments_part(function)})
        choices.append(
            f"{quoted(function['name'])} {lark.literal(form.after_name)} @arguments_{index}"
        )
    if rules.answer is not None:
        parts.append({"name": "answer", **rules.answer})
    lines = [
        *lark.start(rules),
        f"call: {lark.literal(form.before_name)} called {lark.literal(form.after_arguments)}",
        f"called: {' | '.join(choices)}",
    ]
    return grammar_text({"name": "top", "lark_grammar": "\n".join(lines) + "\n"}, *parts)


def arguments_part(function: Mapping[str, Any]) -> GrammarPart:
    """The grammar of one function's arguments, an object in any case. Raises GrammarError."""
    schema = dict(function.get("parameters") or _NO_PARAMETERS)
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise GrammarError(f"schema must be a JSON Schema of 'type: \"object\"', got {kind!r}")
    return json_part({**schema, "type": "object"}, COMPACT)


class _Lark:
    """Writes rules for one format and tokenizer."""

    def __init__(self, form: ToolFormat, tokens: Mapping[str, int]) -> None:
        self._form = form
        markers = sorted((token for token in tokens if len(token) > 2), key=len, reverse=True)
        self._tokens = tokens
        self._marker = re.compile("|".join(map(re.escape, markers)) or r"(?!)")

    def literal(self, text: str) -> str:
        """The text as a sequence of tokens and strings; "" for no text."""
        pieces = []
        position = 0
        for match in self._marker.finditer(text):
            if match.start() > position:
                pieces.append(quoted(text[position : match.start()]))
            pieces.append(f"<[{self._tokens[match[0]]}]>")
            position = match.end()
        if position < len(text):
            pieces.append(quoted(text[position:]))
        return " ".join(pieces)

    @property
    def opens_with_token(self) -> bool:
        return self.literal(self._form.opening).startswith("<[")

    def start(self, rules: CallRules) -> list[str]:
        """The rules above `call`: which answers there are."""
        form = self._form
        more = f"({self.literal(form.separator)} call)*" if rules.is_parallel else ""
        calls = f"calls: {self.literal(form.begin)} call {more} {self.literal(form.end)}"
        if rules.must_call:
            return ["start: calls", calls]
        if rules.answer is not None:
            assert self.opens_with_token, "a call and an answer may begin alike"
            return ["start: calls | @answer", calls]
        return self._start_with_text(rules)

    def _start_with_text(self, rules: CallRules) -> list[str]:
        """Text, in which every call that is opened is a valid one."""
        if self.opens_with_token:
            return self._start_with_token(rules)
        form = self._form
        more = f"({self.literal(form.separator)} call)*" if rules.is_parallel else ""
        rest = f"called {self.literal(form.after_arguments)} {more} {self.literal(form.end)}"
        return [
            "start: TEXT | opened",
            r"TEXT: /(.|\n)*/",
            f"opening[lazy]: /(.|\\n)*{_tolerant(form.opening)}/",
            f"opened: opening {rest}",
        ]

    def _start_with_token(self, rules: CallRules) -> list[str]:
        """A token opens calls, so no text does."""
        form = self._form
        more = f"({self.literal(form.separator)} call)*" if rules.is_parallel else ""
        start = "start: (TEXT? calls)* TEXT?" if rules.is_parallel else "start: TEXT? calls?"
        return [
            start,
            r"TEXT: /(.|\n)+/",
            f"calls: {self.literal(form.begin)} call {more} {self.literal(form.end)}",
        ]


def _tolerant(text: str) -> str:
    """A regex for the text with any white space where JSON allows it."""
    pieces = re.findall(r"\w+|[^\w\s]", text)
    return r"\s*".join(re.escape(piece).replace("/", r"\/") for piece in pieces)
