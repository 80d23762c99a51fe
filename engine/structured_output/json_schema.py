"""JSON schemas, made ready for the grammar library.

Owns: what is refused by name because it could not be enforced, what is left out because it is no
assertion, and that white space and numbers have an end. Must not know: requests, tokens. The
library itself refuses every keyword of the schema's draft that it does not implement; here are the
rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import GrammarError
from engine.structured_output.excluded_words import exclude_words, pattern_without
from engine.structured_output.free_values import bound_dates, bound_numbers, fill_free_values
from engine.structured_output.keywords import FORMATS, LISTS, MAPS, ONE, reference_text
from engine.structured_output.patterns import ascii_classes

__all__ = ["COMPACT", "FLEXIBLE", "JsonStyle", "prepare_schema"]

_MAX_NODES = 100_000
_MAX_DEPTH = 100
_MAX_REFERENCES = 200  # in a row; the library follows them recursively

# Without \u escapes: a name that is spelled with them would slip past `properties`.
_ESCAPES = 'nrbtf\\"'

# Keywords of some draft that the library takes for annotations where the draft is another.
_LEGACY = ("$recursiveRef", "$dynamicRef", "dependencies", "extends", "disallow", "divisibleBy")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonStyle:
    """How JSON is written. `white_space` is a regex for what may stand between its parts, None for
    nothing; the separators are regexes too. `closes_objects`: objects whose schema lists properties
    and does not say otherwise have no others. `excluded_words` stand in no string and no name.
    """

    white_space: str | None = None
    item_separator: str = ","
    key_separator: str = ":"
    closes_objects: bool = False
    excluded_words: tuple[str, ...] = ()

    def options(self) -> dict[str, Any]:
        """The library's options; each is given, so that a schema cannot bring its own."""
        return {
            "coerce_one_of": False,
            "item_separator": self.item_separator,
            "json_allow_general_unicode_escapes": False,
            "json_allowed_escapes": _ESCAPES,
            "key_separator": self.key_separator,
            "lenient": False,
            "whitespace_flexible": False,
            **({"whitespace_pattern": self.white_space} if self.white_space else {}),
        }


FLEXIBLE = JsonStyle(white_space=r"\r?\n[ \t]{0,40}|[ \t]{1,4}")
"""One line or indented; white space has an end, so that a model cannot be lost in it."""

COMPACT = JsonStyle(item_separator=", ?", key_separator=": ?")
"""One line, as chat templates print calls."""


def prepare_schema(schema: dict[str, Any], style: JsonStyle = FLEXIBLE) -> dict[str, Any]:
    """A copy for the library. Raises GrammarError for what cannot be enforced."""
    prepared = _Walk(closes_objects=style.closes_objects).copy(schema, 0)
    _check_references(schema)
    assert isinstance(prepared, dict)
    if style.excluded_words:
        exclude_words(prepared, style.excluded_words)
        fill_free_values(prepared, text_pattern=pattern_without(style.excluded_words))
    else:
        fill_free_values(prepared)
    prepared["x-guidance"] = style.options()
    return prepared


class _Walk:
    """Copies a schema and all schemas in it; data (enum, const, default) stays as it is."""

    def __init__(self, *, closes_objects: bool) -> None:
        self._closes_objects = closes_objects
        self._num_nodes = 0

    def copy(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            if isinstance(schema, bool):
                return schema
            raise GrammarError(f"{_shown(schema)} is not a schema: expected an object or a boolean")
        self._num_nodes += 1
        if self._num_nodes > _MAX_NODES:
            raise GrammarError(f"the schema has more than {_MAX_NODES} parts")
        if depth > _MAX_DEPTH:
            raise GrammarError(f"the schema is nested more than {_MAX_DEPTH} levels deep")
        _check_keywords(schema)
        result = {key: self._value(key, value, depth + 1) for key, value in schema.items()}
        result.pop("x-guidance", None)
        if result.get("format") not in FORMATS:
            result.pop("format", None)
        if self._closes_objects and "properties" in result:
            result.setdefault("additionalProperties", False)
        bound_numbers(result)
        bound_dates(result)
        return result

    def _value(self, key: str, value: Any, depth: int) -> Any:
        if key == "patternProperties" and isinstance(value, dict):
            return {ascii_classes(name): self.copy(item, depth) for name, item in value.items()}
        if key in MAPS and isinstance(value, dict):
            return {name: self.copy(item, depth) for name, item in value.items()}
        if key in LISTS and isinstance(value, list):
            return [self.copy(item, depth) for item in value]
        if key in ONE:
            return self.copy(value, depth)
        if key == "$ref" and isinstance(value, str):
            return reference_text(value)
        if key == "pattern" and isinstance(value, str):
            return ascii_classes(value)
        return value


def _check_keywords(schema: dict[str, Any]) -> None:
    for keyword in _LEGACY:
        if keyword in schema:
            raise GrammarError(f"the keyword '{keyword}' is not supported")
    least = schema.get("minProperties")
    required = schema.get("required")
    num_sure = len(set(map(str, required))) if isinstance(required, list) else 0
    if isinstance(least, int | float) and least > max(1, num_sure):
        # A grammar cannot tell that a name occurs twice, and counts it twice.
        raise GrammarError(
            f"'minProperties' {_shown(least)} is not supported: at most 1, or as many as are "
            "'required'"
        )


def _check_references(schema: dict[str, Any]) -> None:
    """Refuse references that lead to references for too long; rings are the library's affair."""
    next_of: dict[str, str] = {}
    for name in ("$defs", "definitions"):
        definitions = schema.get(name)
        if isinstance(definitions, dict):
            for key, value in definitions.items():
                if (target := _only_reference(value)) is not None:
                    next_of[f"#/{name}/{key}"] = target
    lengths: dict[str, int] = {}
    for start in next_of:
        path = list(_follow(start, next_of, lengths))
        length = lengths.get(next_of.get(path[-1], ""), 0) if path else 0
        for reference in reversed(path):
            length += 1
            lengths[reference] = length
        if length > _MAX_REFERENCES:
            raise GrammarError(f"more than {_MAX_REFERENCES} '$ref' follow each other")


def _follow(start: str, next_of: dict[str, str], lengths: dict[str, int]) -> Iterator[str]:
    seen: set[str] = set()
    at: str | None = start
    while at in next_of and at not in seen and at not in lengths:
        assert at is not None
        seen.add(at)
        yield at
        at = next_of[at]


def _only_reference(schema: Any) -> str | None:
    target = schema.get("$ref") if isinstance(schema, dict) else None
    return target if isinstance(target, str) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
