"""The rules of one function's arguments, as JSON or one by one.

Owns: which arguments may be written, in which order, and what is refused by name because the format
cannot hold it. Must not know: what stands around a call. Arguments come in the order of the schema.
An argument that cannot be written is left out if it may be, and refused if it is required.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import GrammarError
from engine.structured_output.argument_values import (
    ArgumentValues,
    argument_json,
    argument_values,
)
from engine.structured_output.excluded_words import text_without
from engine.structured_output.grammar import GrammarPart, json_part
from engine.structured_output.json_schema import COMPACT, JsonStyle
from engine.structured_output.keywords import ANNOTATIONS
from engine.structured_output.lark_text import LarkText
from engine.structured_output.patterns import regex
from engine.structured_output.tool_formats import ParameterStyle, ToolFormat

__all__ = ["arguments_part", "arguments_rule"]

_NO_PARAMETERS: Mapping[str, Any] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}
_KNOWN = ANNOTATIONS | {
    *("$defs", "$schema", "additionalProperties", "definitions", "properties", "required"),
    *("strict", "type"),
}
# Keywords of JSON Schema that say something about an object; unknown ones say nothing.
_ASSERTIONS = (
    *("$dynamicRef", "$recursiveRef", "$ref", "allOf", "anyOf", "const", "dependencies"),
    *("dependentRequired", "dependentSchemas", "else", "enum", "if", "not", "oneOf"),
    *("patternProperties", "propertyNames", "then", "unevaluatedProperties"),
)
_FREE_NAME = "[A-Za-z_][A-Za-z0-9_]{0,63}"
_SCALARS = frozenset(("boolean", "integer", "null", "number", "string"))
_EDGES = r"~/(?s:\n.*|.*\n)/"


def arguments_part(function: Mapping[str, Any], style: JsonStyle = COMPACT) -> GrammarPart:
    """The grammar of one function's arguments as JSON, an object in any case. Raises
    GrammarError.
    """
    schema = dict(function.get("parameters") or _NO_PARAMETERS)
    _check_is_object(schema)
    return json_part({**schema, "type": "object"}, style)


def arguments_rule(lark: LarkText, form: ToolFormat, function: Mapping[str, Any]) -> str:
    """What stands for the function's arguments in a rule. Raises GrammarError."""
    words = lark.written(form.tags)
    style = replace(COMPACT, excluded_words=words)
    if form.parameters is None:
        return lark.part(arguments_part(function, style))
    return _Parameters(lark, form.parameters, style, function).rule()


class _Parameters:
    """The arguments of one function, written one by one."""

    def __init__(
        self, lark: LarkText, form: ParameterStyle, style: JsonStyle, function: Mapping[str, Any]
    ) -> None:
        self._lark, self._form, self._style = lark, form, style
        schema = function.get("parameters") or _NO_PARAMETERS
        self._schema = schema
        self._function = {**function, "parameters": schema}

    def rule(self) -> str:
        schema = self._schema
        _check_is_object(schema)
        self._check_keywords()
        properties = schema.get("properties") or {}
        required = schema.get("required") or ()
        for name in required:
            if name not in properties:
                raise GrammarError(f"'required' names {name!r}, which is not among 'properties'")
        if not properties and schema.get("additionalProperties", True) is not False:
            return self._free()
        return self._declared(list(properties), frozenset(required))

    def _check_keywords(self) -> None:
        schema = self._schema
        for key in _ASSERTIONS:
            if key in schema:
                raise GrammarError(
                    f"the keyword '{key}' is not supported next to the 'properties' of a function"
                )
        num_declared = len(schema.get("properties") or {})
        if schema.get("minProperties", 0) > len(schema.get("required") or ()):
            raise GrammarError("'minProperties' is not supported beyond what is 'required'")
        if schema.get("maxProperties", num_declared) < num_declared:
            raise GrammarError("'maxProperties' below the number of 'properties' is not supported")

    def _declared(self, names: list[str], required: frozenset[str]) -> str:
        """The arguments in order, with separators between those that are there."""
        written: list[tuple[str, bool]] = []
        for name in names:
            if self._schema["properties"][name] is False and name not in required:
                continue
            try:
                written.append((self._argument(name), name in required))
            except GrammarError as error:
                if name in required or not isinstance(error, _UnwritableError):
                    raise
        separator = self._lark.literal(self._form.separator)
        if not separator:
            return " ".join(rule if needed else f"({rule})?" for rule, needed in written)
        return _separated(written, separator)

    def _argument(self, name: str | None) -> str:
        """One argument; None: one of any name."""
        if name is not None and not _is_writable(name, self._form):
            raise _UnwritableError(f"the argument name {name!r} cannot be written in this format")
        if self._form.is_json:
            return f"{self._head(name)} {self._json(argument_json(self._function, name or ''))}"
        values = self._writable(argument_values(self._function, name or ""))
        if self._form.has_scalars_only and not values.types <= _SCALARS:
            raise _UnwritableError(
                f"the argument {name!r} may be an object or a list, which cannot be enforced in "
                "the format of this model's calls"
            )
        rules = [self._json_argument(name, schema) for schema in values.schemas]
        rules += self._plain(name, values)
        if not rules:
            raise _UnwritableError(f"the argument {name!r} has no value in this format")
        return rules[0] if len(rules) == 1 else f"({' | '.join(rules)})"

    def _writable(self, values: ArgumentValues) -> ArgumentValues:
        """Without the constants that the format cannot hold."""
        texts = []
        for text in values.texts:
            if text.literals is not None:
                text = replace(text, literals=tuple(filter(self._can_stand, text.literals)))
            if text.literals != ():
                texts.append(text)
        return replace(values, texts=texts)

    def _can_stand(self, text: str) -> bool:
        has_edge = not self._form.keeps_edges and text.strip("\n") != text
        return not has_edge and not any(word in text for word in self._style.excluded_words)

    def _json_argument(self, name: str | None, schema: dict[str, Any]) -> str:
        end = self._lark.literal(self._form.after_value)
        return f"{self._head(name, is_json=True)} {self._json(schema)} {end}"

    def _plain(self, name: str | None, values: ArgumentValues) -> list[str]:
        """The rules of the values that stand as they are."""
        form, lark = self._form, self._lark
        texts = values.text_terminal(guesses=form.guesses)
        others = " | ".join(values.others)
        if form.before_text:
            rules = []
            if texts is not None:
                end = form.after_text + form.after_value
                inner = lark.ended(self._without_tags(texts), end)
                rules.append(f"{self._head(name)} {lark.literal(form.before_text)} {inner}")
            if others:
                rules.append(f"{self._head(name)} {lark.ended(others, form.after_value)}")
            return rules
        if texts is not None:
            if not form.keeps_edges:
                texts = f"({texts}) & {_EDGES}"
            both = f"({texts}) | {others}" if others else texts
            return [f"{self._head(name)} {lark.ended(self._without_tags(both), form.after_value)}"]
        if others:
            head = self._head(name, is_json=True)
            return [f"{head} {lark.ended(self._without_tags(others), form.after_value)}"]
        return []

    def _without_tags(self, expression: str) -> str:
        words = self._style.excluded_words
        return f"({expression}) & {text_without(words)}" if words else expression

    def _json(self, schema: dict[str, Any]) -> str:
        return self._lark.part(json_part(schema, self._style))

    def _head(self, name: str | None, *, is_json: bool = False) -> str:
        form, lark = self._form, self._lark
        after = form.after_name
        if is_json and form.after_json_name is not None:
            after = form.after_json_name
        if name is not None:
            return lark.literal(form.before_name + name + after)
        any_name = lark.terminal(regex(_FREE_NAME))
        return f"{lark.literal(form.before_name)} {any_name} {lark.literal(after)}"

    def _free(self) -> str:
        """Any arguments."""
        one = self._argument(None)
        separator = self._lark.literal(self._form.separator)
        return f"({one} ({separator} {one})*)?" if separator else f"({one})*"


class _UnwritableError(GrammarError):
    """An argument that the format cannot hold."""


def _separated(written: list[tuple[str, bool]], separator: str) -> str:
    """Arguments with separators between them, any of which may be the first one that is there."""
    rest = ""
    for index in range(len(written) - 1, -1, -1):
        rule, needed = written[index]
        behind = " ".join(
            f"{separator} {item}" if sure else f"({separator} {item})?"
            for item, sure in written[index + 1 :]
        )
        here = f"{rule} {behind}"
        optional = f"({here}) | ({rest})" if rest else f"({here})?"
        rest = here if needed else optional
    return f"({rest})" if rest else ""


def _check_is_object(schema: Mapping[str, Any]) -> None:
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise GrammarError(f"schema must be a JSON Schema of 'type: \"object\"', got {kind!r}")


def _is_writable(name: str, form: ParameterStyle) -> bool:
    """Whether a reader finds this very name."""
    if form.has_identifiers:
        return unicodedata.normalize("NFKC", name) == name and name.isidentifier()
    if not name or name.strip().strip("\"'").strip() != name:
        return False
    return not any(sign in form.impossible for sign in name)
