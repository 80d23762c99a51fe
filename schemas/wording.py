"""How values, types and places are named in a message to a client.

Owns: the wording. Must not know: which checks exist.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

__all__ = ["MAX_SHOWN_CHARS", "param_path", "quoted_list", "show", "type_name"]

MAX_SHOWN_CHARS = 200
_MAX_SHOWN_BITS = 256
_MAX_SHOWN_ITEMS = 4

_TYPE_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def type_name(value: Any) -> str:
    """The JSON type of a value, with its article."""
    return _TYPE_NAMES.get(type(value), "a value that JSON does not have")


def show(value: Any) -> str:
    """A bad value as a message shows it: on one line, and never long."""
    if isinstance(value, str):
        return f"'{_clip(value)}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _show_int(value)
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, list):
        return _show_list(value)
    return type_name(value)


def quoted_list(words: Sequence[str], last: str = "and") -> str:
    """'a', 'b', and 'c' - with OpenAI's commas."""
    quoted = [f"'{word}'" for word in words]
    if len(quoted) < 3:
        return f" {last} ".join(quoted)
    return f"{', '.join(quoted[:-1])}, {last} {quoted[-1]}"


def param_path(location: Sequence[str | int]) -> str | None:
    """`messages[0].role` for ("messages", 0, "role"); None for the body itself."""
    if not location:
        return None
    steps = (f"[{step}]" if isinstance(step, int) else f".{_clip(step)}" for step in location)
    return "".join(steps).removeprefix(".")


def _clip(text: str) -> str:
    if len(text) > MAX_SHOWN_CHARS:
        text = text[:MAX_SHOWN_CHARS] + "..."
    if text.isprintable():
        return text
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)[1:-1]


def _show_list(value: list[Any]) -> str:
    """Its first items; what is nested in them, only by type."""
    items = value[:_MAX_SHOWN_ITEMS]
    shown = [
        show(item) if isinstance(item, str | int | float) else type_name(item) for item in items
    ]
    if len(value) > _MAX_SHOWN_ITEMS:
        shown.append("...")
    return f"[{', '.join(shown)}]"


def _show_int(value: int) -> str:
    if value.bit_length() <= _MAX_SHOWN_BITS:
        return str(value)
    sign = "-" if value < 0 else ""
    return f"about {sign}10^{int(value.bit_length() * math.log10(2))}"
