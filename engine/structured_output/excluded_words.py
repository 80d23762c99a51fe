"""Words that must not stand in a value, because its reader would take them for the end of it.

Owns: texts without them, and keeping them out of JSON: out of every string and every name that a
schema leaves free. Must not know: families, tokens. Where a name or a constant cannot be kept apart
from them, the schema is refused.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from engine.errors import GrammarError
from engine.structured_output.keywords import subschemas
from engine.structured_output.patterns import regex

__all__ = ["exclude_words", "pattern_without", "text_without"]

_STRINGS = frozenset(("maxLength", "minLength", "pattern"))
_OBJECTS = frozenset(("additionalProperties", "patternProperties", "properties", "required"))
_DECIDED = frozenset(("$ref", "allOf", "anyOf", "const", "enum", "format", "oneOf"))
_PLAIN_NAME = re.compile(r"\^(?:[A-Za-z0-9_(){}|,?*+.-]|\[[A-Za-z0-9_.-]+\]|\\[dw.-])*\$")
_RANGE = re.compile(r"(?:a-z|A-Z|0-9|-\])")


def pattern_without(words: Sequence[str]) -> str:
    """A pattern of texts in which none of the words stands. All begin with the same sign, which
    comes only there.
    """
    (first,) = {word[0] for word in words}
    assert all(first not in word[1:] for word in words)
    sign = re.escape(first)
    return f"^[^{sign}]*(?:{sign}{_not_beginning([word[1:] for word in words], sign)})*$"


def text_without(words: Sequence[str]) -> str:
    """The terminal of a Lark grammar for such texts."""
    return regex(pattern_without(words)[1:-1])


def _not_beginning(tails: Sequence[str], sign: str) -> str:
    """Texts without `sign` that begin with none of the tails."""
    following: dict[str, list[str]] = {}
    for tail in tails:
        following.setdefault(tail[0], []).append(tail[1:])
    outside = "".join(map(re.escape, sorted(following)))
    branches = [f"[^{sign}{outside}][^{sign}]*"]
    for letter, rests in sorted(following.items()):
        if all(rests):
            branches.append(f"{re.escape(letter)}{_not_beginning(rests, sign)}")
    return f"(?:{'|'.join(branches)})?"


def exclude_words(schema: dict[str, Any], words: Sequence[str]) -> None:
    """Change the schema, and all in it, so that no JSON under it holds one of the words. What it
    leaves entirely free stays so. Raises GrammarError.
    """
    pattern = pattern_without(words)
    open_schemas = [schema]
    while open_schemas:
        item = open_schemas.pop()
        # What is inside comes first: what is put in here needs no more.
        open_schemas += [inner for _, _, inner in subschemas(item) if isinstance(inner, dict)]
        _check_merged(item)
        _exclude_from_constants(item, words)
        _exclude_from_strings(item, pattern)
        _exclude_from_names(item, words, pattern)


def _check_merged(schema: dict[str, Any]) -> None:
    """Objects that are merged with others cannot be closed one by one."""
    for part in schema.get("allOf") or ():
        if isinstance(part, dict) and (part.keys() & (_OBJECTS | {"$ref", "anyOf", "oneOf"})):
            raise GrammarError("'allOf' of objects or references is not supported in a call")


def _exclude_from_constants(schema: dict[str, Any], words: Sequence[str]) -> None:
    if "const" in schema and _holds(schema["const"], words):
        raise GrammarError(f"the constant {schema['const']!r} cannot be written in a call")
    if isinstance(schema.get("enum"), list):
        left = [value for value in schema["enum"] if not _holds(value, words)]
        if not left:
            raise GrammarError("none of the values of an 'enum' can be written in a call")
        schema["enum"] = left


def _exclude_from_strings(schema: dict[str, Any], pattern: str) -> None:
    kinds = _kinds(schema)
    if schema.keys() & _DECIDED or not ("string" in kinds or schema.keys() & _STRINGS):
        return
    if "pattern" in schema:
        schema["allOf"] = [{"pattern": pattern}]
    else:
        schema["pattern"] = pattern


def _exclude_from_names(schema: dict[str, Any], words: Sequence[str], pattern: str) -> None:
    if not ("object" in _kinds(schema) or schema.keys() & _OBJECTS):
        return
    for name in schema.get("properties") or ():
        if _holds(name, words):
            raise GrammarError(f"the name {name!r} cannot be written in a call")
    for name in schema.get("patternProperties") or ():
        is_plain = _PLAIN_NAME.fullmatch(name) and "." not in re.sub(r"\\.|\[[^]]*\]", "", name)
        if not is_plain or re.search(r"\w-\w", _RANGE.sub("", name)):
            raise GrammarError(
                f"the pattern '{name}' of 'patternProperties' is not supported in a call: it has "
                "to say from ^ to $ which letters and digits there are"
            )
    additional = schema.get("additionalProperties", True)
    if additional is False or schema.keys() & {"$ref", "const", "enum"}:
        return
    schema["additionalProperties"] = False
    if not schema.get("properties") and not schema.get("patternProperties"):
        schema["patternProperties"] = {pattern: additional}


def _kinds(schema: dict[str, Any]) -> list[Any]:
    kinds = schema.get("type")
    return kinds if isinstance(kinds, list) else [kinds]


def _holds(value: Any, words: Sequence[str]) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return any(word in text for word in words)
