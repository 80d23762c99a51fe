"""JSON text in and out, strictly.

Owns: the one parser for every byte that comes from outside, and the forms in which values are
written. Must not know: what the JSON means.

The parser is jiter (pydantic-core's): UTF-8 only, at most 200 levels deep, integers of at most
4,300 digits, no lone surrogates, no NaN; of duplicate keys the last wins. It reads `1e999` as an
infinity, which JSON does not have, so that is looked for afterwards.
"""

import json
from typing import Any

from pydantic_core import from_json

__all__ = ["canonical_json", "compact_json", "parse_json", "parse_json_line"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_json(data: bytes) -> Any:
    """The value of one JSON text. Raises ValueError, and nothing else, with a short reason."""
    if data.startswith(_BYTE_ORDER_MARK):
        raise ValueError("the text starts with a byte order mark")
    value = from_json(data, allow_inf_nan=False)
    if _has_infinity(value):
        raise ValueError("a number is too large for a 64-bit float")
    return value


def parse_json_line(data: bytes) -> Any:
    """The value of one line of a file. Raises like `parse_json`, with the column of what is wrong
    alone: the number of the line in its file is the caller's to tell.
    """
    try:
        return parse_json(data)
    except ValueError as error:
        raise ValueError(str(error).replace(" at line 1 column ", " at column ")) from None


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no spaces, UTF-8.

    Raises ValueError for NaN, infinities and lone surrogates.
    """
    return _dumped(value, sort_keys=True)


def compact_json(value: Any) -> bytes:
    """A JSON value whose keys keep their order: that of a schema's properties is the order in which
    an answer has them. Raises like `canonical_json`.
    """
    return _dumped(value, sort_keys=False)


def _dumped(value: Any, *, sort_keys: bool) -> bytes:
    text = json.dumps(
        value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _has_infinity(value: Any) -> bool:
    """Recursion is safe here: the parser bounds the depth. Exact types: the parser makes no
    others, and this is on the path of every line.
    """
    kind = type(value)
    if kind is float:
        return bool(value - value != 0.0)
    if kind is dict:
        children = value.values()
    elif kind is list:
        children = value
    else:
        return False
    for child in children:
        kind = type(child)
        if kind is not str and kind is not int and _has_infinity(child):
            return True
    return False
