"""Grammars in GBNF, the notation of llama.cpp: from the text to its rules.

Owns: reading. Must not know: Lark, tokens, what a grammar is for. Source: grammars/README.md of
llama.cpp. Beyond it, line ends may stand anywhere between symbols and any punctuation may be
escaped, as in xgrammar's notation.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import GrammarError

__all__ = [
    "Alternatives",
    "Characters",
    "Expression",
    "Name",
    "Repeated",
    "Row",
    "is_gbnf",
    "read_gbnf",
]

_LAST = 0x10FFFF
_RULE = re.compile(r"(?m)^[ \t]*[\w-]+\s*::=")
_SYMBOL = re.compile(
    r"""
      (?P<skipped> \s+ | \#[^\r\n]* )
    | (?P<rule>    [\w-]+ \s* ::= )
    | (?P<name>    [\w-]+ )
    | (?P<literal> "(?: \\. | [^"\\] )*" )
    | (?P<class>   \[(?: \\. | [^\]\\] )*\] )
    | (?P<times>   [*+?] | \{\s* \d{1,9} \s*(?: , \s*\d{,9}\s* )?\} )
    | (?P<mark>    [()|] )
    | (?P<any>     \. )
    """,
    re.VERBOSE | re.DOTALL,
)
_CHARACTER = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([nrt]|[^\w\s]))|([^\\])",
    re.DOTALL,
)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}
_TIMES: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


@dataclass(frozen=True, slots=True)
class Characters:
    """One character: of these ranges of code points, both ends included, or (`negated`) of none."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """Another rule."""

    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """One part behind the other."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of the parts."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Repeated:
    """The part, `least` to `most` times; None: without end."""

    part: "Expression"
    least: int
    most: int | None


Expression = str | Characters | Name | Row | Alternatives | Repeated
"""A string is a literal."""


def is_gbnf(text: str) -> bool:
    """Whether a grammar's text is GBNF rather than Lark."""
    return _RULE.search(text) is not None


def read_gbnf(text: str) -> dict[str, Expression]:
    """The rules by their names, `root` among them. Raises GrammarError if the text is not GBNF."""
    rules: dict[str, Expression] = {}
    symbols = _Symbols(text)
    while symbols.kind != "end":
        name = symbols.take("rule").removesuffix("::=").rstrip()
        rules[name] = symbols.alternatives()
    if "root" not in rules:
        raise GrammarError("there is no rule named 'root'")
    for name in symbols.names:
        if name not in rules:
            raise GrammarError(f"there is no rule named {name!r}")
    return rules


class _Symbols:
    """The symbols of a text, from the one that is next."""

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._symbols = _symbols(text)
        self.kind, self._symbol, self._line = next(self._symbols)

    def take(self, kind: str) -> str:
        """The next symbol, which is of this kind. Raises GrammarError if it is not."""
        if self.kind != kind:
            raise GrammarError(f"line {self._line}: expected a {kind}, but found {self._symbol!r}")
        symbol = self._symbol
        self.kind, self._symbol, self._line = next(self._symbols)
        return symbol

    def alternatives(self) -> Expression:
        """Up to what is no part of them."""
        parts = [self._row()]
        while self._symbol == "|" and self.kind == "mark":
            self.take("mark")
            parts.append(self._row())
        return parts[0] if len(parts) == 1 else Alternatives(tuple(parts))

    def _row(self) -> Expression:
        parts: list[Expression] = []
        while self.kind in ("name", "literal", "class", "any") or self._symbol == "(":
            part = self._part()
            while self.kind == "times":
                part = Repeated(part, *_bounds(self.take("times")))
            parts.append(part)
        return parts[0] if len(parts) == 1 else Row(tuple(parts))

    def _part(self) -> Expression:
        kind, symbol = self.kind, self.take(self.kind)
        if kind == "name":
            self.names.add(symbol)
            return Name(symbol)
        if kind == "literal":
            return "".join(character for character, _ in _characters(symbol[1:-1]))
        if kind == "class":
            return _class(symbol)
        if kind == "any":
            return Characters(((0, _LAST),))
        inner = self.alternatives()
        if self._symbol != ")":
            raise GrammarError(f"line {self._line}: expected ')', but found {self._symbol!r}")
        self.take("mark")
        return inner


def _symbols(text: str) -> Iterator[tuple[str, str, int]]:
    """(kind, symbol, line); endless, since behind the last one is always the end."""
    at, line = 0, 1
    while at < len(text):
        found = _SYMBOL.match(text, at)
        if found is None:
            raise GrammarError(f"line {line}: {text[at : at + 20]!r} is no symbol of GBNF")
        if found.lastgroup is not None and found.lastgroup != "skipped":
            yield found.lastgroup, found.group(), line
        line += found.group().count("\n")
        at = found.end()
    while True:
        yield "end", "the end of the text", line


def _bounds(symbol: str) -> tuple[int, int | None]:
    if symbol in _TIMES:
        return _TIMES[symbol]
    least, comma, most = symbol.strip("{}").partition(",")
    if comma and not most.strip():
        return int(least), None
    if comma and int(most) < int(least):
        raise GrammarError(f"{symbol} ends before it begins")
    return int(least), int(most or least)


def _class(symbol: str) -> Characters:
    negated = symbol.startswith("[^")
    characters = list(_characters(symbol[2 if negated else 1 : -1]))
    ranges: list[tuple[int, int]] = []
    at = 0
    while at < len(characters):
        first = last = ord(characters[at][0])
        # Only a dash that is not escaped, and that has a neighbour on both sides, makes a range.
        if at + 2 < len(characters) and characters[at + 1] == ("-", False):
            last = ord(characters[at + 2][0])
            at += 2
        if last < first:
            raise GrammarError(f"a range in the class {symbol} ends before it begins")
        ranges.append((first, last))
        at += 1
    if not ranges:
        raise GrammarError(f"the class {symbol} has no characters")
    return Characters(tuple(ranges), negated)


def _characters(text: str) -> Iterator[tuple[str, bool]]:
    """The characters that a text stands for, and whether they are escaped."""
    at = 0
    while at < len(text):
        found = _CHARACTER.match(text, at)
        if found is None:
            raise GrammarError(f"there is no escape {text[at : at + 2]!r}")
        at = found.end()
        byte, short, long, escaped, plain = found.groups()
        number = byte or short or long
        if number is None:
            yield (plain, False) if plain is not None else (_NAMED.get(escaped, escaped), True)
        elif int(number, 16) > _LAST or 0xD800 <= int(number, 16) <= 0xDFFF:
            raise GrammarError(f"{found.group()!r} is no character")
        else:
            yield chr(int(number, 16)), True
