"""Rules of GBNF as Lark text.

Owns: which parts of a grammar become lexemes. Must not know: GBNF's notation, tokens. The library's
lexer is fast, and takes as much text for a lexeme as it can. Text that may go on behind its own end
(a number with the blanks behind it, before a rule that wants a line end) would so take what the
rules around it still need. Such parts stay rules, whose single characters are lexemes; only what
ends by itself becomes one lexeme.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from engine.structured_output.gbnf import (
    Alternatives,
    Characters,
    Expression,
    Name,
    Repeated,
    Row,
)

__all__ = ["lark_text"]

_Ranges = tuple[tuple[int, int], ...]
_LAST = 0x10FFFF
_MAX_RANGES = 64
_EMPTY = '""'
_LEXEME = "LEXEME"


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where a text ends: whether it may be empty, the characters that it may begin with, and those
    that may go on with it behind a place where it may end.
    """

    empty: bool
    first: _Ranges
    more: _Ranges

    @property
    def ends_by_itself(self) -> bool:
        return not self.empty and not self.more


_NOTHING = _Extent(True, (), ())


def lark_text(rules: Mapping[str, Expression]) -> str:
    """The grammar of the rules, which starts at `root`, in Lark's syntax."""
    return _Writer(rules).text()


class _Writer:
    def __init__(self, rules: Mapping[str, Expression]) -> None:
        self._rules = rules
        self._extents: dict[str | int, _Extent | None] = {}
        self._names: dict[tuple[str, Expression], str] = {}
        self._waiting: list[tuple[str, str, Expression]] = []

    def text(self) -> str:
        lines = [f"start: {self._rule(self._rules['root'])}\n"]
        while self._waiting:
            kind, name, part = self._waiting.pop()
            body = self._rules[part.name] if isinstance(part, Name) else part
            lines.append(f"{name}: {self._lexeme(body) if kind == _LEXEME else self._rule(body)}\n")
        return "".join(lines)

    def _rule(self, part: Expression) -> str:
        """As a part of a rule."""
        if not isinstance(part, str | Characters) and _ends_by_itself(self._extent(part)):
            return self._named(_LEXEME, part)
        match part:
            case Name():
                return self._named("rule", part)
            case Row():
                return self._row(part.parts)
            case str() if len(part) > 1:
                # In one piece, it would keep what begins alike from ending where it goes on.
                return f"({' '.join(json.dumps(one, ensure_ascii=False) for one in part)})"
        return self._written(part, self._rule)

    def _lexeme(self, part: Expression) -> str:
        """As a part of a lexeme."""
        match part:
            case Name():
                return self._named(_LEXEME, part)
            case Row():
                return " ".join(map(self._lexeme, part.parts)) or _EMPTY
        return self._written(part, self._lexeme)

    def _written(
        self, part: str | Characters | Alternatives | Repeated, inner: Callable[[Expression], str]
    ) -> str:
        match part:
            case str():
                return json.dumps(part, ensure_ascii=False)
            case Characters():
                return _class(part)
            case Alternatives():
                return f"({' | '.join(map(inner, part.parts))})"
        most = "" if part.most is None else part.most
        return f"({inner(part.part)}){{{part.least},{most}}}"

    def _row(self, parts: tuple[Expression, ...]) -> str:
        """In long lexemes, and between them the parts that are none."""
        written: list[str] = []
        at = 0
        while at < len(parts):
            end = ahead = at
            extent: _Extent | None = _NOTHING
            while ahead < len(parts):
                extent = _behind(extent, self._extent(parts[ahead]))
                if extent is None:
                    break
                ahead += 1
                if extent.ends_by_itself:
                    end = ahead
            if end > at + 1:
                written.append(self._named(_LEXEME, Row(parts[at:end])))
            # Behind `end` nothing ends by itself before `ahead`, wherever a lexeme began.
            rest = parts[at if end == at + 1 else end : max(ahead, at + 1)]
            written += map(self._rule, rest)
            at = max(ahead, at + 1)
        return " ".join(written) or _EMPTY

    def _named(self, kind: str, part: Expression) -> str:
        name = self._names.get((kind, part))
        if name is None:
            name = self._names[kind, part] = f"{kind}_{len(self._names)}"
            self._waiting.append((kind, name, part))
        return name

    def _extent(self, part: Expression) -> _Extent | None:
        """None for what can be no part of a lexeme."""
        key = part.name if isinstance(part, Name) else id(part)
        if key not in self._extents:
            # What is found here while it is looked for contains itself.
            self._extents[key] = None
            self._extents[key] = self._new_extent(part)
        return self._extents[key]

    def _new_extent(self, part: Expression) -> _Extent | None:
        match part:
            case str():
                return _extent(False, ((ord(part[0]), ord(part[0])),), ()) if part else _NOTHING
            case Characters():
                return _extent(False, _ranges(part), ())
            case Name():
                return self._extent(self._rules[part.name])
            case Row():
                extent: _Extent | None = _NOTHING
                for inner in part.parts:
                    extent = _behind(extent, self._extent(inner))
                return extent
            case Alternatives():
                return _either(self._extent(inner) for inner in part.parts)
        return _again(self._extent(part.part), part)


def _ends_by_itself(extent: _Extent | None) -> bool:
    return extent is not None and extent.ends_by_itself


def _extent(empty: bool, first: _Ranges, more: _Ranges) -> _Extent | None:
    # Few texts need many ranges, and each costs time wherever they are part of something.
    return _Extent(empty, first, more) if len(first) + len(more) <= _MAX_RANGES else None


def _behind(before: _Extent | None, after: _Extent | None) -> _Extent | None:
    # Where a character may go on with the one or begin the other, nobody can tell them apart.
    if before is None or after is None or _meet(before.more, after.first):
        return None
    return _extent(
        before.empty and after.empty,
        _union(before.first, after.first) if before.empty else before.first,
        _union(before.more, after.more) if after.empty else after.more,
    )


def _either(extents: Iterable[_Extent | None]) -> _Extent | None:
    both: _Extent | None = None
    for extent in extents:
        if extent is None or (both is not None and _meet(both.first, extent.first)):
            return None
        both = extent if both is None else _one_of(both, extent)
        if both is None:
            return None
    return both


def _one_of(one: _Extent, other: _Extent) -> _Extent | None:
    empty, first = one.empty or other.empty, _union(one.first, other.first)
    return _extent(empty, first, _union(one.more, other.more, first if empty else ()))


def _again(once: _Extent | None, part: Repeated) -> _Extent | None:
    if once is None or once.empty or part.most == 0:
        return None
    if part.most != 1 and _meet(once.more, once.first):
        return None
    more = once.more if part.least == part.most else _union(once.more, once.first)
    return _extent(part.least == 0, once.first, more)


def _class(part: Characters) -> str:
    ranges = "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in part.ranges)
    return f"/[{'^' if part.negated else ''}{ranges}]/"


def _ranges(part: Characters) -> _Ranges:
    ranges = _merged(part.ranges)
    if not part.negated:
        return ranges
    ends = [-1, *(last for _, last in ranges)]
    begins = [*(first for first, _ in ranges), _LAST + 1]
    return tuple(
        (end + 1, begin - 1) for end, begin in zip(ends, begins, strict=True) if end + 1 < begin
    )


def _union(*sets: _Ranges) -> _Ranges:
    return _merged(one for ranges in sets for one in ranges)


def _merged(ranges: Iterable[tuple[int, int]]) -> _Ranges:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _meet(some: _Ranges, others: _Ranges) -> bool:
    one, other = 0, 0
    while one < len(some) and other < len(others):
        if some[one][1] < others[other][0]:
            one += 1
        elif others[other][1] < some[one][0]:
            other += 1
        else:
            return True
    return False
