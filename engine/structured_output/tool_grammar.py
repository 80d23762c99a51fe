"""The grammar of tool calls in a family's format.

Owns: how a grammar is built from a format, and which answers there are besides calls. Must not
know: the formats (tool_formats.py), how calls are read back (engine/parsers/tools), compiling,
requests.
"""

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import GrammarError
from engine.structured_output.call_arguments import arguments_rule
from engine.structured_output.excluded_words import text_without
from engine.structured_output.grammar import GrammarPart, quoted
from engine.structured_output.harmony_grammar import harmony_grammar
from engine.structured_output.lark_text import LarkText
from engine.structured_output.plain_text import ANY_TEXT
from engine.structured_output.tool_formats import ToolFormat

__all__ = ["CallRules", "opens_with_token", "tool_grammar"]

_NUMBER = "/0|[1-9][0-9]{0,2}/"


def opens_with_token(form: ToolFormat, tokens: Mapping[str, int]) -> bool:
    """Whether the first token tells calls from any other answer."""
    return LarkText(tokens).literal(form.opening).startswith("<[")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules:
    """Whether and how often an answer may call. `answer` is the form of an answer without calls,
    for formats that open with a token only; None: if a call is not demanded, any text, before and
    between calls too. `may_think`: where the grammar holds the reasoning too (harmony), there may
    be some.
    """

    must_call: bool
    is_parallel: bool = True
    answer: GrammarPart | None = None
    may_think: bool = True


def tool_grammar(
    form: ToolFormat,
    functions: Sequence[Mapping[str, Any]],
    rules: CallRules,
    tokens: Mapping[str, int],
) -> str:
    """The text of a grammar for answers that call these functions ({"name", "parameters"}).

    `tokens` are the tokenizer's added tokens. Raises GrammarError for a function or parameters that
    cannot be enforced.
    """
    if form.is_channelled:
        return harmony_grammar(
            form,
            functions,
            tokens,
            must_call=rules.must_call,
            may_think=rules.may_think,
            answer=rules.answer,
        )
    return _Writer(form, functions, rules, tokens).grammar()


class _Writer:
    """One grammar being written."""

    def __init__(
        self,
        form: ToolFormat,
        functions: Sequence[Mapping[str, Any]],
        rules: CallRules,
        tokens: Mapping[str, int],
    ) -> None:
        self._form, self._functions, self._rules = form, functions, rules
        self._lark = LarkText(tokens)
        self._opens_with_token = opens_with_token(form, tokens)
        more = f"({self._literal(form.separator)} call)*" if rules.is_parallel else ""
        self._behind_first = f"{more} {self._literal(form.end)}"

    def grammar(self) -> str:
        form = self._form
        called = []
        behind = []
        for index, function in enumerate(self._functions):
            _check_name(form, function["name"])
            rule = f"{self._after_name()} {arguments_rule(self._lark, form, function)}"
            behind.append(f"behind_{index}: {rule} {self._literal(form.after_arguments)}")
            called.append(f"{quoted(function['name'])} behind_{index}")
        call = f"call: {self._literal(form.before_name)} called"
        lines = [*self._start(), call, f"called: {' | '.join(called)}", *behind]
        return self._lark.grammar(lines)

    def _after_name(self) -> str:
        if not self._form.is_numbered:
            return self._literal(self._form.after_name)
        return f'":" {self._lark.ended(_NUMBER, self._form.after_name)}'

    def _literal(self, text: str) -> str:
        return self._lark.literal(text)

    def _start(self) -> list[str]:
        """The rules above `call`: which answers there are."""
        rules = self._rules
        calls = f"calls: {self._literal(self._form.begin)} call {self._behind_first}"
        if rules.must_call:
            return ["start: calls", calls]
        if rules.answer is not None:
            assert self._opens_with_token, "a call and an answer may begin alike"
            return [f"start: calls | {self._lark.part(rules.answer)}", calls]
        if self._opens_with_token:
            return [*self._start_with_token(), calls]
        return self._start_with_text()

    def _start_with_token(self) -> list[str]:
        """A token opens calls, so no text does."""
        start = "start: (TEXT? calls)* TEXT?" if self._rules.is_parallel else "start: TEXT? calls?"
        text = r"/(?s:.)+/"
        if words := self._lark.written(self._form.also_opens):
            text = f"{text} & {text_without(words)}"
        return [start, f"TEXT: {text}"]

    def _start_with_text(self) -> list[str]:
        """Text, in which every call that is opened is a valid one."""
        if self._form.opens_list:
            return self._start_with_list()
        form = self._form
        text, opening = ANY_TEXT, f"/(.|\\n)*{_tolerant(form.opening)}/"
        if form.also_opens:
            # What opens a call, with or without its wrapper, is the opening.
            text = text_without(form.also_opens)
            opening = f"{text} {quoted(form.opening)}"
        return [
            "start: TEXT | opened",
            f"TEXT: {text}",
            f"opening[lazy]: {opening}",
            f"opened: opening called {self._behind_first}",
        ]

    def _start_with_list(self) -> list[str]:
        """A list opens calls if a function's name and a parenthesis follow, and at the beginning
        of the answer if any name does.
        """
        names = " | ".join(quoted(function["name"]) for function in self._functions)
        other = rf"(/\s*\[\s*/ (/[\w.]+/ & ~({names})) /\s*\((?s:.)*/)"
        lines = [f"start: TEXT | {' | '.join(f'opened_{i}' for i in range(len(self._functions)))}"]
        lines.append(
            rf"TEXT: {ANY_TEXT} & ~({ANY_TEXT} /\[\s*/ ({names}) /\s*\(/ {ANY_TEXT}) & ~{other}"
        )
        for index, function in enumerate(self._functions):
            name = quoted(function["name"])
            arguments = arguments_rule(self._lark, self._form, function)
            lines += [
                rf"opening_{index}[lazy]: ({ANY_TEXT} /\[\s*/ {name} /\s*\(/) & ~{other}",
                f"opened_{index}: opening_{index} {arguments} "
                f"{self._literal(self._form.after_arguments)} {self._behind_first}",
            ]
        return lines


def _check_name(form: ToolFormat, name: str) -> None:
    if form.parameters is None or not form.parameters.has_identifiers:
        return
    if not name.isidentifier() or keyword.iskeyword(name):
        raise GrammarError(f"the function name '{name}' cannot be written in this model's calls")


def _tolerant(text: str) -> str:
    """A regex for the text with any white space where JSON allows it."""
    pieces = re.findall(r"\w+|[^\w\s]", text)
    return r"\s*".join(re.escape(piece).replace("/", r"\/") for piece in pieces)
