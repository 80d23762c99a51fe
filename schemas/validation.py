"""From pydantic's errors to OpenAI's.

Owns: the one table from pydantic's error types to OpenAI's codes and sentences, and which of
several errors a client is told. Must not know: any one request. No word of pydantic's own ever
reaches a client.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.errors import ApiError
from schemas.strict import UNSUPPORTED_VALUE, WRONG_TYPE
from schemas.wording import param_path, quoted_list, show, type_name

__all__ = ["api_error", "request_error"]

_KEY = "[key]"


@dataclass(frozen=True, slots=True)
class _Problem:
    """One pydantic error. `param` is its path, `value` what was there, `context` the bound that
    it broke. With `is_key` the value is a key of the object at `param`.
    """

    param: str | None
    value: Any
    context: Mapping[str, Any]
    is_key: bool

    def refuse(self, code: str, message: str) -> ApiError:
        return ApiError(400, message, param=self.param, code=code)


def api_error(error: ValidationError) -> ApiError:
    """What the client is told: an unknown top-level key if there is one, else the first field, in
    the order in which the model declares them.
    """
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
            return _translate(detail)
    return _translate(details[0])


def request_error(details: Sequence[ErrorDetails]) -> ApiError:
    """The same for parts of a request whose locations begin with the part's name: ("query",
    "limit").
    """
    first, value = details[0], details[0]["input"]
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        value = int(value)  # a number that is out of range is shown as one
    return _translate({**first, "loc": tuple(first["loc"][1:]), "input": value})


def _translate(detail: ErrorDetails) -> ApiError:
    location, value = detail["loc"], detail["input"]
    is_key = len(location) > 1 and location[-1] == _KEY and location[-2] == value
    if is_key:
        location = location[:-2]
    problem = _Problem(param_path(location), value, detail.get("ctx", {}), is_key)
    return _TRANSLATIONS.get(detail["type"], _invalid_value)(problem)


def _missing(problem: _Problem) -> ApiError:
    message = f"Missing required parameter: '{problem.param}'."
    return problem.refuse("missing_required_parameter", message)


def _unknown(problem: _Problem) -> ApiError:
    return problem.refuse("unknown_parameter", f"Unknown parameter: '{problem.param}'.")


def _invalid_type(expected: str, problem: _Problem) -> ApiError:
    message = (
        f"Invalid type for '{problem.param}': expected {expected}, "
        f"but got {type_name(problem.value)} instead."
    )
    return problem.refuse("invalid_type", message)


def _no_alternative(problem: _Problem) -> ApiError:
    return _invalid_type(problem.context["expected"], problem)


def _not_a_decimal(problem: _Problem) -> ApiError:
    value = problem.value
    if not isinstance(value, int) or isinstance(value, bool):
        return _invalid_type("a decimal", problem)
    side, bound = ("below", "minimum") if value < 0 else ("above", "maximum")
    message = (
        f"Invalid '{problem.param}': decimal {side} {bound} value. "
        f"Expected a 64-bit float, but got {show(value)} instead."
    )
    return problem.refuse(f"decimal_{side}_{bound[:3]}_value", message)


def _not_finite(problem: _Problem) -> ApiError:
    message = f"Invalid '{problem.param}': expected a finite number, but got {show(problem.value)}."
    return problem.refuse("invalid_value", message)


def _not_listed(problem: _Problem) -> ApiError:
    if not isinstance(problem.value, str):
        return _invalid_type("a string", problem)
    message = (
        f"Invalid value: {show(problem.value)}. Supported values are: {_listed(problem)}. "
        f"Parameter: '{problem.param}'."
    )
    return problem.refuse("invalid_value", message)


def _unsupported(problem: _Problem) -> ApiError:
    message = (
        f"Unsupported value: '{problem.param}' does not support {show(problem.value)} "
        f"with this model. Supported values are: {_listed(problem)}."
    )
    return problem.refuse("unsupported_value", message)


def _listed(problem: _Problem) -> str:
    """Pydantic's "'a', 'b' or 'c'" with OpenAI's commas."""
    return quoted_list(re.findall(r"'([^']*)'", problem.context["expected"]))


def _out_of_range(context_key: str, sign: str, problem: _Problem) -> ApiError:
    limit = problem.context[context_key]
    kind = "integer" if isinstance(limit, int) else "decimal"
    side, bound = ("below", "minimum") if sign.startswith(">") else ("above", "maximum")
    message = (
        f"Invalid '{problem.param}': {kind} {side} {bound} value. "
        f"Expected a value {sign} {show(limit)}, but got {show(problem.value)} instead."
    )
    return problem.refuse(f"{kind}_{side}_{bound[:3]}_value", message)


def _too_short(problem: _Problem) -> ApiError:
    """A list, or a text: both in OpenAI's words."""
    limit, length = problem.context["min_length"], len(problem.value)
    kind = "string" if isinstance(problem.value, str) else "array"
    article = "a" if kind == "string" else "an"
    expected = f"Expected {article} {kind} with minimum length {limit}, but got"
    if length == 0:
        message = f"Invalid '{problem.param}': empty {kind}. {expected} an empty {kind} instead."
        return problem.refuse(f"empty_{kind}", message)
    message = (
        f"Invalid '{problem.param}': {kind} too short. "
        f"{expected} {article} {kind} with length {length} instead."
    )
    return problem.refuse(f"{kind}_below_min_length", message)


def _too_long(problem: _Problem) -> ApiError:
    limit, length = problem.context["max_length"], len(problem.value)
    if isinstance(problem.value, dict):
        message = (
            f"Invalid '{problem.param}': too many properties. Expected an object with at most "
            f"{limit} properties, but got an object with {length} properties instead."
        )
        return problem.refuse("object_above_max_properties", message)
    if problem.is_key:
        message = (
            f"Invalid property name in '{problem.param}': {show(problem.value)} is too long. "
            f"Expected a property name with maximum length {limit}, "
            f"but got one with length {length} instead."
        )
        return problem.refuse("property_name_above_max_length", message)
    kind, article = ("string", "a") if isinstance(problem.value, str) else ("array", "an")
    message = (
        f"Invalid '{problem.param}': {kind} too long. Expected {article} {kind} with maximum "
        f"length {limit}, but got {article} {kind} with length {length} instead."
    )
    return problem.refuse(f"{kind}_above_max_length", message)


def _no_match(problem: _Problem) -> ApiError:
    pattern = problem.context["pattern"]
    subject = f"property name in '{problem.param}'" if problem.is_key else f"'{problem.param}'"
    message = (
        f"Invalid {subject}: string does not match pattern. Expected a string that matches "
        f"the pattern '{pattern}', but got {show(problem.value)} instead."
    )
    return problem.refuse("invalid_value", message)


def _invalid_value(problem: _Problem) -> ApiError:
    """Whatever has no line in the table; also text that is not Unicode."""
    subject = f"'{problem.param}'" if problem.param else "the body"
    return problem.refuse("invalid_value", f"Invalid value for {subject}: {show(problem.value)}.")


_TRANSLATIONS: dict[str, Callable[[_Problem], ApiError]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "invalid_key": _unknown,
    WRONG_TYPE: _no_alternative,
    "string_type": partial(_invalid_type, "a string"),
    "int_type": partial(_invalid_type, "an integer"),
    "int_parsing": partial(_invalid_type, "an integer"),
    "float_type": _not_a_decimal,
    "bool_type": partial(_invalid_type, "a boolean"),
    "list_type": partial(_invalid_type, "an array"),
    "dict_type": partial(_invalid_type, "an object"),
    "model_type": partial(_invalid_type, "an object"),
    "finite_number": _not_finite,
    "literal_error": _not_listed,
    UNSUPPORTED_VALUE: _unsupported,
    "greater_than_equal": partial(_out_of_range, "ge", ">="),
    "greater_than": partial(_out_of_range, "gt", ">"),
    "less_than_equal": partial(_out_of_range, "le", "<="),
    "less_than": partial(_out_of_range, "lt", "<"),
    "too_short": _too_short,
    "string_too_short": _too_short,
    "too_long": _too_long,
    "string_too_long": _too_long,
    "string_pattern_mismatch": _no_match,
}
