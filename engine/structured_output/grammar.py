"""Texts of grammars, as the library reads them.

Owns: how a constraint on a whole answer becomes one text, which also is its name in the cache. Must
not know: tokens, compiling, tools.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llguidance import LLMatcher

from engine.errors import GrammarError
from engine.structured_output.gbnf import is_gbnf, read_gbnf
from engine.structured_output.gbnf_lexemes import lark_text
from engine.structured_output.json_schema import FLEXIBLE, JsonStyle, prepare_schema

__all__ = [
    "GrammarPart",
    "choice_part",
    "grammar_part",
    "grammar_problem",
    "grammar_text",
    "json_part",
    "quoted",
    "regex_part",
]

_MAX_CHARS = 200_000

GrammarPart = Mapping[str, Any]
"""One grammar among several, as the library takes it: a JSON schema or a Lark text."""


def json_part(schema: dict[str, Any], style: JsonStyle = FLEXIBLE) -> GrammarPart:
    """JSON that the schema accepts. Raises GrammarError."""
    return {"json_schema": prepare_schema(schema, style)}


def regex_part(pattern: str) -> GrammarPart:
    """Text that the pattern, in the syntax of Rust's regex crate, matches as a whole."""
    (part,) = json.loads(LLMatcher.grammar_from_regex(_checked(pattern)))["grammars"]
    return {"lark_grammar": part["lark_grammar"]}


def choice_part(choices: Sequence[str]) -> GrammarPart:
    """One of the strings. Raises GrammarError if they are all empty."""
    texts = " | ".join(quoted(choice) for choice in dict.fromkeys(choices) if choice)
    if not texts:
        raise GrammarError("there is nothing to choose from but the empty string")
    return {"lark_grammar": f"start: ({texts}){'?' if '' in choices else ''}\n"}


def grammar_part(text: str) -> GrammarPart:
    """A grammar in Lark's syntax, or in GBNF. Raises GrammarError."""
    if not is_gbnf(_checked(text)):
        return {"lark_grammar": text}
    try:
        return {"lark_grammar": lark_text(read_gbnf(text))}
    except RecursionError as error:
        raise GrammarError("the grammar can not be read: its rules are nested too deep") from error


def grammar_text(*parts: GrammarPart) -> str:
    """The text of the grammar that starts at the first part; the others are named `@name` in it."""
    return json.dumps({"grammars": parts}, separators=(",", ":"))


def grammar_problem(text: str) -> str | None:
    """What the library finds wrong with the text of a grammar, which it can say without knowing
    the tokens; None if nothing.
    """
    return str(LLMatcher.validate_grammar(text, None)) or None


def quoted(text: str) -> str:
    """A string literal of a Lark grammar."""
    return json.dumps(text, ensure_ascii=False)


def _checked(text: str) -> str:
    if len(text) > _MAX_CHARS:
        raise GrammarError(f"its text is longer than {_MAX_CHARS} characters")
    return text
