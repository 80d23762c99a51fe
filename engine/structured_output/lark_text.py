"""Pieces of Lark grammars: fixed texts, in which markers are tokens, and named terminals.

Owns: that a marker which the tokenizer has as one token is demanded as that token, since only then
it counts as a marker, and that each terminal is written once. Must not know: calls, schemas.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from engine.structured_output.grammar import GrammarPart, grammar_text, quoted

__all__ = ["LarkText"]


class LarkText:
    """Collects the terminals and parts of one grammar. `tokens` are the tokenizer's added ones."""

    def __init__(self, tokens: Mapping[str, int]) -> None:
        markers = sorted((token for token in tokens if len(token) > 2), key=len, reverse=True)
        self._tokens = tokens
        self._marker = re.compile("|".join(map(re.escape, markers)) or r"(?!)")
        self._terminals: dict[str, str] = {}
        self._parts: list[GrammarPart] = []

    def pieces(self, text: str) -> list[str]:
        """The text as tokens and string literals, in order."""
        pieces = []
        position = 0
        for match in self._marker.finditer(text):
            if match.start() > position:
                pieces.append(quoted(text[position : match.start()]))
            pieces.append(f"<[{self._tokens[match[0]]}]>")
            position = match.end()
        if position < len(text):
            pieces.append(quoted(text[position:]))
        return pieces

    def literal(self, text: str) -> str:
        """The text as a sequence of tokens and strings; "" for no text."""
        return " ".join(self.pieces(text))

    def written(self, words: Iterable[str]) -> tuple[str, ...]:
        """Those of the words that can be spelled by mistake: no token is a part of them."""
        return tuple(word for word in words if self._marker.search(word) is None)

    def terminal(self, expression: str) -> str:
        """The name of a terminal of this expression."""
        return self._terminals.setdefault(expression, f"TERMINAL_{len(self._terminals)}")

    def ended(self, expression: str, end: str) -> str:
        """A text and the fixed text behind it. What can be told only at that end is one terminal
        with it: the library decides for a terminal once it cannot become longer.
        """
        pieces = self.pieces(end)
        if pieces and not pieces[0].startswith("<["):
            return " ".join((self.terminal(f"({expression}) {pieces[0]}"), *pieces[1:]))
        return " ".join((self.terminal(expression), *pieces))

    def part(self, part: GrammarPart) -> str:
        """A reference to another grammar, in a rule."""
        name = f"part_{len(self._parts)}"
        self._parts.append({"name": name, **part})
        return f"@{name}"

    def grammar(self, rules: Sequence[str]) -> str:
        """The text of the whole grammar, with the rules first."""
        terminals = [f"{name}: {expression}" for expression, name in self._terminals.items()]
        top = "\n".join((*rules, *terminals)) + "\n"
        return grammar_text({"name": "top", "lark_grammar": top}, *self._parts)
