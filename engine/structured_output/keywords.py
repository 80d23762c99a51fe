"""Where schemas stand in a schema.

Owns: the names of the keywords that hold schemas, by shape, and which ones assert nothing. Must not
know: what any of them means. All else (enum, const, default...) is data.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

__all__ = ["ANNOTATIONS", "FORMATS", "LISTS", "MAPS", "ONE", "reference_text", "subschemas"]

_URI_SIGNS = "%#/?:@!$&'()*+,;=~"

ONE = frozenset(
    (
        *("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not"),
        *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
    )
)
LISTS = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
FORMATS = frozenset(
    (
        *("date", "date-time", "duration", "email", "hostname", "idn-email", "idn-hostname"),
        *("ipv4", "ipv6", "iri", "iri-reference", "json-pointer", "regex"),
        *("relative-json-pointer", "time", "uri", "uri-reference", "uri-template", "uuid"),
    )
)
"""The formats that JSON Schema defines. Any other is an annotation."""
ANNOTATIONS = frozenset(
    (
        *("$comment", "default", "deprecated", "description", "example", "examples", "nullable"),
        *("readOnly", "title", "writeOnly"),
    )
)
"""Keywords beside which a schema still takes any value."""
MAPS = frozenset(("$defs", "definitions", "dependentSchemas", "patternProperties", "properties"))


def subschemas(schema: dict[str, Any]) -> Iterator[tuple[dict[str, Any] | list[Any], Any, Any]]:
    """Each schema directly inside this one: its container, its key there, and itself."""
    for key, value in schema.items():
        if key in MAPS and isinstance(value, dict):
            yield from ((value, name, item) for name, item in value.items())
        elif key in LISTS and isinstance(value, list):
            yield from ((value, index, item) for index, item in enumerate(value))
        elif key in ONE:
            yield schema, key, value


def reference_text(text: str) -> str:
    """A reference as a URI: names such as List<int> are common, and are none."""
    return quote(text, safe=_URI_SIGNS)
