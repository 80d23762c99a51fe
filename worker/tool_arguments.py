"""Whether a call's arguments fit the schema of its tool.

Owns: the verdict, and the bounds under which it is reached. Must not know: how calls are found,
rows. Schemas come from clients: one that loops, explodes or matches for ever gets no verdict, never
a hanging worker. So steps are counted, patterns get a time limit, references stay inside the
schema, and the keywords of `jsonschema` that would do unbounded work unseen are replaced.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from time import monotonic
from typing import Any

import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import UnknownType
from referencing import Registry
from referencing.exceptions import Unresolvable

from engine.parsers.contract import ToolCall

__all__ = ["arguments_are_valid"]

_MAX_STEPS = 20_000
_MAX_SECONDS = 0.5
_PATTERN_SECONDS = 0.1
_MAX_UNIQUE_ITEMS = 300
_MAX_NODES = 50_000
_MAX_REFERENCES = 32  # in a schema whose unevaluated keywords walk them uncounted

_Keyword = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]
# What the keywords of a malformed schema run into; there is no list of them anywhere.
_SCHEMA_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    UnknownType,
    Unresolvable,
    ValueError,
    regex.error,
)


class _UndecidedError(Exception):
    """The bounds are used up, or would be by a keyword whose work cannot be counted."""


class _Budget:
    """What is left for one verdict."""

    def __init__(self) -> None:
        self._steps = _MAX_STEPS
        self._deadline = monotonic() + _MAX_SECONDS

    def spend(self) -> None:
        self._steps -= 1
        if self._steps < 0 or monotonic() > self._deadline:
            raise _UndecidedError


_budget: ContextVar[_Budget] = ContextVar("budget")


def arguments_are_valid(
    calls: Sequence[ToolCall], tools: Sequence[Mapping[str, Any]]
) -> bool | None:
    """Whether the arguments of every call fit their tool's `parameters`. None without calls, and
    if it cannot be said within the bounds. A tool without parameters takes any object.
    """
    schemas = {tool.get("name"): tool.get("parameters") for tool in tools}
    verdicts = [_fits(call, schemas.get(call.name)) for call in calls]
    if False in verdicts:
        return False
    return None if None in verdicts or not verdicts else True


def _fits(call: ToolCall, schema: Any) -> bool | None:
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return False
    if not isinstance(arguments, dict):
        return False
    if schema is None:
        return True
    token = _budget.set(_Budget())
    try:
        return _validate(arguments, schema)
    except (_UndecidedError, TimeoutError, *_SCHEMA_ERRORS):
        return None
    finally:
        _budget.reset(token)


def _validate(arguments: dict[str, Any], schema: Any) -> bool:
    _check_size(schema)
    draft = validators.validator_for(schema, default=Draft202012Validator)
    # A part that names a draft would switch to jsonschema's own keywords; _check_size saw none.
    body = {key: value for key, value in schema.items() if key != "$schema"}
    # A registry of our own: jsonschema's would fetch what a reference names.
    registry: Registry[Any] = Registry()
    return bool(_bounded(draft)(body, registry=registry).is_valid(arguments))


def _check_size(schema: dict[str, Any]) -> None:
    """Look at every node once, without recursion."""
    waiting: list[Any] = [schema]
    num_nodes = num_references = 0
    is_unevaluated = False
    while waiting:
        node = waiting.pop()
        num_nodes += 1
        if isinstance(node, dict):
            num_references += "$ref" in node or "$dynamicRef" in node
            is_unevaluated |= "unevaluatedProperties" in node or "unevaluatedItems" in node
            if node is not schema and isinstance(node.get("$schema"), str):
                raise _UndecidedError
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
        if num_nodes > _MAX_NODES or (is_unevaluated and num_references > _MAX_REFERENCES):
            raise _UndecidedError


@cache
def _bounded(draft: Any) -> Any:
    """The draft's validator, with every keyword counted and the unbounded ones replaced."""
    replaced: dict[str, _Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items(draft.VALIDATORS["uniqueItems"]),
    }
    keywords = {**draft.VALIDATORS, **replaced}
    counted = {name: _counted(keyword) for name, keyword in keywords.items()}
    extend: Any = validators.extend
    return extend(draft, counted)


def _counted(keyword: _Keyword) -> _Keyword:
    def check(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterable[ValidationError] | None:
        _budget.get().spend()
        return keyword(validator, value, instance, schema)

    return check


def _matches(pattern: str, text: str) -> bool:
    """Raises TimeoutError, or regex.error for a pattern of another dialect."""
    _budget.get().spend()
    return regex.search(pattern, text, timeout=_PATTERN_SECONDS) is not None


def _pattern(validator: Any, value: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matches(value, instance):
        yield ValidationError("a string does not match its pattern")


def _pattern_properties(
    validator: Any, value: Any, instance: Any, _: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, part in value.items():
        for key, item in instance.items():
            if _matches(pattern, key):
                yield from validator.descend(item, part)


def _additional_properties(
    validator: Any, value: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    declared = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    for key, item in instance.items():
        if key not in declared and not any(_matches(pattern, key) for pattern in patterns):
            yield from validator.descend(item, value)


def _unique_items(keyword: _Keyword) -> _Keyword:
    """The keyword of jsonschema, which compares mixed items pair by pair, for short lists only."""

    def check(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterable[ValidationError] | None:
        if isinstance(instance, list) and len(instance) > _MAX_UNIQUE_ITEMS:
            raise _UndecidedError
        return keyword(validator, value, instance, schema)

    return check
