r"""The patterns of schemas, made ready for the grammar library.

Owns: what `\d`, `\w` and `\s` stand for, and a pattern for a whole text. Must not know: schemas,
JSON. JSON Schema's patterns are those of ECMA-262, whose digits and letters are ASCII; Python's
validators take any script's. The library knows a newer Unicode than Python, so only ASCII is valid
for everybody.
"""

from collections.abc import Sequence

__all__ = ["ascii_classes", "regex", "whole_pattern"]

_ASCII = {"d": "0-9", "s": r" \t\n\r\x0b\x0c", "w": "A-Za-z0-9_"}


def ascii_classes(pattern: str) -> str:
    """The pattern with ASCII digits, letters and blanks only. Classes that say what must not be
    there stay as wide as they are.
    """
    result: list[str] = []
    is_class = is_negated = False
    index = 0
    while index < len(pattern):
        sign = pattern[index]
        if sign == "\\" and index + 1 < len(pattern):
            letter = pattern[index + 1]
            if letter not in _ASCII or is_negated:
                result.append(sign + letter)
            else:
                result.append(_ASCII[letter] if is_class else f"[{_ASCII[letter]}]")
            index += 2
            continue
        if sign == "[" and not is_class:
            is_class, is_negated = True, pattern[index + 1 : index + 2] == "^"
        elif sign == "]" and is_class and not pattern[:index].endswith(("[", "[^")):
            is_class = is_negated = False
        result.append(sign)
        index += 1
    return "".join(result)


def regex(pattern: str) -> str:
    """A regular expression as a Lark grammar writes it."""
    result = []
    is_escaped = False
    for sign in pattern:
        if sign == "\n":
            result.append("n" if is_escaped else "\\n")
        elif sign == "/" and not is_escaped:
            result.append("\\/")
        else:
            result.append(sign)
        is_escaped = sign == "\\" and not is_escaped
    return f"/{''.join(result)}/"


def whole_pattern(pattern: str) -> str:
    """A pattern for all of a text in which `pattern` is found somewhere."""
    parts = []
    for part in _alternatives(ascii_classes(pattern)):
        bare = part.removeprefix("^")
        start = "" if bare != part else "(?s:.)*"
        is_anchored = bare.endswith("$") and not _is_escaped(bare, len(bare) - 1)
        end = "" if is_anchored else "(?s:.)*"
        parts.append(f"{start}(?:{bare[:-1] if is_anchored else bare}){end}")
    return "|".join(parts)


def _alternatives(pattern: str) -> Sequence[str]:
    """The pattern split at the bars outside of groups and classes."""
    parts: list[str] = []
    begin = depth = 0
    is_class = False
    for index, sign in enumerate(pattern):
        if _is_escaped(pattern, index):
            continue
        if is_class:
            is_class = sign != "]" or pattern[:index].endswith(("[", "[^"))
        elif sign == "[":
            is_class = True
        elif sign in "()":
            depth += 1 if sign == "(" else -1
        elif sign == "|" and depth == 0:
            parts.append(pattern[begin:index])
            begin = index + 1
    return [*parts, pattern[begin:]]


def _is_escaped(text: str, index: int) -> bool:
    before = text[max(0, index - 64) : index]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
