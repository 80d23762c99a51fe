"""Values that a schema leaves free, given an end.

Owns: bounds for numbers that have none, and the schema that stands for any value. Must not know:
what is refused, tokens. A model that is lost in digits would write a number that no reader takes
(1e999), and JSON Schema has nothing against it; so numbers lie between -10^18 and 10^18 unless the
schema has bounds of its own, and have no exponent.
"""

from collections.abc import Iterator
from typing import Any

from engine.structured_output.keywords import ANNOTATIONS, reference_text, subschemas

__all__ = ["bound_dates", "bound_numbers", "fill_free_values"]

_BOUND = 10**18  # the greatest the library can make a range of
_LOWER = ("minimum", "exclusiveMinimum")
_UPPER = ("maximum", "exclusiveMaximum")
_NAME = "headrace-any-value"
_KINDS = ("null", "boolean", "number", "string", "array", "object")
# Keywords that merge other schemas into the one they stand in, unless nothing else does.
_MERGING = ("$ref", "anyOf", "oneOf")
_BESIDE = ANNOTATIONS | {"$defs", "$schema", "definitions", "discriminator", "x-guidance"}
# JSON Schema's dates, as grammars have them, know a year 0 and a 29th of February in all years.
_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_FOURTH = r"(?:0[48]|[2468][048]|[13579][26])"
_LEAP_YEAR = rf"(?:\d\d{_FOURTH}|{_FOURTH}00)"
_DATE = rf"^(?:{_YEAR}-(?:0[13-9]|1[0-2])|{_YEAR}-02-(?:[01]\d|2[0-8])|{_LEAP_YEAR}-02-29)"


def bound_numbers(schema: dict[str, Any]) -> None:
    """Give a schema of numbers the bounds it lacks."""
    kinds = schema.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    if "const" in schema or "enum" in schema or not {"integer", "number"} & set(map(str, names)):
        return
    given = [schema[key] for key in (*_LOWER, *_UPPER) if key in schema]
    if any(not isinstance(value, int | float) or abs(value) > _BOUND for value in given):
        return
    if not any(key in schema for key in _LOWER):
        schema["minimum"] = -_BOUND
    if not any(key in schema for key in _UPPER):
        schema["maximum"] = _BOUND


def bound_dates(schema: dict[str, Any]) -> None:
    """Keep dates within the calendar."""
    if schema.get("format") not in ("date", "date-time"):
        return
    if "pattern" in schema:
        schema["allOf"] = [*schema.get("allOf", ()), {"pattern": _DATE}]
    else:
        schema["pattern"] = _DATE


def fill_free_values(schema: dict[str, Any], *, text_pattern: str | None = None) -> None:
    """Put a definition of any value where the root schema, or one in it, takes any value.

    Schemas that are merged with others stay as they are: the library cannot merge the definition
    with itself. `text_pattern`: the pattern of all strings and names in such values.
    """
    place = "definitions" if "definitions" in schema and "$defs" not in schema else "$defs"
    merged = frozenset(_merged_definitions(schema))
    if merged - {"#"} - {reference for reference, _ in _split_definitions(schema)[1]}:
        return  # one of them is somewhere else
    filler = _Filler(f"#/{place}/{_NAME}", merged)
    filler.fill(schema, "#")
    if filler.is_used:
        schema[place] = {**schema.get(place, {}), _NAME: filler.any_value(text_pattern)}


class _Filler:
    """Walks a schema. `merged` are the definitions to be left alone, by their references."""

    def __init__(self, reference: str, merged: frozenset[str]) -> None:
        self.is_used = False
        self._reference = reference
        self._merged = merged

    def any_value(self, text_pattern: str | None) -> dict[str, Any]:
        """The definition."""
        value = {
            "type": list(_KINDS),
            "minimum": -_BOUND,
            "maximum": _BOUND,
            "items": self._any(),
        }
        if text_pattern is None:
            return {**value, "additionalProperties": self._any()}
        return {
            **value,
            "pattern": text_pattern,
            "patternProperties": {text_pattern: self._any()},
            "additionalProperties": False,
        }

    def fill(self, schema: dict[str, Any], pointer: str) -> None:
        """`pointer` is the reference to the schema, as far as it is a definition."""
        if _merges(schema) or pointer in self._merged:
            _, definitions = _split_definitions(schema)
            for name, item in definitions:
                if isinstance(item, dict):
                    self.fill(item, name)
            return
        for container, key, item in list(subschemas(schema)):
            if item is True or (isinstance(item, dict) and item.keys() <= ANNOTATIONS):
                container[key] = self._any()
            elif isinstance(item, dict):
                self.fill(item, _pointer(schema, container, key))
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "object" in kinds and not schema.keys() & {"additionalProperties", "const", "enum"}:
            schema["additionalProperties"] = self._any()
        if "array" in kinds and not schema.keys() & {"items", "const", "enum"}:
            schema["items"] = self._any()
        if pointer == "#" and schema.keys() - {"x-guidance"} <= ANNOTATIONS:
            schema |= self._any()

    def _any(self) -> dict[str, Any]:
        self.is_used = True
        return {"$ref": self._reference}


def _merges(schema: dict[str, Any]) -> bool:
    """Whether the schema is made of others: allOf, or one of the rest beside more keywords."""
    if "allOf" in schema or "$id" in schema:
        return True
    merged = [key for key in _MERGING if key in schema]
    return bool(merged) and not schema.keys() - {merged[0]} <= _BESIDE


def _merged_definitions(schema: dict[str, Any]) -> set[str]:
    """References to all definitions that something merged leads to."""
    definitions = dict(_split_definitions(schema)[1])
    open_references = [
        reference
        for item in _all_schemas(schema)
        if _merges(item)
        for part in _all_schemas(_split_definitions(item)[0])
        if isinstance(reference := part.get("$ref"), str)
    ]
    merged: set[str] = set()
    while open_references:
        reference = open_references.pop()
        if reference not in merged:
            merged.add(reference)
            target = definitions.get(reference)
            if isinstance(target, dict):
                found = (part.get("$ref") for part in _all_schemas(target))
                open_references += [item for item in found if isinstance(item, str)]
    return merged


def _all_schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for _, _, item in subschemas(schema):
        if isinstance(item, dict):
            yield from _all_schemas(item)


def _split_definitions(
    schema: dict[str, Any],
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The schema without its definitions, and these by the references to them."""
    places = [key for key in ("$defs", "definitions") if isinstance(schema.get(key), dict)]
    rest = {key: value for key, value in schema.items() if key not in places}
    return rest, [
        (_reference(place, name), item) for place in places for name, item in schema[place].items()
    ]


def _pointer(schema: dict[str, Any], container: Any, key: Any) -> str:
    """The reference to a schema inside the root, if it is a definition."""
    for place in ("$defs", "definitions"):
        if container is schema.get(place):
            return _reference(place, key)
    return ""


def _reference(place: str, name: str) -> str:
    return f"#/{place}/{reference_text(name.replace('~', '~0').replace('/', '~1'))}"
