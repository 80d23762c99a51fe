"""The form that a request asks of its whole answer.

Owns: reading response_format, structured_outputs and guided_* into one form, and how each is named
in a refusal. Must not know: tools, tokens, compiling.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from engine.errors import GrammarError
from engine.structured_output.grammar import (
    GrammarPart,
    choice_part,
    grammar_part,
    grammar_text,
    json_part,
    regex_part,
)
from engine.structured_output.json_schema import COMPACT, FLEXIBLE, JsonStyle
from schemas.checks import ConstraintFields
from schemas.errors import ApiError
from schemas.json_text import parse_json
from schemas.response_format import JsonObjectFormat, JsonSchemaFormat, StructuredOutputs

__all__ = ["AnswerForm", "answer_form"]

_ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """One form. `param` is the parameter that asks for it, `code` and `subject` are for refusals.
    `build` makes its grammar from a style, which forms other than JSON do not look at.
    """

    param: str
    subject: str
    build: Callable[[JsonStyle], GrammarPart]
    style: JsonStyle = FLEXIBLE
    code: str | None = "invalid_value"

    def part(self, *, is_compact: bool = False) -> GrammarPart:
        """Its grammar, to be put among others: `is_compact` unless the request says what white
        space there may be. Raises ApiError 400 if there can be none.
        """
        style = self.style
        if is_compact and style.white_space == FLEXIBLE.white_space:
            style = replace(COMPACT, closes_objects=style.closes_objects)
        try:
            return self.build(style)
        except GrammarError as error:
            raise self.refusal(str(error)) from error

    def grammar(self) -> str:
        """The text of its grammar. Raises ApiError 400 if there can be none."""
        return grammar_text(self.part())

    def refusal(self, reason: str) -> ApiError:
        """400: the form cannot be enforced."""
        return ApiError(400, f"Invalid {self.subject}: {reason}.", param=self.param, code=self.code)


def answer_form(chat: ConstraintFields) -> AnswerForm | None:
    """The form of a request's answer; None if it may be any text. There is only one: schemas/ has
    seen to that. Raises ApiError 400 for a schema that is no JSON.
    """
    form = _wanted_form(chat)
    if form is None or chat.guided_whitespace_pattern is None:
        return form
    return replace(form, style=replace(form.style, white_space=chat.guided_whitespace_pattern))


def _wanted_form(chat: ConstraintFields) -> AnswerForm | None:
    wanted = chat.response_format
    if isinstance(wanted, JsonObjectFormat):
        return _of_json("response_format", "'response_format'", _ANY_OBJECT)
    if isinstance(wanted, JsonSchemaFormat):
        named = wanted.json_schema
        subject = f"schema for response_format '{named.name}'"
        schema = _ANY_OBJECT if named.json_schema is None else named.json_schema
        return replace(_of_json("response_format", subject, schema), code=None)
    if chat.structured_outputs is not None:
        return _of_structured(chat.structured_outputs)
    return _of_guided(chat)


def _of_structured(wanted: StructuredOutputs) -> AnswerForm:
    form = _of_constraint(
        {
            "structured_outputs.json": wanted.json_schema,
            "structured_outputs.regex": wanted.regex,
            "structured_outputs.choice": wanted.choice,
            "structured_outputs.grammar": wanted.grammar,
            "structured_outputs.json_object": wanted.json_object or None,
        },
    )
    assert form is not None, "schemas/ lets no other constraint through"
    style = replace(FLEXIBLE, closes_objects=bool(wanted.disable_additional_properties))
    if wanted.disable_any_whitespace:
        style = replace(style, white_space=None)
    elif wanted.whitespace_pattern is not None:
        style = replace(style, white_space=wanted.whitespace_pattern)
    return replace(form, style=style)


def _of_guided(chat: ConstraintFields) -> AnswerForm | None:
    """The former names of vLLM, which mean what structured_outputs means."""
    return _of_constraint(
        {
            "guided_json": chat.guided_json,
            "guided_regex": chat.guided_regex,
            "guided_choice": chat.guided_choice,
            "guided_grammar": chat.guided_grammar,
            "guided_json_object": chat.guided_json_object or None,
        }
    )


def _of_constraint(values: dict[str, Any]) -> AnswerForm | None:
    """The form that the first given of these values asks for."""
    for name, value in values.items():
        if value is not None:
            return _of_value(name, value)
    return None


def _of_value(name: str, value: Any) -> AnswerForm:
    subject = f"'{name}'"
    kind = name.partition(".")[2] or name.removeprefix("guided_")
    if kind == "json":
        return _of_json(name, subject, value)
    if kind == "json_object":
        return _of_json(name, subject, _ANY_OBJECT)
    builders: dict[str, Callable[[Any], GrammarPart]] = {
        "choice": choice_part,
        "grammar": grammar_part,
        "regex": regex_part,
    }
    builder = builders[kind]
    return AnswerForm(param=name, subject=subject, build=lambda _: builder(value))


def _of_json(param: str, subject: str, schema: str | dict[str, Any]) -> AnswerForm:
    form = AnswerForm(param=param, subject=subject, build=lambda _: {})
    value: Any = schema
    if isinstance(schema, str):
        try:
            value = parse_json(schema.encode())
        except ValueError as error:
            raise form.refusal(f"the schema is no JSON ({error})") from error
        if not isinstance(value, dict):
            raise form.refusal("the schema is no JSON object")
    return replace(form, build=partial(json_part, value))
