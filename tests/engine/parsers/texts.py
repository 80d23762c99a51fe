"""Texts that models might write: pieces of every family's format in any order."""

from dataclasses import dataclass, field

from hypothesis import strategies

from engine.parsers.contract import ReasoningParser, ToolParser
from engine.parsers.reasoning import REASONING_PARSERS, reasoning_parser
from engine.parsers.tools import TOOL_PARSERS, tool_parser

__all__ = ["REASONING_NAMES", "TOOL_NAMES", "TextTokenizer", "output_texts", "words_of"]

TOOL_NAMES = sorted(TOOL_PARSERS)
REASONING_NAMES = sorted(REASONING_PARSERS)

_WORDS = [f"word{number}" for number in range(10, 40)]
_FRAGMENTS = [
    *_WORDS,
    " ",
    "\n",
    "\n\n",
    ";",
    ",",
    "[",
    "]",
    "{",
    "}",
    '"',
    "\\",
    "<",
    ">",
    "|",
    "```",
    "```json\n",
    "é東🎉",
    "\x00",
    '{"name": "f", "arguments": {}}',
    '{"name": "f", "parameters": {"a": "word50"}}',
    '{"name": "g", "arguments": {"b": [1, {"c": "word51"}]}}',
    '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]',
    '{"name": "f", "arguments": {"a": "wor',
    '{"a": "word52"}',
    '"name": "f", ',
    "f(a=1)",
    '[f(a="word53", b=[1, 2]), g()]',
    "f{",
    "functools",
    "Here is my thought process:",
    "Here is my response:",
]


@dataclass(frozen=True)
class TextTokenizer:
    """No text is a token: everything that is written counts."""

    added_token_ids: dict[str, int] = field(default_factory=dict)
    special_token_ids: frozenset[int] = frozenset()

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = True) -> str:
        return "".join(map(chr, token_ids))


def output_texts(
    tools: ToolParser | None = None, reasoning: ReasoningParser | None = None
) -> strategies.SearchStrategy[str]:
    """Texts with many of the parsers' own markers in them, whole and in parts."""
    markers: list[str] = []
    if tools is not None:
        syntax = tools.syntax
        markers += [*syntax.starts, *syntax.ends, *syntax.markers]
    if reasoning is not None:
        markers += reasoning.markers
    parts = [marker[: len(marker) // 2] for marker in markers]
    own = strategies.sampled_from(markers or [" "])
    piece = strategies.one_of(
        own,
        own,
        strategies.sampled_from(_FRAGMENTS),
        strategies.sampled_from([*parts, " "]),
        strategies.text(max_size=3),
    )
    return strategies.lists(piece, max_size=16).map("".join)


def words_of(text: str) -> list[str]:
    """The words of a generated text that must not get lost."""
    return [word for word in _WORDS if word in text]


def parsers() -> list[ToolParser]:
    return [tool_parser(name) for name in TOOL_NAMES]


def reasoning_parsers() -> list[ReasoningParser]:
    return [reasoning_parser(name) for name in REASONING_NAMES]
