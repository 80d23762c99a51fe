"""Tools, and which of them the model may or must call.

Owns: tool definitions, tool_choice, and the deprecated functions they replaced. Must not know:
how a template shows tools, how calls are found in the output. A tool's `parameters` are a JSON
schema and are not looked into here.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.strict import StrictModel, by_tag, by_type, checked

__all__ = [
    "AllowedToolsChoice",
    "CustomChoice",
    "CustomTool",
    "FunctionCallChoice",
    "FunctionDefinition",
    "FunctionTool",
    "Functions",
    "NamedFunction",
    "NamedToolChoice",
    "Tool",
    "ToolChoice",
    "Tools",
    "chosen_name",
]

ToolName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")]


class FunctionDefinition(StrictModel):
    """What can be called."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(StrictModel):
    """A tool whose arguments are a JSON object."""

    type: Literal["function"]
    function: FunctionDefinition


class CustomGrammar(StrictModel):
    """The language of a custom tool's input."""

    definition: str
    syntax: Literal["lark", "regex"]


class CustomTextFormat(StrictModel):
    """Any text."""

    type: Literal["text"]


class CustomGrammarFormat(StrictModel):
    """Text of a grammar."""

    type: Literal["grammar"]
    grammar: CustomGrammar


class CustomDefinition(StrictModel):
    """What can be called with text."""

    name: ToolName
    description: str | None = None
    format: (
        Annotated[
            CustomTextFormat | CustomGrammarFormat,
            by_tag("type", {"text": CustomTextFormat, "grammar": CustomGrammarFormat}),
        ]
        | None
    ) = None


class CustomTool(StrictModel):
    """A tool whose argument is text."""

    type: Literal["custom"]
    custom: CustomDefinition


Tool = FunctionTool | CustomTool

Tools = Annotated[
    list[
        Annotated[
            Tool,
            by_tag("type", {"function": FunctionTool, "custom": CustomTool}, unserved=("custom",)),
        ]
    ],
    Field(min_length=1, fail_fast=True),
]


class NamedFunction(StrictModel):
    """The name of a declared function."""

    name: str


class NamedToolChoice(StrictModel):
    """Call this function."""

    type: Literal["function"]
    function: NamedFunction


class CustomChoice(StrictModel):
    """Call this custom tool."""

    type: Literal["custom"]
    custom: NamedFunction


AllowedTool = Annotated[
    NamedToolChoice | CustomChoice,
    by_tag("type", {"function": NamedToolChoice, "custom": CustomChoice}, unserved=("custom",)),
]


class AllowedTools(StrictModel):
    """Some of the declared tools; `mode` is then as for all."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[AllowedTool], Field(min_length=1, fail_fast=True)]


class AllowedToolsChoice(StrictModel):
    """Call only these."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoiceMode = Literal["none", "auto", "required"]

ToolChoice = Annotated[
    ToolChoiceMode | NamedToolChoice | AllowedToolsChoice | CustomChoice,
    by_type(
        "one of a string or object",
        {
            str: checked(ToolChoiceMode),
            dict: checked(
                Annotated[
                    Any,
                    by_tag(
                        "type",
                        {
                            "function": NamedToolChoice,
                            "allowed_tools": AllowedToolsChoice,
                            "custom": CustomChoice,
                        },
                        unserved=("custom",),
                    ),
                ]
            ),
        },
    ),
]


def chosen_name(choice: NamedToolChoice | CustomChoice) -> tuple[str, str]:
    """Kind and name of a chosen tool."""
    if isinstance(choice, CustomChoice):
        return "custom", choice.custom.name
    return "function", choice.function.name


class DeprecatedFunction(StrictModel):
    """A function as it was declared before there were tools."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None


Functions = Annotated[list[DeprecatedFunction], Field(min_length=1, fail_fast=True)]

FunctionCallChoice = Annotated[
    Literal["none", "auto"] | NamedFunction,
    by_type(
        "one of a string or object",
        {str: checked(Literal["none", "auto"]), dict: NamedFunction.model_validate},
    ),
]
