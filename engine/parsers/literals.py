"""Python literals that models write: 'text', None, (1, 2), {'a': [True]}.

Owns: reading such a literal into a value that JSON has, and making the source of one readable for
`ast`. Must not know: calls, tools, families. Nothing is ever evaluated: `ast` only parses, and what
is no literal is refused. Size and depth are bounded.

The names JSON has for its constants (true, null) count as well: models mix the two languages.
"""

import ast
import keyword
import math
import re
from typing import Any

__all__ = [
    "LITERAL_ERRORS",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "STRING",
    "argument_name",
    "literal_value",
    "parse_source",
]

LITERAL_ERRORS = (ValueError, SyntaxError, RecursionError, MemoryError)
"""What the functions here raise: no Python, no literal, too long or too deep."""

MAX_LENGTH = 1 << 20
"""The longest source in characters."""

MAX_DEPTH = 64
"""How deep values may be nested."""

_NAMES = {"true": True, "false": False, "null": None, "none": None}
STRING = re.compile(
    r"'''(?:[^'\\]|\\.|'(?!''))*+'''"
    r'|"""(?:[^"\\]|\\.|"(?!""))*+"""'
    r"|'(?!'')(?:[^'\\]|\\.)*+'"
    r'|"(?!"")(?:[^"\\]|\\.)*+"',
    re.DOTALL,
)
"""A whole string literal, without its prefix; possessive, so that it never goes back."""

# A quote that opens no string takes the rest with it: looking on would cost quadratic time.
_PREFIXED = re.compile(
    rf"(?P<prefix>\b[A-Za-z]{{1,2}})?(?:(?P<string>{STRING.pattern})|['\"].*)", re.DOTALL
)
# A backslash that joins lines, one that escapes nothing, and what has to be escaped.
_UNWRITABLE = re.compile(
    r"\\(?P<joint>\r\n|[\r\n])|\\(?P<odd>[^\\'\"abfnrtvxuUN0-7])|[\n\r\x00]", re.DOTALL
)
# Outside of strings: an argument that is called like a word of Python, and a padded number.
_UNPARSABLE = re.compile(
    rf"(?P<string>{STRING.pattern})"
    rf"|(?<![\w.])(?P<word>{'|'.join(keyword.kwlist)})(?=\s*=(?!=))"
    r"|(?<![\w.])0[0_]*(?P<number>[1-9][0-9_]*)(?![\w.])",
    re.DOTALL,
)
_WORD_END = "__word"
_RAW = {"\n": "\\n", "\r": "\\r", "\x00": "\\x00"}


def parse_source(source: str) -> ast.expr:
    """The syntax tree of one expression. Line breaks inside strings, backslashes in front of any
    character, whole numbers with zeros in front and arguments called like a word of Python (see
    `argument_name`) are taken. Raises one of LITERAL_ERRORS.
    """
    if len(source) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    text = _PREFIXED.sub(_writable, source.strip())
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return ast.parse(_UNPARSABLE.sub(_parsable, text), mode="eval").body


def argument_name(name: str) -> str:
    """The name that an argument of a parsed call has in its source."""
    bare = name.removesuffix(_WORD_END)
    return bare if keyword.iskeyword(bare) else name


def literal_value(node: ast.expr, depth: int = MAX_DEPTH) -> Any:
    """The value of a literal: tuples and sets become lists. Raises one of LITERAL_ERRORS."""
    if depth == 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    match node:
        case ast.Constant(value=value):
            return _constant(value)
        case ast.Name(id=name) if name.lower() in _NAMES:
            return _NAMES[name.lower()]
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [literal_value(item, depth - 1) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {
                _key(key): literal_value(value, depth - 1)
                for key, value in zip(keys, values, strict=True)
            }
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
            return _signed(node)
        case ast.JoinedStr(values=parts):
            return "".join(_text_part(part) for part in parts)
    raise ValueError(f"{type(node).__name__} is no literal")


def _parsable(match: re.Match[str]) -> str:
    if match["word"] is not None:
        return match["word"] + _WORD_END
    return match["number"] if match["number"] is not None else match[0]


def _writable(match: re.Match[str]) -> str:
    """The string literal as Python wants it."""
    string = match["string"]
    if string is None:
        raise ValueError("a string without an end")
    if "r" in (match["prefix"] or "").lower():
        return match[0]
    is_triple = string[:3] in ("'''", '"""')

    def escaped(found: re.Match[str]) -> str:
        if found["joint"] is not None:
            return ""
        if found["odd"] is not None:
            return "\\\\" + _RAW.get(found["odd"], found["odd"])
        return found[0] if is_triple and found[0] != "\x00" else _RAW[found[0]]

    return (match["prefix"] or "") + _outside_pairs(string, escaped)


def _outside_pairs(string: str, escaped: Any) -> str:
    """Apply `escaped` to a literal's text, leaving escaped backslashes (two in a row) alone."""
    return "\\\\".join(_UNWRITABLE.sub(escaped, part) for part in _split_pairs(string))


def _split_pairs(string: str) -> list[str]:
    parts: list[str] = []
    start = 0
    for match in re.finditer(r"\\(.)", string, re.DOTALL):
        if match[1] == "\\":
            parts.append(string[start : match.start()])
            start = match.end()
    return [*parts, string[start:]]


def _constant(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("too large a number")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{type(value).__name__} has no form in JSON")


def _signed(node: ast.UnaryOp) -> int | float:
    operand = node.operand
    if not isinstance(operand, ast.Constant) or isinstance(operand.value, bool):
        raise ValueError("a sign before something else than a number")
    value: int | float = _constant(operand.value)
    return -value if isinstance(node.op, ast.USub) else value


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return str(_constant(node.value))
    raise ValueError("a key has to be a string or a number")


def _text_part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("a formatted string with something to fill in")
