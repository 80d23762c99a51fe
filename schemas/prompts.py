"""The prompts of a text completion: one or many, as text or as token ids.

Owns: their shapes. Must not know: the tokenizer (an id may exceed the vocabulary), other
parameters.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from schemas.strict import WRONG_TYPE, by_type, checked
from schemas.vllm_fields import TokenId

__all__ = ["MAX_PROMPTS", "Prompt", "PromptItem", "prompt_items"]

MAX_PROMPTS = 1024

PromptItem: TypeAlias = str | list[int]
_TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
_Many = Field(max_length=MAX_PROMPTS, fail_fast=True)
_check_ids = checked(_TokenIds)
_check_texts = checked(Annotated[list[str], _Many])
_check_id_lists = checked(Annotated[list[_TokenIds], _Many])


def _check_list(value: list[Any]) -> Any:
    """Let the first item say what kind of list it is."""
    if not value or isinstance(value[0], int):
        return _check_ids(value)
    if isinstance(value[0], str):
        return _check_texts(value)
    if isinstance(value[0], list):
        return _check_id_lists(value)
    expected = {"expected": "one of a string, integer, or array"}
    kind = PydanticCustomError(WRONG_TYPE, "expected {expected}", expected)
    detail = InitErrorDetails(type=kind, loc=(0,), input=value[0])
    raise ValidationError.from_exception_data("prompt", [detail])


Prompt = Annotated[
    str | list[str] | list[int] | list[list[int]],
    by_type("one of a string or array", {str: checked(str), list: _check_list}),
]


def prompt_items(prompt: PromptItem | list[str] | list[list[int]]) -> list[PromptItem]:
    """The prompts that a validated `prompt` holds, in order."""
    if isinstance(prompt, str):
        return [prompt]
    items: list[Any] = list(prompt)
    return [items] if isinstance(items[0], int) else items
