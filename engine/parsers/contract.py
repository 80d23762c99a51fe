r"""What a parser of model output is: the seam between the families and everything else.

Owns: the types. Must not know: any family, tokenizers, requests, the wire.

What reaches a parser. The output of one choice is decoded with its special tokens kept, without
the token or string that ended it. A marker (`<tool_call>`, `<|channel|>`) that the tokenizer has
as one token counts only where that token was generated; where the model spelled the same
characters out of ordinary tokens, or quoted a user who did, the caller has put an invisible
character into them before the parser sees the text and takes it out of the results. So a parser
searches for its markers in plain text and need not know token ids. It must hand text on unchanged:
no normalising, no `\uXXXX` escapes for characters outside ASCII (`arguments_json` does it right).

Order. The reasoning parser cuts the reasoning off first; the tool parser gets the rest. Tools are
parsed only if the request has tools and `tool_choice` is not "none" (except `wraps_answers`).

No parser raises, loops or loses text, whatever it gets: each character of the input ends up in
`content`, in a call, or was a marker or the white space around one. Each call is judged by itself:
a malformed one becomes content and sets `error`, its neighbours stay calls. A name that no tool
has is a call like any other here (`tools` may be empty); what becomes of it is decided in one place
by the caller. For streaming, what was found in a text must not change when more text follows one
of the `ends`: `parse(text[:after an end]).calls` is the beginning of `parse(text).calls`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "NO_PARSER",
    "ParsedTools",
    "ReasoningParser",
    "SplitReasoning",
    "ToolCall",
    "ToolParser",
    "ToolSyntax",
]

NO_PARSER = "none"
"""The name that switches a parser off."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call. `arguments` is the JSON text of an object. `id` is the call's own, where the format
    carries one (kimi_k2: its template expects it back); else the caller makes one up.
    """

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedTools:
    """What an answer says and which functions it calls, in the order in which they stand.

    `content` is the text around the calls, None if that is nothing but white space; without calls
    it is the text as it came. `error` says why something that looked like a call is none; then
    `content` keeps the whole raw text of it. `reasoning` is what a format that wraps all its
    messages (harmony) marks as such and no reasoning parser has cut off before.
    """

    content: str | None
    calls: tuple[ToolCall, ...] = ()
    error: str | None = None
    reasoning: str | None = None


@dataclass(frozen=True, slots=True)
class ToolSyntax:
    """The fixed texts of a family.

    `starts`: every call begins at one of these, and text before the first of them is content
    whatever follows (a bare JSON family lists "{" or "["); an empty tuple if nothing may be shown
    before the end. `ends`: calls are complete only behind one of these; an empty tuple if only the
    end of the output completes them. `markers`: all texts of the format that a tokenizer may have
    as one token, `starts` and `ends` among them where they are such. `wraps_answers`: plain
    answers are wrapped too (harmony), so the parser runs without tools as well. `has_short_ids`:
    the family's templates take only ids of nine letters and digits back.
    """

    starts: tuple[str, ...]
    ends: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    wraps_answers: bool = False
    has_short_ids: bool = False


class ToolParser(Protocol):
    """Finds the calls in an answer. Stateless and thread safe."""

    @property
    def name(self) -> str:
        """The name it has on the command line, vLLM's."""
        ...

    @property
    def syntax(self) -> ToolSyntax: ...

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        """Parse `text`, an answer without its reasoning.

        `tools` are the request's function definitions ({"name", "description", "parameters"}),
        for the typing of arguments; they may lack any key, or be none at all.
        """
        ...


@dataclass(frozen=True, slots=True)
class SplitReasoning:
    """Reasoning and the rest. `reasoning` is None if there was none but white space; `content` is
    the text for the tool parser, "" if nothing follows. `spans` are the [start, end) of the
    reasoning in the output, without markers. `is_open`: the output ended inside the reasoning.
    """

    reasoning: str | None
    content: str
    spans: tuple[tuple[int, int], ...] = ()
    is_open: bool = False


class ReasoningParser(Protocol):
    """Cuts the reasoning off. Stateless and thread safe, and under the same rules."""

    @property
    def name(self) -> str:
        """The name it has on the command line, vLLM's."""
        ...

    @property
    def markers(self) -> tuple[str, ...]:
        """The texts of the format that a tokenizer may have as one token."""
        ...

    def split(self, text: str, *, is_open: bool | None = None) -> SplitReasoning:
        """Split a whole output. `is_open`: the prompt ended inside the reasoning, so it goes on
        without an opening marker; None: nobody knows, the family decides.
        """
        ...
