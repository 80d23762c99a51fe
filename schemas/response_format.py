"""The form the answer must have: OpenAI's response_format and vLLM's structured_outputs.

Owns: their shapes. Must not know: grammars; a schema is not looked into here.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.strict import StrictModel, by_tag, by_type, checked

__all__ = [
    "CONSTRAINTS",
    "Choices",
    "JsonObjectFormat",
    "JsonSchemaFormat",
    "ResponseFormat",
    "Schema",
    "StructuralTagFormat",
    "StructuredOutputs",
    "TextFormat",
]

Schema = Annotated[
    str | dict[str, Any],
    by_type("one of a string or object", {str: checked(str), dict: checked(dict[str, Any])}),
]
"""A JSON schema, as an object or as JSON text."""

Choices = Annotated[list[str], Field(min_length=1)]


class TextFormat(StrictModel):
    """Any text: the default."""

    type: Literal["text"]


class JsonObjectFormat(StrictModel):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(StrictModel):
    """A named schema."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")]
    description: str | None = None
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class JsonSchemaFormat(StrictModel):
    """JSON that a schema accepts."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class StructuralTagFormat(StrictModel):
    """vLLM's: free text in which some tags open constrained parts; both of its spellings."""

    type: Literal["structural_tag"]
    format: dict[str, Any] | None = None
    structures: list[dict[str, Any]] | None = None
    triggers: list[str] | None = None


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | StructuralTagFormat,
    by_tag(
        "type",
        {
            "text": TextFormat,
            "json_object": JsonObjectFormat,
            "json_schema": JsonSchemaFormat,
            "structural_tag": StructuralTagFormat,
        },
        unserved=("structural_tag",),
    ),
]

CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
"""The keys of structured_outputs of which exactly one says what is enforced."""


class StructuredOutputs(StrictModel):
    """vLLM's extension; the last four keys tune a constraint instead of being one."""

    json_schema: Annotated[Schema | None, Field(alias="json")] = None
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: bool | None = None
    whitespace_pattern: str | None = None
    disable_fallback: bool | None = None

    def constraints(self) -> list[str]:
        """The constraints that are given, by their keys; `json_object: false` is none."""
        values = (
            self.json_schema,
            self.regex,
            self.choice,
            self.grammar,
            self.json_object or None,
            self.structural_tag,
        )
        return [key for key, value in zip(CONSTRAINTS, values, strict=True) if value is not None]
