"""How request models are declared: strictly, and with errors at the client's own paths.

Owns: the base model, and two ways to choose between models without pydantic's unions, which
would put the names of their branches into the path of an error. Must not know: any one request,
OpenAI's words for errors (validation.py translates).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = [
    "UNSUPPORTED_VALUE",
    "WRONG_TYPE",
    "LenientModel",
    "StrictModel",
    "by_tag",
    "by_type",
    "checked",
    "supported",
]

WRONG_TYPE = "wrong_type"
"""The error type of a value that none of several alternatives takes; `expected` is its context."""

UNSUPPORTED_VALUE = "unsupported_value"
"""The error type of a word outside a list that depends on the model; context as above."""


class StrictModel(BaseModel):
    """Nothing is coerced, unknown keys are errors, numbers are finite."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class LenientModel(StrictModel):
    """The same for what clients send back: keys that it does not know are left out."""

    model_config = ConfigDict(extra="ignore")


def checked(annotation: Any) -> Callable[[Any], Any]:
    """A function that validates one value of the annotated type as strictly as a model would."""
    config = ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter(annotation, config=config).validate_python


def by_tag(
    key: str, models: Mapping[str, type[StrictModel]], *, unserved: Collection[str] = ()
) -> WrapValidator:
    """Take an object and let the model that its `key` names validate it. `unserved` are tags that
    are known but refused later (supported.py), so no error offers them.
    """
    validators = {tag: model.model_validate for tag, model in models.items()}
    expected = _listed(tag for tag in models if tag not in unserved)

    def validate(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong_type("an object")
        tag = value.get(key)
        validator = validators.get(tag) if isinstance(tag, str) else None
        if validator is not None:
            return validator(value)
        detail = InitErrorDetails(type="missing", loc=(key,), input=value)
        if key in value:
            detail = InitErrorDetails(
                type="literal_error", loc=(key,), input=tag, ctx={"expected": expected}
            )
        raise ValidationError.from_exception_data("tag", [detail])

    return WrapValidator(validate)


def by_type(expected: str, validators: Mapping[type, Callable[[Any], Any]]) -> WrapValidator:
    """Let the validator for the value's JSON type take it. `expected` names the types in words:
    "one of a string or array".
    """

    def validate(value: Any, _: Any) -> Any:
        for kind, validator in validators.items():
            if isinstance(value, kind):
                return validator(value)
        raise _wrong_type(expected)

    return WrapValidator(validate)


def supported(*words: str) -> AfterValidator:
    """Like Literal, where OpenAI answers `unsupported_value` instead of `invalid_value`."""

    def validate(value: str) -> str:
        if value not in words:
            raise PydanticCustomError(
                UNSUPPORTED_VALUE, "unsupported", {"expected": _listed(words)}
            )
        return value

    return AfterValidator(validate)


def _listed(words: Iterable[str]) -> str:
    """The form in which pydantic lists the values of a Literal."""
    return ", ".join(f"'{word}'" for word in words)


def _wrong_type(expected: str) -> PydanticCustomError:
    return PydanticCustomError(WRONG_TYPE, "expected {expected}", {"expected": expected})
