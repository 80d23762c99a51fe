"""What a parser has found so far, put together in the form of the contract.

Owns: the rule which text around calls is content. Must not know: any family's format.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.parsers.contract import ParsedTools, ToolCall

__all__ = ["Found", "read_marked"]


@dataclass(slots=True)
class Found:
    """Filled from the beginning of a text to its end."""

    calls: list[ToolCall] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    error: str | None = None

    def add_content(self, piece: str) -> None:
        """Text outside of calls. White space counts only in front of everything else: between and
        behind calls it belongs to the format.
        """
        if piece.strip() or (piece and not self.calls and not self.pieces):
            self.pieces.append(piece)

    def add_failure(self, raw: str, reason: str) -> None:
        """Text that looked like a call and is none. The first reason is kept."""
        self.pieces.append(raw)
        self.error = self.error or reason

    def result(self, text: str) -> ParsedTools:
        """What was found in `text`, the whole answer."""
        if not self.calls:
            return ParsedTools(text or None, (), self.error)
        content = "".join(self.pieces)
        return ParsedTools(content if content.strip() else None, tuple(self.calls), self.error)


def read_marked(text: str, marker: str, read: Callable[[str, int, Found], int]) -> ParsedTools:
    """Read every call that begins with `marker`; what lies between them is content.

    `read` takes the text, the place of a marker and what was found so far, adds to it, and returns
    where the text goes on.
    """
    found = Found()
    position = 0
    while (start := text.find(marker, position)) >= 0:
        found.add_content(text[position:start])
        position = read(text, start, found)
    found.add_content(text[position:])
    return found.result(text)
