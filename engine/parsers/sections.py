"""Calls between special tokens: a section that holds calls, each with a head and a body.

Owns: reading that shape, shared by DeepSeek V3 and V3.1 and by Kimi K2, and JSON bodies that are
handed on as they were written. Must not know: what a head says (the families do).
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.parsers.arguments import JSON_ERRORS, arguments_json, read_json
from engine.parsers.contract import ParsedTools, ToolCall
from engine.parsers.found import Found

__all__ = ["CallReader", "SectionFormat", "object_text", "read_sections"]

CallReader = Callable[[str, str], ToolCall | str]
"""Makes a call out of a head and a body, or says why there is none."""


@dataclass(frozen=True, slots=True)
class SectionFormat:
    """The tokens of a family: <open><begin>head<separator>body<end>...<close>."""

    open: str
    close: str
    begin: str
    separator: str
    end: str
    tokens: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", re.compile("|".join(map(re.escape, self.markers))))

    @property
    def markers(self) -> tuple[str, ...]:
        """All tokens."""
        return (self.open, self.close, self.begin, self.separator, self.end)


def read_sections(text: str, form: SectionFormat, read_call: CallReader) -> ParsedTools:
    """Everything that stands in `text`. A call that lacks its end is one if its body is complete,
    a call outside of a section likewise.
    """
    reader = _Reader(text, form)
    while reader.index < len(reader.tokens):
        reader.read_token(read_call)
    reader.found.add_content(text[reader.position :])
    return reader.found.result(text)


class _Reader:
    """One text being read: `index` is the next token, `position` where unread content begins."""

    def __init__(self, text: str, form: SectionFormat) -> None:
        self.text, self.form = text, form
        self.tokens: Sequence[re.Match[str]] = list(form.tokens.finditer(text))
        self.found = Found()
        self.index = self.position = 0

    def read_token(self, read_call: CallReader) -> None:
        token, kind = self.tokens[self.index], self._kind(0)
        if kind == self.form.begin:
            self._take_content(token)
            self._read_call(token.start(), read_call)
        elif kind == self.form.open and self._kind(1) != self.form.begin:
            self._take_content(token)
            self._skip_to((self.form.open, self.form.begin), behind=self.form.close)
            raw = self.text[token.start() : self.position]
            self.found.add_failure(raw, "no call stands where one was announced")
        else:
            if kind in (self.form.open, self.form.close):
                self._take_content(token)
            self.index += 1

    def _take_content(self, token: re.Match[str]) -> None:
        self.found.add_content(self.text[self.position : token.start()])
        self.position = token.end()

    def _read_call(self, start: int, read_call: CallReader) -> None:
        head_start = self.position
        if self._kind(1) == self.form.separator:
            separator = self.tokens[self.index + 1]
            self.index += 1
            body_end = self._skip_to((self.form.open, self.form.close, self.form.begin))
            body = self.text[separator.end() : body_end]
            call = read_call(self.text[head_start : separator.start()], body)
        else:
            self._skip_to((self.form.open, self.form.close, self.form.begin))
            call = "a call has no arguments"
        if isinstance(call, ToolCall):
            self.found.calls.append(call)
        else:
            self.found.add_failure(self.text[start : self.position], call)

    def _skip_to(self, stops: Sequence[str], behind: str | None = None) -> int:
        """Move on to the first of `stops`, or behind the first `behind` (without it: the end of a
        call), or to the end of the text. Return where the skipped text ends.
        """
        behind = behind or self.form.end
        while self._kind(1) not in (None, behind, *stops):
            self.index += 1
        self.index += 1
        if self.index == len(self.tokens):
            self.position = len(self.text)
            return self.position
        token = self.tokens[self.index]
        self.position = token.start()
        if token[0] == behind:
            self.position = token.end()
            self.index += 1
        return token.start()

    def _kind(self, ahead: int) -> str | None:
        """The text of the token `ahead` of the next one, None behind the last."""
        index = self.index + ahead
        return self.tokens[index][0] if index < len(self.tokens) else None


def object_text(text: str) -> str | None:
    """The JSON text of the object that `text` is, as it was written if it is JSON to the letter;
    an empty text is an empty object. None if it is no object.
    """
    plain = text.strip()
    if not plain:
        return "{}"
    try:
        value = read_json(plain)
        if not isinstance(value, dict):
            return None
        return plain if _is_strict(plain) else arguments_json(value)
    except JSON_ERRORS:
        return None


def _is_strict(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
